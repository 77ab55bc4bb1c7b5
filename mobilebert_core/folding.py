"""Folds canonical encoder weights into fewer, cheaper operations: the same function, exactly.

With `no_norm` every normalisation is a linear map per channel. A state `x` is written as
`scale * x' + shift`: scale and shift move into the kernels around it, so that a residual addition
is the accumulate of a matrix product, and only ReLU and softmax are left between the products. Per
layer, a backend computes

    residual, queries, keys, values = x' @ input_kernel + input_bias           (H -> T + 3T)
    a' = residual + attention(queries, keys, values) @ output_kernel           (T -> T)
    a' = a' + act(a' @ intermediate_kernel + intermediate_bias) @ output_kernel  (T -> I -> T), F x
    x' = x' + a' @ bottleneck_kernel                                           (T -> H)

1/sqrt(D) is in the queries; scores are softmaxed as they are. A bias of the keys adds the same to
all scores of a query and is left out; a bias of the values passes through attention, for
probabilities sum to one, and is a part of a shift. Everything is folded in float64.

The results are named for what they become: a backend's `folded.py` makes a `FoldedLayer` of each
`folding.Layer`.

H hidden  T bottleneck width  D head size  I feed-forward  F feed-forward networks of a layer
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, TypeVar

import numpy as np

from mobilebert_core.config import MobileBertConfig
from mobilebert_core.errors import ConfigError
from mobilebert_core.schema import PREFIX

Array = np.ndarray[Any, np.dtype[Any]]
FoldedT = TypeVar("FoldedT")

ENCODER = f"{PREFIX}encoder."  # what folding replaces

# A scale within these bounds is carried along. The product of many norms may leave them; then the
# state itself is multiplied, once, and its scale starts again at one.
SMALLEST_SCALE, LARGEST_SCALE = 2.0**-40, 2.0**40


@dataclass(frozen=True)
class Addition:
    """`state' = state' * rescale + inputs @ kernel`: how a residual takes a product in.

    Attributes:
        kernel: (in, out).
        rescale: (out,), what the state is multiplied by before; None, as nearly always, leaves it.
    """

    kernel: Array
    rescale: Array | None


@dataclass(frozen=True)
class FeedForward:
    """One feed-forward network.

    Attributes:
        intermediate_kernel: (T, I).
        intermediate_bias: (I,).
        output: (I, T) onto the residual.
    """

    intermediate_kernel: Array
    intermediate_bias: Array
    output: Addition


@dataclass(frozen=True)
class Layer:
    """One layer; kernels are (in, out).

    Attributes:
        input_kernel: (H, 4 T): residual, queries, keys and values side by side; or (H, T), the
            residual alone, where the attention works on that.
        input_bias: likewise (4 T,) or (T,).
        attention_kernel: (T, 3 T), queries, keys and values of the residual; or None.
        attention_bias: (3 T,) or None.
        attention_output: (T, T) onto the residual.
        feed_forward: F networks.
        bottleneck: (T, H) onto the layer's input.
        scale: (H,), and
        shift: (H,): the layer's output is `scale * x' + shift`.
    """

    input_kernel: Array
    input_bias: Array
    attention_kernel: Array | None
    attention_bias: Array | None
    attention_output: Addition
    feed_forward: tuple[FeedForward, ...]
    bottleneck: Addition
    scale: Array
    shift: Array


def reason_not_to_fold(config: MobileBertConfig) -> str:
    """Why a model of this configuration cannot be folded; empty when it can."""
    if config.normalization_type != "no_norm":
        return f"normalization_type is {config.normalization_type!r}, and only 'no_norm' is linear"
    if not config.use_bottleneck:
        return "use_bottleneck is False, and the folded layers are those with bottlenecks"
    return ""


def fold_encoder(
    config: MobileBertConfig, weights: Mapping[str, Array], *, dtype: Any = np.float32
) -> tuple[Layer, ...]:
    """The layers of an encoder, folded; the first one takes the embeddings as they are.

    Args:
        config: the configuration.
        weights: canonical weights of any head.
        dtype: of the folded weights, rounded to it once.

    Raises:
        ConfigError: the configuration has something that is not linear, or the folded weights are
            too large for the dtype.
    """
    reason = reason_not_to_fold(config)
    if reason:
        raise ConfigError(f"This model cannot be folded: {reason}")
    basis = Basis(np.ones(config.hidden_size), np.zeros(config.hidden_size))
    layers = []
    for index in range(config.num_hidden_layers):
        source = _Weights(weights, f"{ENCODER}layer.{index}")
        layer, basis = _fold_layer(config, source, basis)
        layers.append(layer)
    check_range(layers, np.dtype(dtype).name)
    return map_arrays(tuple(layers), lambda array: array.astype(dtype, order="C"))


def check_range(layers: Iterable[Layer], dtype: str) -> None:
    """Raise where folded weights would become infinite.

    Args:
        layers: in float64.
        dtype: that they are to be rounded to; all but float64 have the range of float32.

    Raises:
        ConfigError: some are too large.
    """
    if dtype == "float64":
        return
    largest = np.finfo(np.float32).max

    def check(array: Array) -> None:
        size = np.abs(array[np.isfinite(array)]).max(initial=0)
        if size > largest:
            raise ConfigError(
                f"This model cannot be folded in {dtype}: its weights multiply up to "
                f"{size:.1e}; load it with dtype='float64' or without optimize"
            )

    for layer in layers:
        map_arrays(layer, check)


def map_arrays(folded: FoldedT, function: Callable[[Array], Any]) -> FoldedT:
    """The same structure with a function applied to every array that is there."""
    if isinstance(folded, np.ndarray):
        return function(folded)  # type: ignore[no-any-return]
    if isinstance(folded, tuple):
        return tuple(map_arrays(each, function) for each in folded)  # type: ignore[return-value]
    if is_dataclass(folded) and not isinstance(folded, type):
        values = {
            each.name: map_arrays(getattr(folded, each.name), function) for each in fields(folded)
        }
        return type(folded)(**values)
    return folded


@dataclass(frozen=True)
class Basis:
    """What a folded state stands for: `scale * state' + shift`, per channel."""

    scale: Array
    shift: Array

    def into(self, kernel: Array, bias: Array) -> tuple[Array, Array]:
        """Kernel and bias for `state'` that give what the given ones give for the state."""
        return self.scale[:, None] * kernel, self.shift @ kernel + bias

    def add(
        self, kernel: Array, bias: Array, norm: tuple[Array, Array]
    ) -> tuple[Addition, "Basis"]:
        """The addition that is `NORM(inputs @ kernel + bias + state)`, and the basis after it."""
        gamma, beta = norm
        shift = gamma * (bias + self.shift) + beta
        carried = gamma * self.scale
        size = np.abs(carried)
        outside = (size < SMALLEST_SCALE) | (size > LARGEST_SCALE)
        scale = np.where(outside, 1.0, carried)
        # Where the scale is carried along, gamma / scale is 1 / the scale before.
        divisor = np.where(outside, 1.0, self.scale)
        kernel = kernel * (np.where(outside, gamma, 1.0) / divisor)
        rescale = np.where(outside, carried, 1.0) if outside.any() else None
        return Addition(kernel, rescale), Basis(scale, shift)


class _Weights:
    """Canonical weights below a name, in float64, kernels as (in, out)."""

    def __init__(self, weights: Mapping[str, Array], prefix: str) -> None:
        self._weights = weights
        self._prefix = prefix

    def _get(self, name: str) -> Array:
        return np.asarray(self._weights[f"{self._prefix}.{name}"]).astype(np.float64)

    def dense(self, name: str) -> tuple[Array, Array]:
        """Kernel (in, out) and bias."""
        return self._get(f"{name}.weight").T, self._get(f"{name}.bias")

    def norm(self, name: str) -> tuple[Array, Array]:
        """Gamma and beta."""
        return self._get(f"{name}.LayerNorm.weight"), self._get(f"{name}.LayerNorm.bias")

    def bottleneck(self, name: str) -> tuple[Array, Array]:
        """Dense and norm as one linear map: kernel and bias."""
        (kernel, bias), (gamma, beta) = self.dense(f"{name}.dense"), self.norm(name)
        return kernel * gamma, bias * gamma + beta


def _fold_layer(config: MobileBertConfig, weights: _Weights, outer: Basis) -> tuple[Layer, Basis]:
    """One layer for an input in the basis `outer`, and the basis of its output."""
    width = config.true_hidden_size
    input_kernel, input_bias = outer.into(*weights.bottleneck("bottleneck.input"))
    inner = Basis(np.ones(width), np.zeros(width))
    attended = inner if config.use_bottleneck_attention else outer
    kernel, bias = attended.into(*_queries_keys_values(config, weights))
    bias, value_bias = np.concatenate([bias[:width], np.zeros(2 * width)]), bias[2 * width :]
    attention_kernel = attention_bias = None
    if config.use_bottleneck_attention:
        attention_kernel, attention_bias = kernel, bias
    else:
        input_kernel = np.concatenate([input_kernel, kernel], axis=1)  # (H, 4 T)
        input_bias = np.concatenate([input_bias, bias])
    kernel, bias = weights.dense("attention.output.dense")
    norm = weights.norm("attention.output")
    attention_output, inner = inner.add(kernel, value_bias @ kernel + bias, norm)
    networks = []
    for name in (*(f"ffn.{each}." for each in range(config.num_feedforward_networks - 1)), ""):
        intermediate = inner.into(*weights.dense(f"{name}intermediate.dense"))
        dense, norm = weights.dense(f"{name}output.dense"), weights.norm(f"{name}output")
        output, inner = inner.add(*dense, norm)
        networks.append(FeedForward(*intermediate, output))
    dense = inner.into(*weights.dense("output.bottleneck.dense"))
    bottleneck, outer = outer.add(*dense, weights.norm("output.bottleneck"))
    layer = Layer(
        input_kernel=input_kernel,
        input_bias=input_bias,
        attention_kernel=attention_kernel,
        attention_bias=attention_bias,
        attention_output=attention_output,
        feed_forward=tuple(networks),
        bottleneck=bottleneck,
        scale=outer.scale,
        shift=outer.shift,
    )
    return layer, outer


def _queries_keys_values(config: MobileBertConfig, weights: _Weights) -> tuple[Array, Array]:
    """One linear map to all three, (in, 3 T): of the layer's input, or of the bottleneck's output.

    The shared bottleneck before queries and keys is a part of it, and so is 1/sqrt(D).
    """
    parts = []
    for name in ("query", "key", "value"):
        kernel, bias = weights.dense(f"attention.self.{name}")
        if config.shares_key_query_bottleneck and name != "value":
            before, before_bias = weights.bottleneck("bottleneck.attention")
            kernel, bias = before @ kernel, before_bias @ kernel + bias
        if name == "query":
            factor = float(config.attention_head_size) ** -0.5
            kernel, bias = kernel * factor, bias * factor
        parts.append((kernel, bias))
    return (
        np.concatenate([kernel for kernel, _ in parts], axis=1),
        np.concatenate([bias for _, bias in parts]),
    )


def without_encoder(weights: Mapping[str, Array]) -> dict[str, Array]:
    """The weights that folding leaves as they are: embeddings, pooler and head."""
    return {name: weights[name] for name in weights if not name.startswith(ENCODER)}
