"""The weight schema: the exact set of tensors of every model.

Names and layouts are those of the Hugging Face PyTorch checkpoints, kernels `(out, in)`; the
prefix `mobilebert.` is always there, also for the base model. A tied tensor has an entry of its
own that names its owner; canonical weights hold owners only.

E embedding  H hidden  T bottleneck width  I feed-forward  V vocabulary
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from mobilebert_core.config import MobileBertConfig
from mobilebert_core.errors import CheckpointError, raise_faults
from mobilebert_core.heads import get_head

Init = Literal["normal", "zeros", "ones", "embedding"]

PREFIX = "mobilebert."
WORD_EMBEDDINGS = "mobilebert.embeddings.word_embeddings.weight"
EXTRA_EMBEDDINGS = "cls.predictions.dense.weight"
PREDICTION_BIAS = "cls.predictions.bias"


@dataclass(frozen=True)
class TensorSpec:
    """One tensor of a model.

    Attributes:
        name: canonical name.
        shape: canonical shape.
        init: fresh values: normal with `initializer_range`, zeros, ones, or an embedding table
            (normal, with the padding token's row zero).
        tied_to: name of the tensor that this one repeats, or None.
        part: the part of the model, e.g. `embeddings`, `encoder`, `pooler`, `predictions`.
    """

    name: str
    shape: tuple[int, ...]
    init: Init
    part: str
    tied_to: str | None = None


def tensors(
    config: MobileBertConfig, head: str, *, add_pooling_layer: bool = True
) -> dict[str, TensorSpec]:
    """All tensors of a model, by canonical name, in the order of the computation.

    Args:
        config: the configuration.
        head: name of the head.
        add_pooling_layer: False leaves the pooler of the base model out.
    """
    modules = get_head(head).modules
    if not add_pooling_layer:
        modules = tuple(module for module in modules if module != "pooler")
    specs = [*_embeddings(config), *_encoder(config)]
    for module in modules:
        specs += _MODULES[module](config, head)
    return {spec.name: spec for spec in specs}


def has_pooler(config: MobileBertConfig, names: Iterable[str]) -> bool:
    """Whether a base model with tensors of these names has a pooler; one may have no tensors."""
    return not config.classifier_activation or any(
        name.startswith(f"{PREFIX}pooler.") for name in names
    )


def owned_tensors(
    config: MobileBertConfig, head: str, *, add_pooling_layer: bool = True
) -> dict[str, TensorSpec]:
    """Like `tensors`, without the tied ones: what canonical weights hold."""
    specs = tensors(config, head, add_pooling_layer=add_pooling_layer)
    return {name: spec for name, spec in specs.items() if spec.tied_to is None}


def unused_tensors(config: MobileBertConfig, head: str) -> dict[str, TensorSpec]:
    """Tensors that other programs store for this configuration and that never touch an output.

    transformers creates the key/query bottleneck, the embedding transformation and an empty extra
    vocabulary block even where its own computation leaves them out.
    """
    specs: list[TensorSpec] = []
    shared_but_unread = config.key_query_shared_bottleneck and config.use_bottleneck_attention
    if config.use_bottleneck and shared_but_unread:
        for layer in range(config.num_hidden_layers):
            name = f"{PREFIX}encoder.layer.{layer}.bottleneck.attention"
            specs += _bottleneck(config, name)
    if not config.transforms_embeddings:
        name = f"{PREFIX}embeddings.embedding_transformation"
        specs += _dense(name, config.embedding_input_size, config.hidden_size, "embeddings")
    if "predictions" in get_head(head).modules and config.embedding_size == config.hidden_size:
        specs.append(TensorSpec(EXTRA_EMBEDDINGS, (0, config.vocab_size), "normal", "predictions"))
    return {spec.name: spec for spec in specs}


def validate(
    specs: Mapping[str, TensorSpec], shapes: Mapping[str, tuple[int, ...]], source: str
) -> None:
    """Check names and shapes of canonical weights against a schema.

    Args:
        specs: what is expected; tied tensors are not looked for.
        shapes: what is there.
        source: named in the error, e.g. the checkpoint's path.

    Raises:
        CheckpointError: one error that lists all missing, unexpected and misshaped tensors.
    """
    owned = {name: spec for name, spec in specs.items() if spec.tied_to is None}
    faults = [f"missing: {name} {spec.shape}" for name, spec in owned.items() if name not in shapes]
    faults += [f"unexpected: {name} {tuple(shapes[name])}" for name in shapes if name not in owned]
    faults += [
        f"shape: {name} is {tuple(shapes[name])}, expected {spec.shape}"
        for name, spec in owned.items()
        if name in shapes and tuple(shapes[name]) != spec.shape
    ]
    raise_faults(CheckpointError, f"The tensors of {source} do not fit the model", faults)


def _dense(name: str, inputs: int, outputs: int, part: str) -> Iterator[TensorSpec]:
    yield TensorSpec(f"{name}.weight", (outputs, inputs), "normal", part)
    yield TensorSpec(f"{name}.bias", (outputs,), "zeros", part)


def _norm(name: str, width: int, part: str) -> Iterator[TensorSpec]:
    yield TensorSpec(f"{name}.weight", (width,), "ones", part)
    yield TensorSpec(f"{name}.bias", (width,), "zeros", part)


def _embeddings(config: MobileBertConfig) -> Iterator[TensorSpec]:
    name, part, hidden = f"{PREFIX}embeddings", "embeddings", config.hidden_size
    vocabulary = (config.vocab_size, config.embedding_size)
    positions = (config.max_position_embeddings, hidden)
    yield TensorSpec(WORD_EMBEDDINGS, vocabulary, "embedding", part)
    yield TensorSpec(f"{name}.position_embeddings.weight", positions, "normal", part)
    token_types = (config.type_vocab_size, hidden)
    yield TensorSpec(f"{name}.token_type_embeddings.weight", token_types, "normal", part)
    if config.transforms_embeddings:
        inputs = config.embedding_input_size
        yield from _dense(f"{name}.embedding_transformation", inputs, hidden, part)
    yield from _norm(f"{name}.LayerNorm", hidden, part)


def _encoder(config: MobileBertConfig) -> Iterator[TensorSpec]:
    for layer in range(config.num_hidden_layers):
        yield from _layer(config, f"{PREFIX}encoder.layer.{layer}")


def _bottleneck(config: MobileBertConfig, name: str) -> Iterator[TensorSpec]:
    width = config.true_hidden_size
    yield from _dense(f"{name}.dense", config.hidden_size, width, "encoder")
    yield from _norm(f"{name}.LayerNorm", width, "encoder")


def _layer(config: MobileBertConfig, name: str) -> Iterator[TensorSpec]:
    part, width = "encoder", config.true_hidden_size
    if config.use_bottleneck:
        yield from _bottleneck(config, f"{name}.bottleneck.input")
    if config.shares_key_query_bottleneck:
        yield from _bottleneck(config, f"{name}.bottleneck.attention")
    yield from _dense(f"{name}.attention.self.query", config.query_input_size, width, part)
    yield from _dense(f"{name}.attention.self.key", config.query_input_size, width, part)
    yield from _dense(f"{name}.attention.self.value", config.value_input_size, width, part)
    yield from _dense(f"{name}.attention.output.dense", width, width, part)
    yield from _norm(f"{name}.attention.output.LayerNorm", width, part)
    for network in range(config.num_feedforward_networks - 1):
        yield from _feed_forward(config, f"{name}.ffn.{network}.")
    yield from _feed_forward(config, f"{name}.")
    if config.use_bottleneck:
        yield from _dense(f"{name}.output.bottleneck.dense", width, config.hidden_size, part)
        yield from _norm(f"{name}.output.bottleneck.LayerNorm", config.hidden_size, part)


def _feed_forward(config: MobileBertConfig, prefix: str) -> Iterator[TensorSpec]:
    width, inner = config.true_hidden_size, config.intermediate_size
    yield from _dense(f"{prefix}intermediate.dense", width, inner, "encoder")
    yield from _dense(f"{prefix}output.dense", inner, width, "encoder")
    yield from _norm(f"{prefix}output.LayerNorm", width, "encoder")


def _pooler(config: MobileBertConfig, head: str) -> Iterator[TensorSpec]:
    del head
    if config.classifier_activation:
        hidden = config.hidden_size
        yield from _dense(f"{PREFIX}pooler.dense", hidden, hidden, "pooler")


def _predictions(config: MobileBertConfig, head: str) -> Iterator[TensorSpec]:
    del head
    name, part = "cls.predictions", "predictions"
    hidden, extra = config.hidden_size, config.hidden_size - config.embedding_size
    vocabulary = config.vocab_size
    yield TensorSpec(PREDICTION_BIAS, (vocabulary,), "zeros", part)
    yield from _dense(f"{name}.transform.dense", hidden, hidden, part)
    yield from _norm(f"{name}.transform.LayerNorm", hidden, part)
    if extra:
        yield TensorSpec(EXTRA_EMBEDDINGS, (extra, vocabulary), "normal", part)
    shape = (vocabulary, config.embedding_size)
    yield TensorSpec(f"{name}.decoder.weight", shape, "normal", part, tied_to=WORD_EMBEDDINGS)
    yield TensorSpec(f"{name}.decoder.bias", (vocabulary,), "zeros", part, tied_to=PREDICTION_BIAS)


def _seq_relationship(config: MobileBertConfig, head: str) -> Iterator[TensorSpec]:
    del head
    yield from _dense("cls.seq_relationship", config.hidden_size, 2, "seq_relationship")


def _classifier(config: MobileBertConfig, head: str) -> Iterator[TensorSpec]:
    outputs = 1 if get_head(head).choices else config.num_labels
    yield from _dense("classifier", config.hidden_size, outputs, "classifier")


def _qa_outputs(config: MobileBertConfig, head: str) -> Iterator[TensorSpec]:
    del head
    yield from _dense("qa_outputs", config.hidden_size, 2, "qa_outputs")


_MODULES = {
    "pooler": _pooler,
    "predictions": _predictions,
    "seq_relationship": _seq_relationship,
    "classifier": _classifier,
    "qa_outputs": _qa_outputs,
}
