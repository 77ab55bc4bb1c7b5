"""How a run trains: one frozen object, written beside the run and compared when it goes on."""

import dataclasses
from dataclasses import dataclass
from typing import Any, Self

from mobilebert_core.errors import ConfigError, raise_faults
from mobilebert_training.schedules import SCHEDULES


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """Settings of a run; the defaults are the paper's for fine-tuning (section 4.3).

    Attributes:
        steps: how many updates.
        batch_size: rows of one update, of all processes together.
        micro_batches: into how many parts a process cuts its rows, to save memory.
        optimizer: `adamw` or `lamb`.
        learning_rate: its peak.
        schedule: what follows the warm-up; see `schedules.py`.
        warmup: fraction of the steps in which the learning rate rises.
        weight_decay: of kernels and embeddings.
        betas: of the optimiser.
        eps: of the optimiser.
        clip_norm: longer gradients are shortened to this norm; 0 leaves them.
        dtype: `float32`, or `bfloat16`: products in it, parameters in float32.
        seed: of order, masks, dropout and fresh weights.
        evaluate_every: steps between two evaluations; 0 evaluates at the end alone.
        save_every: steps between two checkpoints; 0 saves at the end alone.
        keep: how many checkpoints stay.
        patience: evaluations without a better metric after which training ends; None never.
        log_every: steps between two lines of the log.
    """

    steps: int
    batch_size: int = 32
    micro_batches: int = 1
    optimizer: str = "adamw"
    learning_rate: float = 1e-4
    schedule: str = "linear"
    warmup: float = 0.1
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-6
    clip_norm: float = 1.0
    dtype: str = "float32"
    seed: int = 0
    evaluate_every: int = 0
    save_every: int = 0
    keep: int = 2
    patience: int | None = None
    log_every: int = 10

    def __post_init__(self) -> None:
        """Refuse what cannot be trained with, all faults at once."""
        object.__setattr__(self, "betas", tuple(self.betas))  # JSON has lists
        rows, parts = self.batch_size, self.micro_batches
        rules = {
            "steps": (self.steps >= 1, "at least 1"),
            "batch_size": (rows >= 1, "at least 1"),
            "micro_batches": (1 <= parts <= max(rows, 1), "from 1 to batch_size"),
            "optimizer": (self.optimizer in ("adamw", "lamb"), "adamw or lamb"),
            "learning_rate": (self.learning_rate > 0, "above 0"),
            "schedule": (self.schedule in SCHEDULES, f"one of {', '.join(SCHEDULES)}"),
            "warmup": (0 <= self.warmup < 1, "from 0 to below 1"),
            "weight_decay": (self.weight_decay >= 0, "at least 0"),
            "betas": (
                len(self.betas) == 2 and all(0 <= each < 1 for each in self.betas),
                "two from 0 to below 1",
            ),
            "eps": (self.eps > 0, "above 0"),
            "clip_norm": (self.clip_norm >= 0, "at least 0"),
            "dtype": (self.dtype in ("float32", "bfloat16"), "float32 or bfloat16"),
            "evaluate_every": (self.evaluate_every >= 0, "at least 0"),
            "save_every": (self.save_every >= 0, "at least 0"),
            "keep": (self.keep >= 1, "at least 1"),
            "patience": (self.patience is None or self.patience >= 1, "at least 1, or None"),
            "log_every": (self.log_every >= 1, "at least 1"),
        }
        faults = [
            f"{name} is {getattr(self, name)!r}, expected {expected}"
            for name, (holds, expected) in rules.items()
            if not holds
        ]
        raise_faults(ConfigError, "The training settings are invalid", faults)

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {**dataclasses.asdict(self), "betas": list(self.betas)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The inverse of `to_dict`."""
        return cls(**values)
