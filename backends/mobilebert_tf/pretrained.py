"""What the eight TensorFlow models share: variables, input checks and the call.

B batch  C choices  S sequence  P prediction positions  E embedding
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mobilebert_core import folding, outputs, schema
from mobilebert_core.config import MobileBertConfig
from mobilebert_core.errors import ConfigError, InputError
from mobilebert_core.heads import get_head
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
from mobilebert_tf.compiled import CompiledCall
from mobilebert_tf.folded import FoldedEncoder
from mobilebert_tf.layers import Embedding, Module
from mobilebert_tf.params import load_canonical, to_tensor
from mobilebert_tf.saving import KerasSaving
from mobilebert_tf.training import KerasTraining


class TFMobileBertPreTrainedModel(
    Pretrained, GradientCheckpointing, KerasTraining, KerasSaving, keras.Model
):
    """What the eight models share: variables, input checks and the call.

    Args:
        config: the configuration.
        weights: canonical weights, copied; None makes fresh ones.
        seed: of fresh weights.
        dtype: `float32`, `float64` or `bfloat16`, or a Keras dtype policy. A mixed policy that was
            set for all of Keras holds where it keeps variables of this dtype. None is `float32`.
        device: where the variables live and calls run, e.g. `CPU:0`; None leaves it to TensorFlow.
        precision: `reproducible` computes in float64 and rounds outputs to float32, once.
        optimize: True folds the encoder's weights; see `mobilebert.load`.
        name: of the Keras model.
    """

    backend_name = "tf"
    batching = "lengths"

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "head" in vars(cls):  # a user's subclass keeps its own signature
            cls.__call__ = with_call_signature(cls.__call__, cls.head, ("training",))

    def __init__(
        self,
        config: MobileBertConfig,
        *,
        weights: Mapping[str, np.ndarray[Any, Any]] | None = None,
        seed: int = 0,
        dtype: Any = None,
        device: str | None = None,
        precision: str | None = None,
        optimize: bool | str = False,
        name: str | None = None,
    ) -> None:
        policy = self.checked_policy(dtype, precision)
        weights = self.checked_weights(config, weights, seed)
        # Inputs are converted in `call`: labels must not be rounded to a lower dtype.
        keras.Model.__init__(self, name=name, dtype=policy, autocast=False)
        self.config, self.precision = config, precision
        self.device = find_device(device)
        self.run_eagerly = False
        self._compiled_call = CompiledCall(self.compute_named)
        self.has_pooling_layer = schema.has_pooler(config, weights)
        self.optimized = bool(self.checked_optimization(config, optimize))
        with self.on_device():
            self.make_modules(config, policy, pooled=self.has_pooling_layer)
            if self.optimized:
                weights = self.fold_encoder(weights)
            load_canonical(self, self.head, weights)
        self.trainable = not self.optimized

    @classmethod
    def checked_policy(cls, dtype: Any, precision: str | None) -> keras.DTypePolicy:
        """The Keras policy of a dtype and a precision.

        Raises:
            ConfigError: the backend does not compute in it.
        """
        if isinstance(dtype, keras.DTypePolicy):
            policy = dtype
        elif isinstance(dtype, str) and dtype.startswith("mixed_"):
            policy = keras.DTypePolicy(dtype)
        else:
            policy = keras.config.dtype_policy()
            name = cls.checked_dtype(dtype, precision)
            if policy.variable_dtype != name:
                policy = keras.DTypePolicy(name)
        cls.checked_dtype(policy.compute_dtype, precision)
        return policy

    def fold_encoder(self, weights: Mapping[str, Any]) -> Mapping[str, Any]:
        """Put a folded encoder in the place of the plain one, which has no variables yet.

        Returns:
            The weights of all the rest.
        """
        backbone = getattr(self, "mobilebert", self)
        dtype = tf.as_dtype(self.compute_dtype).as_numpy_dtype
        backbone._tracker.untrack(backbone.encoder)  # or Keras would keep it too
        layers = folding.fold_encoder(self.config, weights, dtype=dtype)
        backbone.encoder = FoldedEncoder(self.config, layers)
        return folding.without_encoder(weights)

    def make_modules(self, config: MobileBertConfig, dtype: Any, *, pooled: bool) -> None:
        """Create the layers; their variables are created and filled in afterwards."""
        raise NotImplementedError

    def compute(
        self, batch: Batch, labels: dict[str, tf.Tensor], collect: tuple[str, ...]
    ) -> outputs.Output[tf.Tensor]:
        """The head's output dataclass."""
        raise NotImplementedError

    def build(self, input_shape: Any = None) -> None:
        """Create the variables; again, as code for other Keras models does, it does nothing."""
        if not self.built:
            Module.build(self)

    def compile(self, *arguments: Any, **options: Any) -> None:
        """Prepare for `fit`, as `keras.Model.compile` does; `jit_compile=True` is for calls too.

        Without a loss, the head's own is used. Call it again after a change of the layers, such as
        `enable_lora`: it forgets the compiled graphs.
        """
        super().compile(*arguments, **options)
        self._compiled_call.clear()

    def get_input_embeddings(self) -> Embedding:
        """The word embeddings."""
        backbone = getattr(self, "mobilebert", self)
        return backbone.embeddings.word_embeddings

    def switch_gradient_checkpointing(self, on: bool) -> None:
        """Set the encoder's switch, which compiled calls would not see."""
        super().switch_gradient_checkpointing(on)
        self._compiled_call.clear()

    @staticmethod
    def to_float32(tensor: tf.Tensor) -> tf.Tensor:
        """See `mobilebert_core.precision.round_output`."""
        small = (tf.abs(tensor) < SMALLEST_FLOAT32) & (tensor != 0)  # zeros keep their gradient
        return tf.cast(tf.where(small, tf.zeros_like(tensor), tensor), tf.float32)

    @tf.autograph.experimental.do_not_convert
    def __call__(
        self,
        input_ids: Any = None,
        attention_mask: Any = None,
        token_type_ids: Any = None,
        position_ids: Any = None,
        inputs_embeds: Any = None,
        *,
        training: bool | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **options: Any,
    ) -> Any:
        """Run the model on tensors, arrays or lists; the first call of a kind compiles it.

        Args:
            input_ids: (B, S), or (B, C, S) for multiple choice; or a mapping of all inputs by name.
            attention_mask: same shape, 1 where attended; or 4-D. Default: everywhere.
            token_type_ids: same shape. Default: zeros.
            position_ids: same shape. Default: 0, 1, 2, ...
            inputs_embeds: (..., S, E) instead of `input_ids`.
            training: whether dropout acts. Default: no.
            output_attentions: return the attention probabilities of every layer.
            output_hidden_states: return the hidden states of every layer.
            return_dict: False returns a tuple of the present fields.
            **options: the head's labels, and `prediction_positions` (B, P) for masked-lm heads.

        Raises:
            InputError: lists everything that does not fit; on a GPU the check waits for ids, masks
                and labels to come back. Values are not checked inside a tf.function, `fit`
                included, where they are unknown.
        """
        inputs = {
            "input_ids": input_ids,
            "attention_mask": attention_mask,
            "token_type_ids": token_type_ids,
            "position_ids": position_ids,
            "inputs_embeds": inputs_embeds,
        }
        if isinstance(input_ids, Mapping):
            del inputs["input_ids"]
            both = inputs | options
            options |= {name: each for name, each in input_ids.items() if both.get(name) is None}
        given = {name: each for name, each in (inputs | options).items() if each is not None}
        for name, each in given.items():
            if isinstance(each, tf.Variable | keras.Variable) or not tf.executing_eagerly():
                given[name] = tf.convert_to_tensor(each)
        flags = {
            "output_attentions": bool(output_attentions),
            "output_hidden_states": bool(output_hidden_states),
        }
        if training is not None:  # Keras would take None for the caller's wish
            flags["training"] = training
        if values_are_known(given):
            check_names(self.head, given, INPUT_NAMES + LABEL_NAMES)
            given = self.check_values(given)
        else:
            check_names(self.head, given, INPUT_NAMES + get_head(self.head).labels)
        output = super().__call__(given, **flags)
        return output.to_tuple() if return_dict is False else output

    def call(
        self,
        inputs: Mapping[str, tf.Tensor],
        training: bool | None = None,
        output_attentions: bool = False,
        output_hidden_states: bool = False,
    ) -> outputs.Output[tf.Tensor]:
        """What Keras calls, `training` being decided: the graph for such inputs, made if needed."""
        options = {
            "training": bool(training),
            "collect": collected(output_hidden_states, output_attentions),
        }
        eagerly = self.run_eagerly or tf.config.functions_run_eagerly()
        with self.on_device():
            if eagerly or not tf.executing_eagerly():
                return self.compute_named(inputs, **options)
            xla = getattr(self, "jit_compile", None) is True
            return self._compiled_call(inputs, jit_compile=xla, **options)

    def compute_named(
        self, inputs: Mapping[str, tf.Tensor], *, training: bool, collect: tuple[str, ...]
    ) -> outputs.Output[tf.Tensor]:
        """The computation on inputs and labels by name; layers learn `training` from Keras."""
        del training
        batch, labels = self.prepare(inputs)
        return self.rounded(self.compute(batch, labels, collect))

    def on_device(self) -> AbstractContextManager[Any]:
        """A context on the model's device; TensorFlow chooses where none was named."""
        return tf.device(self.device) if self.device else nullcontext()

    def prepare(self, given: Mapping[str, tf.Tensor]) -> tuple[Batch, dict[str, tf.Tensor]]:
        """Separate inputs and labels, and fill in the defaults."""
        labels = {name: given[name] for name in LABEL_NAMES if name in given}
        inputs = {name: given.get(name) for name in INPUT_NAMES}
        source = inputs["input_ids"]
        if source is None:
            if inputs["inputs_embeds"] is None:
                raise InputError(f"neither input_ids nor inputs_embeds among {sorted(given)}")
            source = inputs["inputs_embeds"][..., 0]
        if inputs["attention_mask"] is not None:
            inputs["attention_mask"] = tf.cast(inputs["attention_mask"], tf.bool)
        if inputs["token_type_ids"] is None:
            inputs["token_type_ids"] = tf.zeros_like(source, tf.int64)
        if inputs["position_ids"] is None:
            inputs["position_ids"] = tf.range(tf.shape(source)[-1])
        positions = tf.broadcast_to(inputs["position_ids"], tf.shape(source))
        return Batch(**inputs | {"position_ids": positions}), labels

    def check_values(self, given: Mapping[str, Any]) -> dict[str, tf.Tensor]:
        """The arguments as tensors of few dtypes, checked, so that few graphs are needed."""
        views = {name: view(name, value) for name, value in given.items()}
        arrays, targets = read_call(self.config, self.head, views)
        tensors = {}
        for name, array in (arrays | targets).items():
            tensor = given[name] if isinstance(given[name], tf.Tensor) else to_tensor(array)
            if name == "inputs_embeds":
                dtype = tf.as_dtype(self.compute_dtype)
            elif name == "attention_mask":
                dtype = tf.bool
            else:
                dtype = tensor.dtype if tensor.dtype.is_floating else tf.int64
            tensors[name] = tf.cast(tensor, dtype)
        return tensors


def values_are_known(given: Mapping[str, Any]) -> bool:
    """Whether a call is an ordinary one: not inside a tf.function, nor on symbolic tensors."""
    symbolic = any(isinstance(each, keras.KerasTensor) for each in given.values())
    return tf.executing_eagerly() and not symbolic


def view(name: str, value: Any) -> Any:
    """What core can check of an argument: a tensor's values, of embeddings the shape only."""
    if not isinstance(value, tf.Tensor):
        return value
    if name == "inputs_embeds" and value.dtype.is_floating:  # large, and may need a gradient
        return np.broadcast_to(np.float32(0), value.shape)
    return value.numpy()


def find_device(device: str | None) -> str | None:
    """The full name of a device such as `CPU:0` or `gpu`; None stays None.

    Raises:
        ConfigError: TensorFlow does not offer it; left to itself it would take another one.
    """
    if device is None:
        return None
    offered = [each.name for each in tf.config.list_logical_devices()]
    kind, _, number = device.upper().rpartition("/")[2].removeprefix("DEVICE:").partition(":")
    wanted = f"/device:{kind}:{number or 0}"
    if wanted not in offered:
        raise ConfigError(
            f"device is {device!r}, which TensorFlow does not offer; it offers {', '.join(offered)}"
        )
    return wanted
