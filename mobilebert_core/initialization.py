"""Fresh weights: every value is a function of (seed, tensor name, index), in every backend.

The generator is counter-based (SplitMix64 applied to a counter) and uses integer arithmetic up to
one final rounding, so that any language on any machine makes the same bits. A normal value is
the sum of twelve 16-bit uniforms (Irwin-Hall): mean 0, variance 1, at most 6 in magnitude.
"""

import hashlib
import math
from typing import Any

import numpy as np

from mobilebert_core.config import MobileBertConfig
from mobilebert_core.errors import ConfigError
from mobilebert_core.schema import TensorSpec, owned_tensors

Array = np.ndarray[Any, np.dtype[Any]]

_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_CHUNK = 1 << 18  # values made at a time, so that the working memory stays in the cache
# One uniform on 0 ... n - 1 has mean (n - 1) / 2 and variance (n^2 - 1) / 12; twelve are summed.
_SUM_MEAN = 12 * 65535 / 2
_SUM_DEVIATION = math.sqrt(65536.0**2 - 1)


def _mix(counters: Array) -> Array:
    """SplitMix64's output function (Steele et al., 2014) on uint64 counters."""
    values = (counters + np.uint64(1)) * _GAMMA
    values = (values ^ (values >> np.uint64(30))) * _MIX_1
    values = (values ^ (values >> np.uint64(27))) * _MIX_2
    return values ^ (values >> np.uint64(31))


def _key(seed: int, name: str) -> np.uint64:
    """Where a tensor's counters start: the first 8 bytes of SHA-256 over seed and name."""
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer):
        raise ConfigError(f"seed is {seed!r}, expected an integer")
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    return np.uint64(int.from_bytes(digest[:8], "little"))


def standard_normal(seed: int, name: str, start: int, count: int) -> Array:
    """Values `start` to `start + count` of a tensor's stream, mean 0 and variance 1.

    Args:
        seed: any integer.
        name: canonical name of the tensor.
        start: index of the first value, in C order.
        count: number of values.

    Returns:
        (count,) float64.

    Raises:
        ConfigError: the seed is no integer.
    """
    key = _key(seed, name)
    values = np.empty(count, np.float64)
    for offset in range(0, count, _CHUNK):
        size = min(_CHUNK, count - offset)
        indices = np.arange(start + offset, start + offset + size, dtype=np.uint64)
        total = np.zeros(size, np.uint64)
        for word in range(3):
            bits = _mix(key + indices * np.uint64(3) + np.uint64(word))
            for shift in (0, 16, 32, 48):
                total += (bits >> np.uint64(shift)) & np.uint64(0xFFFF)
        values[offset : offset + size] = (total.astype(np.float64) - _SUM_MEAN) / _SUM_DEVIATION
    return values


def initial_tensor(config: MobileBertConfig, spec: TensorSpec, seed: int) -> Array:
    """Fresh float32 values of one tensor.

    Raises:
        ConfigError: the seed is no integer.
    """
    if spec.init == "zeros":
        return np.zeros(spec.shape, np.float32)
    if spec.init == "ones":
        return np.ones(spec.shape, np.float32)
    values = standard_normal(seed, spec.name, 0, math.prod(spec.shape)).reshape(spec.shape)
    values *= config.initializer_range
    if spec.init == "embedding" and config.pad_token_id is not None:
        values[config.pad_token_id] = 0.0
    return values.astype(np.float32)


def initial_weights(
    config: MobileBertConfig, head: str, seed: int, *, add_pooling_layer: bool = True
) -> dict[str, Array]:
    """Fresh canonical float32 weights of a whole model, the same for every backend.

    Kernels and embedding tables are normal with `initializer_range`, biases zero, norms one, the
    padding token's embedding zero.

    Raises:
        ConfigError: the seed is no integer, or no head has this name.
    """
    specs = owned_tensors(config, head, add_pooling_layer=add_pooling_layer)
    return {name: initial_tensor(config, spec, seed) for name, spec in specs.items()}
