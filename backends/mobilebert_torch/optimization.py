"""Makes the folded encoder of a model: in its own dtype, or with products of 8 bits.

Rounding to 8 bits loses small channels beside large ones, so the scales of activations are evened
out before, by what a sample of tokens shows; see `core/balancing.py`.

S sequence  H hidden
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from mobilebert_core import folding
from mobilebert_core.balancing import alike, balance, trace
from mobilebert_core.config import MobileBertConfig
from mobilebert_core.errors import ConfigError
from mobilebert_core.inputs import Batch
from mobilebert_torch.encoder import ACTIVATIONS, Embeddings
from mobilebert_torch.folded import Addition, FoldedEncoder, Product
from mobilebert_torch.kernels import Int8Kernel
from mobilebert_torch.params import to_array, to_tensor

Array = np.ndarray[Any, np.dtype[Any]]

_SAMPLE_TEXTS, _SAMPLE_LENGTH = 4, 64
_CLS = 101  # in the published vocabulary; its state has the largest outliers


def folded_encoder(
    config: MobileBertConfig,
    weights: Mapping[str, Array],
    embeddings: Embeddings,
    optimize: bool | str,
) -> FoldedEncoder:
    """The folded encoder of a model.

    Args:
        config: the configuration.
        weights: canonical weights.
        embeddings: of the model, with their values: they say dtype and device, and are sampled.
        optimize: True, or `int8`.

    Raises:
        ConfigError: 8 bits are asked for elsewhere than in float32 on a CPU, or the folded weights
            are too large for the dtype.
    """
    like = embeddings.word_embeddings.weight
    layers = folding.fold_encoder(config, weights, dtype=np.float64)
    folding.check_range(layers, str(like.dtype).removeprefix("torch."))
    if optimize == "int8":
        check_int8(like)
        states = sample_states(config, embeddings)
        sizes = trace(config, layers, states, activation(config))
        factors = alike(sizes, layers)
        layers = balance(config, layers, factors)
        return to_int8(FoldedEncoder(config, *tensors((layers, factors[0].state), like)))
    return FoldedEncoder(config, *tensors((layers,), like))


def tensors(arrays: Any, like: torch.Tensor) -> Any:
    """Arrays as tensors of the dtype and on the device of another one."""
    return folding.map_arrays(arrays, lambda array: to_tensor(array).to(like.device, like.dtype))


def check_int8(like: torch.Tensor) -> None:
    """Raise where 8-bit products cannot be computed.

    Raises:
        ConfigError: says what is expected.
    """
    if like.device.type != "cpu" or like.dtype != torch.float32:
        raise ConfigError(
            f"optimize='int8' is for float32 on a CPU, and the model is {like.dtype} on "
            f"{like.device}; use optimize=True"
        )
    if not hasattr(torch.ops.quantized, "linear_relu_dynamic"):
        raise ConfigError(
            f"optimize='int8' needs operators that torch {torch.__version__} does not have; use "
            "optimize=True"
        )


def sample_states(config: MobileBertConfig, embeddings: Embeddings) -> Array:
    """Embeddings of tokens from all over the vocabulary; (texts, S, H) float64."""
    length = min(_SAMPLE_LENGTH, config.max_position_embeddings)
    ids = np.arange(_SAMPLE_TEXTS * length) * 7919 % config.vocab_size
    ids = ids.reshape(_SAMPLE_TEXTS, length)
    ids[:, 0] = min(_CLS, config.vocab_size - 1)
    positions = np.broadcast_to(np.arange(length), ids.shape)
    batch = Batch(
        input_ids=to_tensor(ids),
        inputs_embeds=None,
        attention_mask=None,
        token_type_ids=torch.zeros(ids.shape, dtype=torch.int64),
        position_ids=to_tensor(positions),
        prediction_positions=None,
    )
    with torch.no_grad():
        return to_array(embeddings(batch)).astype(np.float64)


def activation(config: MobileBertConfig) -> Any:
    """The configuration's activation on NumPy arrays."""
    return lambda array: to_array(ACTIVATIONS[config.hidden_act](to_tensor(array)))


def to_int8(encoder: FoldedEncoder) -> FoldedEncoder:
    """The same encoder with 8-bit products."""
    for module in encoder.modules():
        if isinstance(module, Product | Addition):
            module.kernel = Int8Kernel(module.kernel)
    return encoder
