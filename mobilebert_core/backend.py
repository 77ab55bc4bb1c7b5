"""What a backend is: a light description, and the protocol that its heavy part implements.

A distribution registers a `BackendInfo` under the entry-point group `mobilebert.backends`; reading
it imports no framework. `registry.get` imports the implementation that it names. How to write one:
`backends/README.md`.
"""

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from mobilebert_core.config import MobileBertConfig
from mobilebert_core.errors import ConfigError
from mobilebert_core.outputs import Output

Array = np.ndarray[Any, np.dtype[Any]]

DTYPES = ("float64", "float32", "bfloat16", "float16")
NO_FLOAT16 = "activations of MobileBERT reach 2.5e7, far above the largest float16 (65504)"


class Feature(enum.Enum):
    """What a backend may claim; a conformance suite holds it to exactly its claims."""

    FLOAT64 = "float64"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"
    LOSSES = "losses"
    GRADIENTS = "gradients"
    HIDDEN_STATES = "hidden states"
    ATTENTIONS = "attentions"
    INPUTS_EMBEDS = "inputs embeds"
    PREDICTION_POSITIONS = "prediction positions"
    REPRODUCIBLE = "reproducible"
    OPTIMIZED = "optimized"


@dataclass(frozen=True, kw_only=True)
class BackendInfo:
    """The light description of a backend.

    Attributes:
        name: what users pass as `backend=`.
        implementation: `module:attribute` of a class without arguments that implements `Backend`.
        requires: importable modules that must be installed.
        install: what to type when one is missing, e.g. `pip install "mobilebert[torch]"`.
        class_module: the module that holds the model classes; None offers none to `mobilebert`.
        class_prefix: what precedes `MobileBertModel` in their names.
        aliases: further names, e.g. `pt` for tokenizers' `return_tensors`.
        priority: the installed backend of the highest priority is the default.
    """

    name: str
    implementation: str
    requires: tuple[str, ...]
    install: str
    class_module: str | None = None
    class_prefix: str = ""
    aliases: tuple[str, ...] = ()
    priority: int = 0


@runtime_checkable
class Model(Protocol):
    """What every backend's models have in common, whatever framework they are native to."""

    config: MobileBertConfig
    head: str
    backend_name: str

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the model on native or NumPy arrays; see the head's output dataclass."""
        ...


class Backend(Protocol):
    """What a backend implements. NumPy arrays go in and out, models are native.

    Attributes:
        name: what users pass as `backend=`.
        features: what it claims; may depend on how the framework is set. A backend that could
            offer a dtype, or `reproducible`, under another setting says how in `dtype_hints`, text
            by dtype or by that word.
    """

    name: str
    features: frozenset[Feature]

    def build(
        self,
        config: MobileBertConfig,
        head: str,
        weights: Mapping[str, Array],
        *,
        dtype: str,
        device: str | None,
        precision: str | None = None,
        optimize: bool | str = False,
    ) -> Model:
        """A native model in evaluation mode that owns a copy of the canonical weights.

        `precision` comes only to a backend that claims `Feature.REPRODUCIBLE`, as `reproducible`
        and with the dtype float64; without the feature, `build` needs no such argument. The model
        then computes in float64 and rounds every output, the loss included, to float32 once, as
        `mobilebert_core.precision.round_output` does, and has an attribute `precision`.

        `optimize` comes only to a backend that claims `Feature.OPTIMIZED`, and only where
        `mobilebert_core.folding` can fold the configuration. The model then has folded weights: its
        outputs are the same, it is for inference only, and has an attribute `optimized`.
        """
        ...

    def weights(self, model: Any) -> dict[str, Array]:
        """The canonical weights of a model: the bit-exact inverse of `build`.

        Raises:
            ConfigError: the model is optimised, and has folded weights only.
        """
        ...

    def run(
        self,
        model: Any,
        batch: Mapping[str, Any],
        *,
        labels: Any = None,
        collect: Iterable[str] = (),
    ) -> Output[Array]:
        """One call in evaluation mode, with the additional outputs that `collect` names."""
        ...

    def loss_and_gradients(
        self, model: Any, batch: Mapping[str, Any], labels: Any
    ) -> tuple[float, dict[str, Array]]:
        """The loss and its gradient for every canonical weight; `Feature.GRADIENTS`.

        The loss is the one that `run` gives. Gradients have the dtype of the weights, float64 for
        a reproducible model.
        """
        ...

    def tensor(self, array: Array) -> Any:
        """A native tensor on the default device with the values of an array."""
        ...


def dtype_name(dtype: Any) -> str:
    """The name of a dtype of any framework: `float32` for `torch.float32` or `np.float32`."""
    name = getattr(dtype, "__name__", None) or getattr(dtype, "name", None) or str(dtype)
    return str(name).rsplit(".", 1)[-1]


def check_dtype(backend: Backend, dtype: str) -> str:
    """The name of a dtype, checked against what a backend claims.

    Args:
        backend: the backend.
        dtype: `float32`, or anything whose name ends so, such as `torch.float32` or `np.float32`.

    Raises:
        ConfigError: unknown, or not offered by this backend.
    """
    name = dtype_name(dtype)
    if name not in DTYPES:
        raise ConfigError(f"dtype is {dtype!r}, expected one of {', '.join(DTYPES)}")
    offered = [each for each in DTYPES if Feature(each) in backend.features]
    if name in offered:
        return name
    if name == "float16":
        reason = f": {NO_FLOAT16}"
    else:
        hint = getattr(backend, "dtype_hints", {}).get(name)
        reason = f": {hint}" if hint else ""
    raise ConfigError(
        f"The {backend.name} backend does not compute in {name}{reason}; it offers "
        f"{', '.join(offered)}"
    )
