"""What a model computes in, and the reproducible precision: float64 inside, float32 outside.

Two computations in float64 differ by about 1e-13 of a value, float32 numbers by 1e-7: rounded once,
at the very end, they are the same number unless one lay within 1e-13 of the middle between two.
Used by `loading.py` for every model, and by `pretrained.py` for every call.
"""

import logging
from collections.abc import Callable
from typing import Any

from mobilebert_core import registry
from mobilebert_core.backend import DTYPES, Backend, Feature, check_dtype, dtype_name
from mobilebert_core.config import MobileBertConfig
from mobilebert_core.errors import BackendError, ConfigError
from mobilebert_core.folding import reason_not_to_fold
from mobilebert_core.outputs import OutputT, map_arrays

REPRODUCIBLE = Feature.REPRODUCIBLE.value
_logger = logging.getLogger("mobilebert")

SMALLEST_FLOAT32 = 2.0**-126  # of those that have all their bits


def choose_dtype(
    backend: Backend, dtype: str | None, precision: str | None, *, default: str = "float32"
) -> str:
    """The name of the dtype to compute in.

    Args:
        backend: the backend.
        dtype: see `check_dtype`; None leaves it to the precision.
        precision: `reproducible`, which is float64, or None, which is the default.
        default: what None means without a precision.

    Raises:
        ConfigError: the precision is unknown, or dtype or precision is not offered by this
            backend, or they contradict each other.
    """
    if precision is None:
        return check_dtype(backend, default if dtype is None else dtype)
    if precision != REPRODUCIBLE:
        raise ConfigError(
            f"precision is {precision!r}, expected None or {REPRODUCIBLE!r}; a dtype to compute in "
            "is given as dtype="
        )
    if Feature.REPRODUCIBLE not in backend.features:
        hint = getattr(backend, "dtype_hints", {}).get(REPRODUCIBLE)
        raise ConfigError(
            f"The {backend.name} backend does not offer precision={precision!r}; "
            + (hint or f"these do: {', '.join(_claiming(Feature.REPRODUCIBLE)) or 'none'}")
        )
    if dtype is not None and dtype_name(dtype) != "float64":
        raise ConfigError(
            f"dtype is {dtype!r}, expected none or 'float64': precision={precision!r} computes in "
            "float64 and gives float32; leave dtype out"
        )
    return "float64"


def choose_optimization(
    backend: Backend, config: MobileBertConfig, optimize: bool | str
) -> bool | str:
    """What `optimize=` comes to: folded weights where they are possible, else the plain model.

    Args:
        backend: the backend.
        config: the configuration of the model.
        optimize: False, True, or one of the backend's `optimizations`, e.g. `int8`.

    Raises:
        ConfigError: it is something else, or the backend does not offer it.
    """
    offered = getattr(backend, "optimizations", ())
    if not isinstance(optimize, bool) and optimize not in offered:
        raise ConfigError(
            f"optimize is {optimize!r}, expected one of "
            f"{', '.join(map(repr, (False, True, *offered)))} for the {backend.name} backend"
        )
    if not optimize:
        return False
    reason = reason_not_to_fold(config)
    if Feature.OPTIMIZED not in backend.features:
        reason = f"the {backend.name} backend has no folded encoder"
    if reason:
        _logger.warning("optimize=%r is left out, the plain model is taken: %s", optimize, reason)
        return False
    return optimize


def _claiming(feature: Feature) -> list[str]:
    """Backends that claim a feature; their frameworks are imported to be asked."""
    found = []
    for name in registry.usable_names():
        try:
            backend = registry.get(name)
        except BackendError:
            continue
        if feature in backend.features:
            found.append(name)
    return found


def round_output(output: OutputT, to_float32: Callable[[Any], Any]) -> OutputT:
    """A reproducible model's output in float32: rounded to nearest, once; integers stay.

    Numbers below `SMALLEST_FLOAT32` become 0, for float32 holds them with fewer bits, and left to
    themselves TensorFlow and JAX make 0 of them on a CPU while NumPy and PyTorch do not.

    Args:
        output: in float64.
        to_float32: does it with one native array.

    Raises:
        ConfigError: something was computed in another dtype, as after `model.float()` of PyTorch.
    """

    def finish(array: Any) -> Any:
        name = dtype_name(array.dtype)
        if name == "float64":
            return to_float32(array)
        if name in DTYPES:
            raise ConfigError(
                f"A {REPRODUCIBLE} model is expected to compute in float64, and this one computes "
                f"in {name}: its weights or a setting of the framework were changed; load it "
                "without precision= to use it so"
            )
        return array

    return map_arrays(output, finish)
