"""What a configuration may be: ranges, choices, and labels that agree with each other.

`MobileBertConfig` calls these when it is made; each returns or collects faults, one sentence each.
"""

from typing import Any

from mobilebert_core.errors import brief

ACTIVATIONS = ("relu", "gelu", "gelu_tanh")
NORMALIZATIONS = ("no_norm", "layer_norm")
TRIGRAM_PADDINGS = ("faithful", "masked")
PROBLEM_TYPES = ("regression", "single_label_classification", "multi_label_classification")

_SIZES = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "max_position_embeddings",
    "type_vocab_size",
    "embedding_size",
    "intra_bottleneck_size",
    "num_feedforward_networks",
)
# Files are untrusted: what the schema repeats or allocates before it reads a tensor is bounded.
_LARGEST_SIZE = 2**31 - 1
_MOST_REPETITIONS = 10_000
_MOST_LABELS = 1_000_000
_REPEATED = ("num_hidden_layers", "num_feedforward_networks")
_FLAGS = (
    "trigram_input",
    "use_bottleneck",
    "use_bottleneck_attention",
    "key_query_shared_bottleneck",
    "classifier_activation",
)


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _label_id(key: object) -> int:
    """An id that may be a string, as JSON has it."""
    if not _is_int(key) and not isinstance(key, str):
        raise TypeError
    return int(key)  # type: ignore[call-overload, no-any-return]


def _largest(name: str) -> int:
    return _MOST_REPETITIONS if name in _REPEATED else _LARGEST_SIZE


def size_faults(config: Any) -> list[str]:
    """What is wrong with the sizes of a configuration, alone and together."""
    faults = [
        f"{name} is {brief(getattr(config, name))}, expected an integer of 1 to {_largest(name)}"
        for name in _SIZES
        if not _is_int(getattr(config, name)) or not 1 <= getattr(config, name) <= _largest(name)
    ]
    if faults:
        return faults
    if config.true_hidden_size % config.num_attention_heads:
        name = "intra_bottleneck_size" if config.use_bottleneck else "hidden_size"
        faults.append(
            f"{name} is {config.true_hidden_size}, expected a multiple of num_attention_heads "
            f"({config.num_attention_heads})"
        )
    if config.embedding_size > config.hidden_size:
        faults.append(
            f"embedding_size is {config.embedding_size}, expected at most hidden_size "
            f"({config.hidden_size}): the masked-lm head has the difference as extra rows"
        )
    pad = config.pad_token_id
    if pad is not None and not (_is_int(pad) and 0 <= pad < config.vocab_size):
        last = config.vocab_size - 1
        faults.append(f"pad_token_id is {brief(pad)}, expected None or 0 to {last}")
    return faults


def choice_faults(config: Any) -> list[str]:
    """What is wrong with its names, flags and probabilities."""
    choices: list[tuple[str, tuple[str | None, ...]]] = [
        ("hidden_act", ACTIVATIONS),
        ("normalization_type", NORMALIZATIONS),
        ("trigram_padding", TRIGRAM_PADDINGS),
        ("problem_type", (None, *PROBLEM_TYPES)),
    ]
    faults = [
        f"{name} is {brief(getattr(config, name))}, expected one of {list(allowed)}"
        for name, allowed in choices
        if getattr(config, name) not in allowed
    ]
    faults += [
        f"{name} is {brief(getattr(config, name))}, expected true or false"
        for name in _FLAGS
        if not isinstance(getattr(config, name), bool)
    ]
    for name in ("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout"):
        value = getattr(config, name)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not (name == "classifier_dropout" and value is None) and not (number and 0 <= value < 1):
            faults.append(f"{name} is {brief(value)}, expected a probability in [0, 1)")
    for name in ("initializer_range", "layer_norm_eps"):
        value = getattr(config, name)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not (number and 0 < value <= 1e30):  # float32 holds what is computed from it
            faults.append(f"{name} is {brief(value)}, expected a positive finite number")
    return faults


def consistent_labels(
    num_labels: Any, id2label: Any, label2id: Any, faults: list[str]
) -> dict[str, Any]:
    """The three label fields, each derived from what is given of the others.

    Args:
        num_labels: -1 means not given.
        id2label: a mapping from id to name, or nothing.
        label2id: a mapping from name to id, or nothing.
        faults: gets a sentence for everything that is wrong or contradictory.

    Returns:
        The consistent fields by name; empty when they cannot be read at all.
    """
    if not _is_int(num_labels) or not (num_labels == -1 or 1 <= num_labels <= _MOST_LABELS):
        faults.append(f"num_labels is {brief(num_labels)}, expected 1 to {_MOST_LABELS}")
        return {}
    try:
        names = {_label_id(key): str(label) for key, label in (id2label or {}).items()}
        ids = {str(label): _label_id(key) for label, key in (label2id or {}).items()}
    except (TypeError, ValueError, AttributeError):
        faults.append(
            f"id2label is {brief(id2label)} and label2id is {brief(label2id)}, expected mappings "
            "from int to str and back"
        )
        return {}
    if len(names) != len(id2label or {}):
        faults.append(f"id2label is {brief(id2label)}, expected every id once")
    names = names or {key: label for label, key in ids.items()}
    # Placeholder names of another count carry no meaning: `replace(num_labels=...)` drops them.
    if all(label == f"LABEL_{key}" for key, label in names.items()):
        if num_labels > 0 or not names:
            names = {key: f"LABEL_{key}" for key in range(2 if num_labels == -1 else num_labels)}
        ids = {}
    return _agreeing_labels(num_labels, names, ids, faults)


def _agreeing_labels(
    num_labels: int, names: dict[int, str], ids: dict[str, int], faults: list[str]
) -> dict[str, Any]:
    """The label fields for these names, compared with what else is given."""
    if sorted(names) != list(range(len(names))) or not names:
        faults.append(
            f"labels have the ids {brief(sorted(names))} (num_labels {num_labels}), expected at "
            "least one label and ids 0, 1, 2, ... without a gap"
        )
    elif num_labels not in (-1, len(names)):
        faults.append(
            f"num_labels is {num_labels}, but id2label names {len(names)} labels; give one of the "
            "two or make them agree"
        )
    names = dict(sorted(names.items()))
    # Several ids may carry one name; the first of them is the name's id.
    derived = {name: key for key, name in reversed(names.items())}
    if ids and ids != derived:
        faults.append(
            f"label2id is {brief(ids)}, but id2label says {brief(derived)}; give one of them"
        )
    return {"num_labels": len(names), "id2label": names, "label2id": derived}
