"""What the eight PyTorch models share: parameters, input checks and the call.

B batch  C choices  S sequence  P prediction positions  E embedding
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mobilebert_core import outputs
from mobilebert_core.backend import NO_FLOAT16
from mobilebert_core.config import MobileBertConfig
from mobilebert_core.errors import ConfigError
from mobilebert_core.folding import without_encoder
from mobilebert_core.inputs import (
    INPUT_NAMES,
    LABEL_NAMES,
    Batch,
    check_names,
    collected,
    read_call,
)
from mobilebert_core.precision import SMALLEST_FLOAT32
from mobilebert_core.pretrained import GradientCheckpointing, Pretrained, with_call_signature
from mobilebert_torch.encoder import values_are_known
from mobilebert_torch.optimization import folded_encoder
from mobilebert_torch.params import load_canonical, to_tensor


class MobileBertPreTrainedModel(Pretrained, GradientCheckpointing, nn.Module):
    """What the eight models share: parameters, input checks and the call.

    Args:
        config: the configuration.
        weights: canonical weights, copied; None makes fresh ones.
        seed: of fresh weights.
        dtype: `float32`, `float64` or `bfloat16`; None is float32.
        device: where the parameters live; None is torch's default device.
        precision: `reproducible` computes in float64 and rounds outputs to float32, once.
        optimize: True folds the encoder's weights, `int8` also rounds them; see `mobilebert.load`.
    """

    backend_name = "torch"

    def __init_subclass__(cls) -> None:
        if "head" in vars(cls):  # a user's subclass keeps its own signature
            cls.forward = with_call_signature(cls.forward, cls.head)

    def __init__(
        self,
        config: MobileBertConfig,
        *,
        weights: Mapping[str, np.ndarray[Any, Any]] | None = None,
        seed: int = 0,
        dtype: str | None = None,
        device: str | torch.device | None = None,
        precision: str | None = None,
        optimize: bool | str = False,
    ) -> None:
        nn.Module.__init__(self)
        native = getattr(torch, self.checked_dtype(dtype, precision))
        weights = self.checked_weights(config, weights, seed)
        self.config, self.precision = config, precision
        target = torch.get_default_device() if device is None else torch.device(device)
        with torch.device("meta"):  # no values yet: they come from the weights, one by one
            self.make_modules(config, weights)
        optimize = self.checked_optimization(config, optimize)
        self.optimized = bool(optimize)
        own = without_encoder(weights) if self.optimized else weights
        load_canonical(self, self.head, own, dtype=native, device=target)
        self.tie_weights()
        if self.optimized:
            backbone = getattr(self, "mobilebert", self)
            backbone.encoder = folded_encoder(config, weights, backbone.embeddings, optimize)
            self.requires_grad_(False).eval()

    def make_modules(self, config: MobileBertConfig, weights: Mapping[str, Any]) -> None:
        """Create the modules; their parameters are filled in afterwards."""
        raise NotImplementedError

    def compute(
        self, batch: Batch, labels: dict[str, Tensor], collect: tuple[str, ...]
    ) -> outputs.Output[Tensor]:
        """The head's output dataclass."""
        raise NotImplementedError

    def tie_weights(self) -> None:
        """Share what is one parameter under two names; heads without such names do nothing."""

    @property
    def device(self) -> torch.device:
        """Where the parameters live."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the parameters."""
        return next(self.parameters()).dtype

    def get_input_embeddings(self) -> nn.Embedding:
        """The word embeddings."""
        backbone = getattr(self, "mobilebert", self)
        return backbone.embeddings.word_embeddings

    @property
    def batching(self) -> str:
        """How `mobilebert.predict` puts texts together."""
        return "packed" if self.optimized else "rectangles"

    @staticmethod
    def to_float32(tensor: Tensor) -> Tensor:
        """See `mobilebert_core.precision.round_output`."""
        small = (tensor.abs() < SMALLEST_FLOAT32) & (tensor != 0)  # zeros keep their gradient
        return tensor.masked_fill(small, 0).float()

    def forward(
        self,
        input_ids: Any = None,
        attention_mask: Any = None,
        token_type_ids: Any = None,
        position_ids: Any = None,
        inputs_embeds: Any = None,
        *,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **options: Any,
    ) -> Any:
        """Run the model on tensors, arrays or lists.

        Args:
            input_ids: (B, S), or (B, C, S) for multiple choice.
            attention_mask: same shape, 1 where attended; or 4-D. Default: everywhere.
            token_type_ids: same shape. Default: zeros.
            position_ids: same shape. Default: 0, 1, 2, ...
            inputs_embeds: (..., S, E) instead of `input_ids`.
            output_attentions: return the attention probabilities of every layer; computed
                without the fused attention kernel.
            output_hidden_states: return the hidden states of every layer.
            return_dict: False returns a tuple of the present fields.
            **options: the head's labels, and `prediction_positions` (B, P) for masked-lm heads.

        Raises:
            InputError: lists everything that does not fit; on CUDA the check waits for ids, masks
                and labels to come back. Not checked inside torch.compile,
                torch.export, torch.jit.trace and torch.func, where values are unknown.
            ConfigError: the model or autocast computes in float16.
        """
        inputs = {
            "input_ids": input_ids,
            "attention_mask": attention_mask,
            "token_type_ids": token_type_ids,
            "position_ids": position_ids,
            "inputs_embeds": inputs_embeds,
        }
        batch, labels = self.prepare(inputs | options)
        collect = collected(output_hidden_states, output_attentions)
        output = self.rounded(self.compute(batch, labels, collect))
        return output.to_tuple() if return_dict is False else output

    def prepare(self, given: Mapping[str, Any]) -> tuple[Batch, dict[str, Tensor]]:
        """Check the arguments of a call, make tensors of them and fill in the defaults."""
        given = {name: value for name, value in given.items() if value is not None}
        check_names(self.head, given, INPUT_NAMES + LABEL_NAMES)
        if values_are_known(*given.values()):
            self.refuse_float16()
            given = self.check_values(given)
        labels = {name: given[name] for name in LABEL_NAMES if name in given}
        source = given["input_ids"] if "input_ids" in given else given["inputs_embeds"][..., 0]
        if "token_type_ids" not in given:
            given["token_type_ids"] = torch.zeros_like(source, dtype=torch.long)
        if "position_ids" not in given:
            given["position_ids"] = torch.arange(source.shape[-1], device=source.device)
        given["position_ids"] = given["position_ids"].expand(source.shape)
        batch = Batch(**{name: given.get(name) for name in INPUT_NAMES})
        return batch, labels

    def refuse_float16(self) -> None:
        """Raise where a product would be computed in float16, which overflows at 65504."""
        device_type = self.device.type
        half = self.dtype == torch.float16 or (
            torch.is_autocast_enabled(device_type)
            and torch.get_autocast_dtype(device_type) == torch.float16
        )
        if half:
            raise ConfigError(
                f"The model computes in float16, but {NO_FLOAT16}; use bfloat16 or float32"
            )

    def check_values(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments as tensors, checked; a mask of ones is left out, which is faster."""
        views = {name: view(name, value) for name, value in given.items()}
        arrays, targets = read_call(self.config, self.head, views)
        tensors = dict(given)
        for name, array in (arrays | targets).items():
            if not isinstance(given[name], Tensor):
                native = array.astype(array.dtype.newbyteorder("="), order="C")
                tensors[name] = to_tensor(native).to(self.device)
        for name, tensor in tensors.items():  # torch looks rows up by int32 and int64 only
            if not tensor.is_floating_point() and tensor.dtype != torch.int32:
                tensors[name] = tensor.long()
        if "attention_mask" in arrays and arrays["attention_mask"].all():
            del tensors["attention_mask"]
        return tensors


def view(name: str, value: Any) -> Any:
    """What core can check of an argument: a tensor's values, of embeddings the shape only."""
    if not isinstance(value, Tensor):
        return value
    if name == "inputs_embeds" and value.is_floating_point():  # large, and may need a gradient
        return np.broadcast_to(np.float32(0), value.shape)
    value = value.detach().cpu()
    return value.float() if value.dtype == torch.bfloat16 else value
