"""Derivatives of the oracle's loss without a backward pass.

A weight moved by 1e-30 along the imaginary axis moves the loss by 1e-30 times its derivative along
that axis, exact to rounding: no difference of nearly equal numbers is ever taken (Squire and Trapp,
1998). One pass gives the derivative along one direction; a random direction sees an error of a
gradient anywhere in it.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from mobilebert_conformance import generator
from mobilebert_conformance.arithmetic import COMPLEX128
from mobilebert_conformance.oracle_heads import Oracle
from mobilebert_core.config import MobileBertConfig

Array = np.ndarray[Any, np.dtype[Any]]

STEP = 1e-30
_LAYER = re.compile(r"mobilebert\.encoder\.layer\.(\d+)\.")
_DIRECTION_SEED = 4


def direction(name: str, shape: tuple[int, ...], seed: int = _DIRECTION_SEED) -> Array:
    """A random direction for one tensor: mean 0, variance 1."""
    return generator.normal(seed, f"direction of {name}", shape)


class Derivatives:
    """Directional derivatives of one loss.

    The states before each layer are computed once, so that a weight of layer l costs the layers
    from l on.

    Args:
        config: the configuration.
        head: a head with a loss.
        weights: canonical weights.
        inputs: of the call.
        labels: of the call.
    """

    def __init__(
        self,
        config: MobileBertConfig,
        head: str,
        weights: Mapping[str, Array],
        inputs: Mapping[str, Any],
        labels: Mapping[str, Any],
    ) -> None:
        self.oracle = Oracle(config, head, weights, COMPLEX128)
        self.flat = {name: self.oracle.flatten_choices(name, each) for name, each in inputs.items()}
        self.inputs, self.labels = inputs, labels
        encoder = self.oracle.encoder
        self.bias = encoder.attention_bias(self.flat.get("attention_mask"))
        if self.bias is not None:
            self.bias = self.bias.real
        self.states = encoder.encode(self.flat).hidden_states
        self.loss = float(self._loss(self.states[-1]).real)

    def along(self, directions: Mapping[str, Array]) -> float:
        """The derivative of the loss when these tensors move along their directions together."""
        weights = self.oracle.encoder.weights
        kept = {name: weights[name] for name in directions}
        for name, each in directions.items():
            weights[name] = kept[name] + 1j * STEP * each
        try:
            return float(self._loss(self._sequence(directions)).imag / STEP)
        finally:
            weights.update(kept)

    def along_random_directions(
        self, groups: Mapping[str, list[str]]
    ) -> Iterator[tuple[str, float]]:
        """The derivative for each group of tensors that move together in `direction`."""
        weights = self.oracle.encoder.weights
        for group, names in groups.items():
            moves = {name: direction(name, weights[name].shape) for name in names}
            yield group, self.along(moves)

    def gradients(self) -> dict[str, Array]:
        """The whole gradient, one pass for each single weight: for tiny models only."""
        found = {}
        for name, array in list(self.oracle.encoder.weights.items()):
            gradient = np.empty(array.shape)
            for index in np.ndindex(array.shape):
                move = np.zeros(array.shape)
                move[index] = 1.0
                gradient[index] = self.along({name: move})
            found[name] = gradient
        return found

    def _sequence(self, moved: Mapping[str, Any]) -> Array:
        """The last hidden state, computed from the first layer on that a moved weight touches."""
        encoder = self.oracle.encoder
        first = min((_first_layer(name, len(self.states) - 1) for name in moved), default=0)
        if first < 0:
            hidden, first = encoder.embeddings(self.flat), 0
        else:
            hidden = self.states[first]
        for index in range(first, self.oracle.config.num_hidden_layers):
            hidden, _ = encoder.layer(index, hidden, self.bias)
        return hidden

    def _loss(self, sequence: Array) -> Any:
        return self.oracle.fields(sequence, self.inputs, self.labels)["loss"]


def _first_layer(name: str, layers: int) -> int:
    """The layer that a weight belongs to: -1 for the embeddings, `layers` for what follows."""
    found = _LAYER.match(name)
    if found:
        return int(found[1])
    return -1 if name.startswith("mobilebert.embeddings.") else layers
