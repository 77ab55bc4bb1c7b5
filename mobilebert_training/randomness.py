"""Random numbers as functions of integers: what a resumed run draws is what it would have drawn.

Every draw has a key, e.g. (seed, step); the generator is counter-based (Philox) and its state never
needs to be saved. Epochs are permutations drawn in this way and laid end to end.
"""

from functools import lru_cache
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

_ORDER = 0x6F72  # keeps the order of examples apart from other draws of the same seed


def generator(*key: int) -> np.random.Generator:
    """A generator whose numbers are a function of the key alone."""
    entropy = [each & 0xFFFFFFFFFFFFFFFF for each in key]  # SeedSequence takes no negative ones
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(entropy)))


@lru_cache(maxsize=4)
def _epoch(num_examples: int, seed: int, epoch: int) -> Array:
    return generator(seed, _ORDER, epoch).permutation(num_examples)


def batch_indices(num_examples: int, batch_size: int, step: int, seed: int) -> Array:
    """Which examples a step is trained on: every example once in each epoch.

    Args:
        num_examples: how many there are, at least one.
        batch_size: B, of all processes together.
        step: 0, 1, 2, ...
        seed: of the order.

    Returns:
        (B,) int64; a batch may hold the end of one epoch and the beginning of the next.
    """
    first, have = step * batch_size, 0
    parts: list[Array] = []
    while have < batch_size:
        epoch, place = divmod(first + have, num_examples)
        parts.append(_epoch(num_examples, seed, epoch)[place : place + batch_size - have])
        have += len(parts[-1])
    return np.concatenate(parts)
