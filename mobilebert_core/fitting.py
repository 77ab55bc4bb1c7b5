"""The weights of one head from a checkpoint of any head.

A checkpoint of the same head must fit exactly. One of another head lends what it shares, leaves out
the rest, and what it lacks is made from the seed, with a warning. Parts of the encoder are never
made and never left out.
"""

import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from mobilebert_core import schema
from mobilebert_core.checkpoints import Checkpoint, StoredTensor
from mobilebert_core.config import MobileBertConfig
from mobilebert_core.errors import CheckpointError, MobileBertWarning
from mobilebert_core.initialization import initial_tensor
from mobilebert_core.schema import TensorSpec

Array = np.ndarray[Any, np.dtype[Any]]

_ENCODER_PARTS = ("embeddings", "encoder")


def fit_weights(
    checkpoint: Checkpoint,
    config: MobileBertConfig,
    head: str,
    *,
    seed: int = 0,
    ignore_mismatched_sizes: bool = False,
) -> "FittedWeights":
    """The canonical weights of `head` from a checkpoint, read lazily.

    A checkpoint of the same head must fit exactly. One of another head lends its encoder and
    whatever parts it shares; missing head tensors are made from the seed, with a warning.

    Args:
        checkpoint: an open checkpoint.
        config: the configuration of the model to build.
        head: the head to build.
        seed: of fresh head weights.
        ignore_mismatched_sizes: replace head tensors of another shape by fresh ones.

    Raises:
        CheckpointError: lists every tensor that is missing or has another shape.
    """
    store = checkpoint.weights
    other_head = checkpoint.head not in (None, "base")
    pooled = head != "base" or other_head or schema.has_pooler(config, store)
    specs = schema.owned_tensors(config, head, add_pooling_layer=pooled)
    fresh = _fresh_names(checkpoint, specs, head, ignore_mismatched_sizes)
    shapes = {name: store.shape(name) for name in store if name in specs and name not in fresh}
    # Head tensors may be left over, parts of the encoder never: the model would be another one.
    parts = (f"{schema.PREFIX}embeddings.", f"{schema.PREFIX}encoder.")
    shapes |= {name: store.shape(name) for name in store if name.startswith(parts)}
    expected = {name: spec for name, spec in specs.items() if name not in fresh}
    try:
        schema.validate(expected, shapes, str(checkpoint.path))
    except CheckpointError as error:
        if "classifier" not in {specs[name].part for name in _mismatched(store, specs)}:
            raise
        raise CheckpointError(
            f"{error}\nA head for another number of labels: pass ignore_mismatched_sizes=True "
            "(on the command line --ignore-mismatched-sizes) to give it fresh weights"
        ) from error
    if fresh:
        warnings.warn(
            f"{checkpoint.path} holds no weights that fit {', '.join(sorted(fresh))} of the {head} "
            f"head; they are fresh (seed {seed}): train the model before you use it",
            MobileBertWarning,
            stacklevel=3,
        )
    return FittedWeights(checkpoint, config, specs, frozenset(fresh), seed)


def _mismatched(store: Any, specs: Mapping[str, TensorSpec]) -> list[str]:
    """Head tensors that are there in another shape."""
    return [
        name
        for name, spec in specs.items()
        if spec.part not in _ENCODER_PARTS and name in store and store.shape(name) != spec.shape
    ]


def _fresh_names(
    checkpoint: Checkpoint,
    specs: Mapping[str, TensorSpec],
    head: str,
    ignore_mismatched_sizes: bool,
) -> set[str]:
    """Head tensors that the checkpoint cannot lend."""
    own_parts = {spec.part for spec in specs.values()} - set(_ENCODER_PARTS)
    fresh: set[str] = set()
    if ignore_mismatched_sizes:
        fresh |= set(_mismatched(checkpoint.weights, specs))
    if checkpoint.head not in (None, head):
        # Every task names its classifier alike: of another task it is another classifier.
        fresh |= {name for name, spec in specs.items() if spec.part == "classifier"}
    if checkpoint.head != head:
        fresh |= {
            name
            for name, spec in specs.items()
            if spec.part in own_parts and name not in checkpoint.weights
        }
    # A bias that happens to fit is of no use without its kernel.
    parts = {specs[name].part for name in fresh} & {"classifier"}
    return fresh | {name for name, spec in specs.items() if spec.part in parts}


class FittedWeights(Mapping[str, Array]):
    """Weights of a checkpoint, with fresh ones where it has none; nothing is kept in memory.

    Attributes:
        fresh: names of the tensors that are made from the seed.
        dropped: names of the tensors of the checkpoint that the head does not have.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        config: MobileBertConfig,
        specs: Mapping[str, TensorSpec],
        fresh: frozenset[str],
        seed: int,
    ) -> None:
        self._store = checkpoint.weights
        self._config = config
        self._specs = specs
        self.fresh = fresh
        self.dropped = tuple(name for name in self._store if name not in specs or name in fresh)
        self._seed = seed

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of one tensor; reads no data."""
        return self._specs[name].shape

    def stored(self, name: str) -> StoredTensor:
        """One tensor, not read or made yet; a fresh one is float32."""
        if name not in self.fresh:
            return self._store.stored(name)
        return StoredTensor(self.shape(name), "float32", lambda: self[name])

    def __getitem__(self, name: str) -> Array:
        if name in self.fresh:
            return initial_tensor(self._config, self._specs[name], self._seed)
        if name not in self._specs:
            raise KeyError(name)
        return self._store[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._specs)

    def __len__(self) -> int:
        return len(self._specs)
