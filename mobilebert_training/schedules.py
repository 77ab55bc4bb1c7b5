"""Learning rates: a warm-up, then a decay, both as fractions of the peak."""

import math
from collections.abc import Callable

from mobilebert_core.errors import ConfigError

_DECAYS: dict[str, Callable[[float], float]] = {
    "linear": lambda progress: 1 - progress,
    "cosine": lambda progress: 0.5 * (1 + math.cos(math.pi * progress)),
    "constant": lambda progress: 1.0,
}
SCHEDULES = tuple(_DECAYS)


def learning_rate_factor(
    step: int, steps: int, *, warmup: float = 0.1, schedule: str = "linear"
) -> float:
    """The fraction of the peak learning rate at a step.

    Linear from nearly 0 to 1 over the warm-up, as in Google's code, then the decay to 0 at the end.

    Args:
        step: 0, 1, ..., steps - 1.
        steps: how many there are.
        warmup: fraction of the steps.
        schedule: `linear`, `cosine` or `constant`, after the warm-up.

    Raises:
        ConfigError: no schedule has this name.
    """
    if schedule not in _DECAYS:
        raise ConfigError(f"schedule is {schedule!r}, expected one of {', '.join(SCHEDULES)}")
    rising = round(steps * warmup)
    if step < rising:
        return (step + 1) / rising
    return _DECAYS[schedule]((step - rising) / max(1, steps - rising))
