"""What the eight NumPy models share: parameters, input checks and the call.

B batch  C choices  S sequence  P prediction positions  E embedding
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from mobilebert_core import folding
from mobilebert_core.config import MobileBertConfig
from mobilebert_core.inputs import LABEL_NAMES, Batch, collected, prepare
from mobilebert_core.precision import SMALLEST_FLOAT32
from mobilebert_core.pretrained import Pretrained, with_call_signature
from mobilebert_numpy.encoder import Backbone
from mobilebert_numpy.folded import FoldedEncoder
from mobilebert_numpy.params import Weights, from_canonical

Array = np.ndarray[Any, np.dtype[Any]]


class NumpyMobileBertPreTrainedModel(Pretrained):
    """What the eight models share: parameters, input checks and the call.

    Args:
        config: the configuration.
        weights: canonical weights, copied; None makes fresh ones.
        seed: of fresh weights.
        dtype: `float32` or `float64`; None is float32.
        precision: `reproducible` computes in float64 and rounds outputs to float32, once.
        optimize: True folds the encoder's weights; see `mobilebert.load`.
    """

    backend_name = "numpy"
    mobilebert: Backbone

    def __init_subclass__(cls) -> None:
        if "head" in vars(cls):  # a user's subclass keeps its own signature
            cls.__call__ = with_call_signature(cls.__call__, cls.head)

    def __init__(
        self,
        config: MobileBertConfig,
        *,
        weights: Mapping[str, Array] | None = None,
        seed: int = 0,
        dtype: str | None = None,
        precision: str | None = None,
        optimize: bool | str = False,
    ) -> None:
        name = self.checked_dtype(dtype, precision)
        weights = self.checked_weights(config, weights, seed)
        self.config, self.precision = config, precision
        self.optimized = bool(self.checked_optimization(config, optimize))
        self.parameters = from_canonical(weights, name)
        self.make_modules(config, Weights(self.parameters))
        if self.optimized:
            layers = folding.fold_encoder(config, weights, dtype=name)
            self.mobilebert.encoder = FoldedEncoder(config, layers)
            self.parameters = folding.without_encoder(self.parameters)

    def __repr__(self) -> str:
        """Class, layers and dtype."""
        dtype = next(iter(self.parameters.values())).dtype
        return f"{type(self).__name__}({self.config.num_hidden_layers} layers, {dtype})"

    def make_modules(self, config: MobileBertConfig, weights: Weights) -> None:
        """Build the modules on views of the parameters."""
        raise NotImplementedError

    def compute(self, batch: Batch, labels: dict[str, Array], collect: tuple[str, ...]) -> Any:
        """The head's output dataclass."""
        raise NotImplementedError

    @property
    def batching(self) -> str:
        """How `mobilebert.predict` puts texts together."""
        return "packed" if self.optimized else "rectangles"

    @staticmethod
    def to_float32(array: Array) -> Array:
        """See `mobilebert_core.precision.round_output`."""
        small = (np.abs(array) < SMALLEST_FLOAT32) & (array != 0)
        rounded: Array = np.where(small, 0.0, array).astype(np.float32)[()]  # [()]: still a scalar
        return rounded

    def __call__(
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
        """Run the model.

        Args:
            input_ids: (B, S), or (B, C, S) for multiple choice.
            attention_mask: same shape, 1 where attended; or 4-D. Default: everywhere.
            token_type_ids: same shape. Default: zeros.
            position_ids: same shape. Default: 0, 1, 2, ...
            inputs_embeds: (..., S, E) instead of `input_ids`.
            output_attentions: return the attention probabilities of every layer.
            output_hidden_states: return the hidden states of every layer.
            return_dict: False returns a tuple of the present fields.
            **options: the head's labels, and `prediction_positions` (B, P) for masked-lm heads.

        Raises:
            InputError: lists everything that does not fit.
        """
        inputs = {
            "input_ids": input_ids,
            "attention_mask": attention_mask,
            "token_type_ids": token_type_ids,
            "position_ids": position_ids,
            "inputs_embeds": inputs_embeds,
        }
        labels = {name: options.pop(name) for name in LABEL_NAMES if name in options}
        batch, targets = prepare(self.config, self.head, inputs | options, labels)
        collect = collected(output_hidden_states, output_attentions)
        output = self.rounded(self.compute(batch, targets, collect))
        return output.to_tuple() if return_dict is False else output
