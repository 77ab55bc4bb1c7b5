"""What the native model classes of every backend share: loading, saving and call signatures."""

import functools
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

import numpy as np

from mobilebert_core import loading, registry, schema
from mobilebert_core.config import MobileBertConfig
from mobilebert_core.errors import ConfigError
from mobilebert_core.heads import get_head
from mobilebert_core.initialization import initial_weights
from mobilebert_core.inputs import INPUT_NAMES
from mobilebert_core.outputs import OutputT
from mobilebert_core.precision import choose_dtype, choose_optimization, round_output

CallT = TypeVar("CallT", bound=Callable[..., Any])


def with_call_signature(call: CallT, head: str, own_options: tuple[str, ...] = ()) -> CallT:
    """The same method, whose signature names the arguments of one head instead of `**options`.

    One implementation serves all heads, but people and programs read signatures: help and editors,
    training loops that route a data set's columns, Keras.

    Args:
        call: a method that takes the inputs by name and the rest as keywords.
        head: name of the head.
        own_options: further keywords of this backend, e.g. `training`.
    """
    row = get_head(head)
    inputs = [name for name in INPUT_NAMES if name != "prediction_positions" or row.positions]
    options = (*own_options, "output_attentions", "output_hidden_states", "return_dict")
    positional = inspect.Parameter.POSITIONAL_OR_KEYWORD
    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters = [inspect.Parameter("self", positional)]
    parameters += [
        inspect.Parameter(
            name, keyword if name == "prediction_positions" else positional, default=None
        )
        for name in inputs
    ]
    parameters += [
        inspect.Parameter(name, keyword, default=None) for name in (*row.labels, *options)
    ]

    @functools.wraps(call)
    def method(self: Any, *arguments: Any, **keywords: Any) -> Any:
        return call(self, *arguments, **keywords)

    method.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return method  # type: ignore[return-value]


class GradientCheckpointing:
    """Mixed into the model classes of a backend that trains; its encoder has the switch."""

    canonical_only: Callable[[], None]

    @property
    def gradient_checkpointing(self) -> bool:
        """Whether layers are recomputed in the backward pass."""
        backbone: Any = getattr(self, "mobilebert", self)
        return bool(getattr(backbone.encoder, "gradient_checkpointing", False))

    def gradient_checkpointing_enable(
        self, gradient_checkpointing_kwargs: Mapping[str, Any] | None = None
    ) -> None:
        """Recompute each layer in the backward pass: less memory, a third more time.

        Args:
            gradient_checkpointing_kwargs: accepted for code that was written for transformers;
                there is one way only.
        """
        self.switch_gradient_checkpointing(True)

    def gradient_checkpointing_disable(self) -> None:
        """Keep all activations for the backward pass."""
        self.switch_gradient_checkpointing(False)

    def switch_gradient_checkpointing(self, on: bool) -> None:
        """Set the encoder's switch.

        Raises:
            ConfigError: the model is optimised.
        """
        self.canonical_only()
        backbone: Any = getattr(self, "mobilebert", self)
        backbone.encoder.gradient_checkpointing = on


class Pretrained:
    """Mixed into every model class.

    Attributes:
        head: name of the head, set by each class.
        backend_name: name of the backend, set by each backend's base class.
        precision: `reproducible` or None, as the model was made.
        optimized: whether the encoder is folded; then the model is for inference only.
    """

    config: MobileBertConfig
    head: ClassVar[str]
    backend_name: ClassVar[str]
    precision: str | None = None
    optimized: bool = False

    @classmethod
    def checked_dtype(cls, dtype: Any, precision: str | None = None) -> str:
        """The name of the dtype; None is float32, or what the precision needs.

        Raises:
            ConfigError: the backend does not compute in it, or does not offer the precision.
        """
        return choose_dtype(registry.get(cls.backend_name), dtype, precision)

    @classmethod
    def checked_optimization(cls, config: MobileBertConfig, optimize: bool | str) -> bool | str:
        """What `optimize=` comes to; see `mobilebert_core.precision.choose_optimization`."""
        return choose_optimization(registry.get(cls.backend_name), config, optimize)

    @classmethod
    def checked_weights(
        cls, config: Any, weights: Mapping[str, Any] | None, seed: int
    ) -> Mapping[str, Any]:
        """The given weights, if they are exactly those of this class, or fresh ones for None.

        The base model may do without a pooler.

        Raises:
            ConfigError: no configuration.
            CheckpointError: lists every missing, unexpected and misshaped tensor.
        """
        loading.check_config(config)
        if weights is None:
            return initial_weights(config, cls.head, seed)
        pooled = cls.head != "base" or schema.has_pooler(config, weights)
        specs = schema.tensors(config, cls.head, add_pooling_layer=pooled)
        given = weights
        shape = getattr(given, "shape", lambda name: np.shape(given[name]))  # lazy ones know it
        schema.validate(specs, {name: shape(name) for name in given}, "the given weights")
        return given

    def canonical_only(self) -> None:
        """Refuse what needs the canonical weights.

        Raises:
            ConfigError: the model is optimised.
        """
        if self.optimized:
            raise ConfigError(
                "An optimised model has folded weights, for inference only; to save, resize or "
                "train it, load it without optimize="
            )

    @staticmethod
    def to_float32(array: Any) -> Any:
        """A native float64 array in float32, with 0 for what is below `SMALLEST_FLOAT32`."""
        raise NotImplementedError

    def rounded(self, output: OutputT) -> OutputT:
        """What a call gives: the output, of a reproducible model in float32."""
        return output if self.precision is None else round_output(output, self.to_float32)

    @classmethod
    def from_pretrained(cls, source: str | Path, **options: Any) -> Self:
        """A model of this class with the weights of a checkpoint: `mobilebert.load`.

        Args:
            source: a folder, a weights file, a packaged name or a hub id.
            **options: those of `mobilebert.load` but `head` and `backend`, and configuration
                fields to change, e.g. `num_labels=3`. `torch_dtype` is another name of `dtype`;
                `from_pt`, `from_tf` and `from_flax` are accepted and change nothing, for every
                backend reads every format.
        """
        for name in ("from_pt", "from_tf", "from_flax"):
            if isinstance(options.get(name), bool):
                del options[name]
        if "torch_dtype" in options:
            options.setdefault("dtype", options.pop("torch_dtype"))
        if options.get("dtype") == "auto":
            options["dtype"] = None
        model: Self = loading.load(source, cls.head, cls.backend_name, **options)
        return model

    @property
    def num_labels(self) -> int:
        """Number of classes of the configuration."""
        return self.config.num_labels

    def save_pretrained(self, folder: str | Path, **options: Any) -> Path:
        """Write a checkpoint folder: `mobilebert.save`.

        Args:
            folder: where to.
            **options: those of `mobilebert.save`; `safe_serialization=True` is what is always done.
        """
        if options.get("safe_serialization") is True:
            del options["safe_serialization"]
        return loading.save(self, folder, **options)
