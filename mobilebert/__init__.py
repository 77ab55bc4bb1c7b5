"""MobileBERT for NumPy, PyTorch, TensorFlow and JAX behind one specification.

    model = mobilebert.load("path/or/hub-id", head="question-answering", backend="torch")
    tokenizer = mobilebert.load_tokenizer("path/or/hub-id")
    output = model(**tokenizer("Who wrote it?", "Ada wrote it.", return_tensors="pt"))

Without a source, `load` and `load_tokenizer` take the small model that is packaged, and
`fill_mask("The [MASK] was dark.")` asks it for a word.

Everything here is imported when it is first used, and a framework only when its backend is asked
for. `mobilebert.backends()` tells what is installed. The code is in `mobilebert_core`,
that of `train` in `mobilebert_training`.
"""

import importlib
import importlib.metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mobilebert_core.backend import BackendInfo, Feature
    from mobilebert_core.comparison import diff
    from mobilebert_core.config import MobileBertConfig
    from mobilebert_core.config import MobileBertConfig as Config
    from mobilebert_core.conversion import convert
    from mobilebert_core.errors import (
        BackendError,
        BrokenBackendError,
        CheckpointError,
        ConfigError,
        DuplicateBackendError,
        InputError,
        MissingDependencyError,
        MobileBertError,
        MobileBertWarning,
        TokenizerError,
        TrainingError,
        UnknownBackendError,
    )
    from mobilebert_core.heads import HEADS
    from mobilebert_core.labelled import labelled_positions
    from mobilebert_core.loading import create, load, resize_token_embeddings, save
    from mobilebert_core.mask_filling import fill_mask
    from mobilebert_core.prediction import predict
    from mobilebert_core.registry import backends, register_backend
    from mobilebert_core.registry import get as get_backend
    from mobilebert_core.tokenization import (
        MobileBertTokenizer,
        MobileBertTokenizerFast,
        load_tokenizer,
    )
    from mobilebert_training.training import train

# Public name -> module, of the core unless it says otherwise, and name there.
_EXPORTS = {
    "load": "loading:load",
    "create": "loading:create",
    "save": "loading:save",
    "convert": "conversion:convert",
    "diff": "comparison:diff",
    "predict": "prediction:predict",
    "fill_mask": "mask_filling:fill_mask",
    "train": "mobilebert_training.training:train",
    "labelled_positions": "labelled:labelled_positions",
    "resize_token_embeddings": "loading:resize_token_embeddings",
    "load_tokenizer": "tokenization:load_tokenizer",
    "MobileBertTokenizer": "tokenization:MobileBertTokenizer",
    "MobileBertTokenizerFast": "tokenization:MobileBertTokenizerFast",
    "Config": "config:MobileBertConfig",
    "MobileBertConfig": "config:MobileBertConfig",
    "HEADS": "heads:HEADS",
    "backends": "registry:backends",
    "get_backend": "registry:get",
    "register_backend": "registry:register_backend",
    "BackendInfo": "backend:BackendInfo",
    "Feature": "backend:Feature",
    "MobileBertError": "errors:MobileBertError",
    "ConfigError": "errors:ConfigError",
    "CheckpointError": "errors:CheckpointError",
    "InputError": "errors:InputError",
    "TokenizerError": "errors:TokenizerError",
    "TrainingError": "errors:TrainingError",
    "BackendError": "errors:BackendError",
    "UnknownBackendError": "errors:UnknownBackendError",
    "MissingDependencyError": "errors:MissingDependencyError",
    "BrokenBackendError": "errors:BrokenBackendError",
    "DuplicateBackendError": "errors:DuplicateBackendError",
    "MobileBertWarning": "errors:MobileBertWarning",
}

__all__ = [
    "HEADS",
    "BackendError",
    "BackendInfo",
    "BrokenBackendError",
    "CheckpointError",
    "Config",
    "ConfigError",
    "DuplicateBackendError",
    "Feature",
    "InputError",
    "MissingDependencyError",
    "MobileBertConfig",
    "MobileBertError",
    "MobileBertTokenizer",
    "MobileBertTokenizerFast",
    "MobileBertWarning",
    "TokenizerError",
    "TrainingError",
    "UnknownBackendError",
    "__version__",
    "backends",
    "convert",
    "create",
    "diff",
    "fill_mask",
    "get_backend",
    "labelled_positions",
    "load",
    "load_tokenizer",
    "predict",
    "register_backend",
    "resize_token_embeddings",
    "save",
    "train",
]


def __getattr__(name: str) -> Any:
    """Import a public name on first use: an export, a model class, or the version."""
    if name == "__version__":
        value: Any = importlib.metadata.version("mobilebert")
    elif name in _EXPORTS:
        module, _, attribute = _EXPORTS[name].partition(":")
        package = "" if module.startswith("mobilebert_") else "mobilebert_core."
        value = getattr(importlib.import_module(f"{package}{module}"), attribute)
    elif "MobileBert" in name:
        from mobilebert_core.registry import model_class

        value = model_class(name)
    else:
        raise AttributeError(f"module 'mobilebert' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The exports and the model classes of the backends at hand."""
    from mobilebert_core.registry import model_class_names

    return sorted({*__all__, *model_class_names()})
