"""Loads, makes and saves models: checkpoint, schema and backend joined in one place.

    source -> hub.resolve -> checkpoints.open_checkpoint -> fit_weights -> Backend.build -> model

`mobilebert.load`, `create`, `save` and every `from_pretrained` are these functions.
"""

import inspect
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mobilebert_core import hub, packaged, registry, schema
from mobilebert_core.backend import DTYPES, Backend, Feature, Model
from mobilebert_core.checkpoints import Checkpoint, open_checkpoint, save_checkpoint
from mobilebert_core.config import MobileBertConfig, field_names
from mobilebert_core.dialects import Dialect
from mobilebert_core.errors import CheckpointError, ConfigError
from mobilebert_core.fitting import fit_weights
from mobilebert_core.heads import HEADS, get_head
from mobilebert_core.initialization import initial_weights
from mobilebert_core.precision import choose_dtype, choose_optimization
from mobilebert_core.resizing import resize_token_embeddings as resize_weights

_logger = logging.getLogger("mobilebert")


def load(
    source: str | Path | None = None,
    head: str | None = None,
    backend: str | None = None,
    *,
    dtype: str | None = None,
    precision: str | None = None,
    optimize: bool | str = False,
    device: str | None = None,
    seed: int = 0,
    ignore_mismatched_sizes: bool = False,
    config: MobileBertConfig | None = None,
    dialect: Dialect | None = None,
    format: str | None = None,
    revision: str | None = None,
    **config_changes: Any,
) -> Any:
    """A native model with the weights of a checkpoint, in evaluation mode.

    Args:
        source: a folder, a weights file, the name of a packaged model or a hub id; None takes the
            packaged `mobilebert-nano`.
        head: one of `mobilebert.HEADS`; None takes the checkpoint's own.
        backend: `numpy`, `torch` or any other of `mobilebert.backends()`; None takes the first
            installed of torch, tf, jax, numpy.
        dtype: `float64`, `float32` or `bfloat16`; None keeps the checkpoint's where the backend
            computes in it, and takes float32 otherwise.
        precision: `reproducible` computes everything in float64 and rounds every output to float32
            once, at the end: the same bits in every backend, but for rounding ties. None computes
            in the dtype.
        optimize: True folds the normalisations of the encoder into its weights: the same outputs,
            sooner, from a model for inference only, which cannot be saved or trained. Where the
            configuration is not linear (see `mobilebert_core.folding`), a warning says so and the
            plain model is taken. `int8`, in PyTorch, also rounds the encoder's products to 8 bits.
        device: a device of the framework, e.g. `cuda`; None is the framework's default.
        seed: of fresh head weights, when the checkpoint was made for another head.
        ignore_mismatched_sizes: allow fresh weights for a head whose number of labels differs.
        config: taken in place of the checkpoint's own, for a model of the same tensors.
        dialect: forces how config.json is read, `transformers` or `google`.
        format: forces one of several checkpoint formats in the folder.
        revision: branch, tag or commit of a hub id.
        **config_changes: configuration fields to change, e.g. `num_labels=3`.

    Returns:
        A `torch.nn.Module`, or whatever is native to the backend. Called, it returns the head's
        output dataclass.

    Raises:
        CheckpointError: the source is absent, damaged or does not fit.
        ConfigError: an invalid configuration, head, dtype or precision.
        BackendError: the backend cannot be used; the class says why.
    """
    check_options(load, config_changes)
    chosen = registry.get(backend)
    checkpoint = open_source(source, dialect=dialect, format=format, revision=revision)
    head = choose_head(checkpoint, head)
    config = check_config(config or checkpoint.config).replace(**config_changes)
    name = choose_dtype(chosen, dtype, precision, default=_own_dtype(checkpoint, chosen))
    weights = fit_weights(
        checkpoint, config, head, seed=seed, ignore_mismatched_sizes=ignore_mismatched_sizes
    )
    if weights.dropped:
        parts = dict.fromkeys(".".join(each.split(".")[:-1][:2]) for each in weights.dropped)
        told = source or packaged.DEFAULT
        _logger.warning("%s: the %s model leaves out its %s", told, head, ", ".join(parts))
    return _build(chosen, config, head, weights, name, device, precision, optimize)


def create(
    config: MobileBertConfig | None = None,
    head: str = "base",
    backend: str | None = None,
    *,
    seed: int = 0,
    dtype: str | None = None,
    precision: str | None = None,
    optimize: bool | str = False,
    device: str | None = None,
) -> Any:
    """A native model with fresh weights: the same numbers in every backend.

    Args:
        config: None takes the default configuration, 24 layers.
        head: one of `mobilebert.HEADS`.
        backend: see `load`.
        seed: any integer; every value is a function of seed, tensor name and index.
        dtype: see `load`; values are made in float32 and then converted. None is float32.
        precision: see `load`.
        optimize: see `load`.
        device: see `load`.

    Raises:
        ConfigError: an invalid head, dtype, precision or seed.
        BackendError: the backend cannot be used.
    """
    chosen = registry.get(backend)
    config = check_config(config or MobileBertConfig())
    name = choose_dtype(chosen, dtype, precision)
    weights = initial_weights(config, get_head(head).name, seed)
    return _build(chosen, config, head, weights, name, device, precision, optimize)


def save(
    model: Any,
    folder: str | Path,
    *,
    tokenizer: Any = None,
    format: str = "safetensors",
    max_shard_size: int | None = None,
    overwrite: bool = False,
) -> Path:
    """Write configuration, weights and, when given, the tokenizer's files.

    The folder appears whole or not at all; an interrupted save leaves what was there before. An
    earlier checkpoint in it is replaced, other files stay.

    Weights are written in the dtype of the model: those of a reproducible one in float64, twice as
    large. Its precision is no part of a checkpoint; give it again when loading.

    Args:
        model: a model of any backend.
        folder: where to; made when absent.
        tokenizer: a tokenizer of this library or of transformers, saved beside the model.
        format: any that `mobilebert.convert` writes.
        max_shard_size: bytes a weights file may hold before the next one starts.
        overwrite: also delete a checkpoint of another format in the folder, e.g. pytorch_model.bin.

    Raises:
        CheckpointError: the folder cannot be written, or holds a checkpoint of another format.
        ConfigError: the object is no model of this library, the tokenizer none at all, or the
            format cannot express the configuration.
    """
    if tokenizer is not None and not hasattr(tokenizer, "save_pretrained"):
        raise ConfigError(
            f"tokenizer is a {type(tokenizer).__name__}, expected what load_tokenizer returns"
        )
    config, head = _own_model(model).config, _own_model(model).head
    return save_checkpoint(
        folder,
        config,
        registry.get(model.backend_name).weights(model),
        head,
        format=format,
        max_shard_size=max_shard_size,
        extra_files=None if tokenizer is None else tokenizer.save_pretrained,
        overwrite=overwrite,
    )


def resize_token_embeddings(model: Any, vocab_size: int, *, seed: int = 0) -> Any:
    """A new model of the same kind for a vocabulary of another size.

    Kept tokens keep their values; new rows depend on seed and token id alone.

    Raises:
        ConfigError: the size is invalid, or the object is no model of this library.
    """
    own = _own_model(model)
    backend = registry.get(own.backend_name)
    config, weights = resize_weights(own.config, backend.weights(model), vocab_size, seed=seed)
    dtype = str(weights[schema.WORD_EMBEDDINGS].dtype)
    device = None if getattr(model, "device", None) is None else str(model.device)
    precision = getattr(model, "precision", None)
    return _build(backend, config, own.head, weights, dtype, device, precision)


def check_options(function: Callable[..., Any], config_changes: Mapping[str, Any]) -> None:
    """Refuse what is neither an option of a function nor a field of the configuration.

    Raises:
        ConfigError: lists the options.
    """
    unknown = sorted(config_changes.keys() - set(field_names()))
    if not unknown:
        return
    options = [
        each.name
        for each in inspect.signature(function).parameters.values()
        if each.default is not each.empty
    ]
    hint = " (torch_dtype is called dtype here)" if "torch_dtype" in unknown else ""
    raise ConfigError(
        f"{', '.join(map(repr, unknown))} is no option of {function.__name__} and no configuration "
        f"field{hint}; options are {', '.join(options)}; fields are those of mobilebert.Config"
    )


def check_config(config: Any) -> MobileBertConfig:
    """The configuration itself.

    Raises:
        ConfigError: it is something else, e.g. a dictionary.
    """
    if not isinstance(config, MobileBertConfig):
        raise ConfigError(
            f"config is a {type(config).__name__}, expected a mobilebert.Config; make one with "
            "mobilebert.Config(...), Config.preset(...) or Config.from_dict(...)"
        )
    return config


def _build(
    backend: Backend,
    config: MobileBertConfig,
    head: str,
    weights: Mapping[str, Any],
    dtype: str,
    device: str | None,
    precision: str | None,
    optimize: bool | str = False,
) -> Model:
    """`Backend.build`, which knows of a precision or `optimize` only where the backend does."""
    known: dict[str, Any] = {} if precision is None else {"precision": precision}
    optimize = choose_optimization(backend, config, optimize)
    if optimize:
        known["optimize"] = optimize
    return backend.build(config, head, weights, dtype=dtype, device=device, **known)


def _own_model(model: Any) -> Model:
    if not isinstance(model, Model):
        wrapper = "; a wrapper's own model is usually its .module" * hasattr(model, "module")
        raise ConfigError(
            f"A {type(model).__name__} is no model of this library; expected what "
            f"mobilebert.load or mobilebert.create returns{wrapper}"
        )
    return model


def open_source(
    source: str | Path | None,
    *,
    dialect: Dialect | None = None,
    format: str | None = None,
    revision: str | None = None,
) -> Checkpoint:
    """The checkpoint that users name by a folder, a file, a packaged name or a hub id; see `load`.

    Raises:
        CheckpointError: it is absent, ambiguous or damaged, or the hub does not deliver it.
        ConfigError: its configuration is invalid or ambiguous.
    """
    given = packaged.default() if source is None else source
    path = hub.resolve_checkpoint(given, revision=revision, format=format)
    return open_checkpoint(path, dialect=dialect, format=format)


def choose_head(checkpoint: Checkpoint, head: str | None) -> str:
    """The head that was asked for, or else the checkpoint's.

    Raises:
        CheckpointError: nobody says which head it is.
        ConfigError: no head has this name.
    """
    return get_head(head).name if head else checkpoint.head or infer_head(checkpoint)


def infer_head(checkpoint: Checkpoint) -> str:
    """The head whose tensors are exactly those of a checkpoint that does not name one."""
    names = set(checkpoint.weights)
    fitting = [
        head
        for head in HEADS
        if names == set(schema.owned_tensors(checkpoint.config, head))
        or (head == "base" and names == _base_without_pooler(checkpoint.config))
    ]
    if len(fitting) == 1:
        return fitting[0]
    found = f"its tensors fit {', '.join(fitting)}" if fitting else "its tensors fit no head alone"
    raise CheckpointError(
        f"{checkpoint.path} does not say which head it has, and {found}; pass head=, one of "
        f"{', '.join(HEADS)}"
    )


def _base_without_pooler(config: MobileBertConfig) -> set[str]:
    return set(schema.owned_tensors(config, "base", add_pooling_layer=False))


def _own_dtype(checkpoint: Checkpoint, backend: Backend) -> str:
    """The dtype of the weights, where the backend computes in it; float32 otherwise."""
    found = {str(checkpoint.weights.dtype(name)) for name in checkpoint.weights}
    if len(found) == 1:
        (dtype,) = found
        if dtype in DTYPES and Feature(dtype) in backend.features:
            return dtype
    return "float32"
