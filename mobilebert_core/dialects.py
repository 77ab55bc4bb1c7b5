"""The two dialects of a configuration file, and its JSON.

transformers' `config.json` names its `model_type` and omits MobileBERT's defaults. Google's
`bert_config.json` omits BERT's defaults, which differ, and calls the tanh form of gelu `gelu`.
The functions translate between such JSON values and the fields of `MobileBertConfig`.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from mobilebert_core.errors import ConfigError, brief, raise_faults

Dialect = Literal["transformers", "google"]
DIALECTS: tuple[Dialect, ...] = ("transformers", "google")

# Activation names on disk -> ours. Google's code calls the tanh form "gelu".
_ACTIVATION_NAMES: dict[Dialect, dict[str, str]] = {
    "transformers": {
        "relu": "relu",
        "gelu": "gelu",
        "gelu_pytorch_tanh": "gelu_tanh",
        "gelu_new": "gelu_tanh",
        "gelu_tanh": "gelu_tanh",
    },
    "google": {"relu": "relu", "gelu": "gelu_tanh"},
}
# What Google's BertConfig assumes for a missing key; the two sizes of None mean hidden_size.
_GOOGLE_DEFAULTS: dict[str, Any] = {
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "max_position_embeddings": 512,
    "type_vocab_size": 16,
    "initializer_range": 0.02,
    "embedding_size": None,
    "trigram_input": False,
    "use_bottleneck": False,
    "intra_bottleneck_size": None,
    "use_bottleneck_attention": False,
    "key_query_shared_bottleneck": False,
    "num_feedforward_networks": 1,
    "normalization_type": "layer_norm",
    "classifier_activation": True,
}
# Settings of transformers that would change the function; only these values are MobileBERT.
_REQUIRED_SETTINGS: dict[str, tuple[Any, ...]] = {
    "is_decoder": (False, None),
    "add_cross_attention": (False, None),
    "pruned_heads": ({}, None),
    "position_embedding_type": ("absolute", None),
    "is_encoder_decoder": (False, None),
}

# What a file says of itself, and is written anew.
_ABOUT_THE_FILE = ("architectures", "dtype", "model_type", "torch_dtype", "transformers_version")

_OPTIONAL_FIELDS = ("pad_token_id", "classifier_dropout", "problem_type")  # may be None


def fields_of(
    values: Mapping[str, Any], names: tuple[str, ...], dialect: Dialect
) -> dict[str, Any]:
    """The configuration fields that JSON values give, defaults of the dialect filled in.

    Args:
        values: the JSON object; keys that do not concern the model are ignored.
        names: names of all configuration fields.
        dialect: how to read it.

    Raises:
        ConfigError: the values are another model's.
    """
    known = {name: values[name] for name in names if name in values}
    known = _from_google(known) if dialect == "google" else _from_transformers(values, known)
    activation = known.get("hidden_act", "relu")
    if isinstance(activation, str):  # an unknown name stays, and fails the configuration's check
        known["hidden_act"] = _ACTIVATION_NAMES[dialect].get(activation, activation)
    return known


def _from_transformers(values: Mapping[str, Any], known: dict[str, Any]) -> dict[str, Any]:
    faults = [
        f"{key} is {brief(values[key])}, expected {allowed[0]!r}: no MobileBERT has it"
        for key, allowed in _REQUIRED_SETTINGS.items()
        if key in values and values[key] not in allowed
    ]
    raise_faults(ConfigError, "The configuration is of another model", faults)
    if known.get("id2label") is not None:  # it wins in transformers as well, which writes all
        known = {
            name: each for name, each in known.items() if name not in ("num_labels", "label2id")
        }
    return {
        name: value
        for name, value in known.items()
        if value is not None or name in _OPTIONAL_FIELDS
    }


def _from_google(known: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(known.get("vocab_size"), int):
        raise ConfigError(
            f"vocab_size is {brief(known.get('vocab_size'))}, expected an integer: "
            "Google's bert_config.json always gives it"
        )
    known = _GOOGLE_DEFAULTS | known
    for size in ("embedding_size", "intra_bottleneck_size"):
        if known[size] is None:
            known[size] = known["hidden_size"]
    return known


def json_values_of(fields: dict[str, Any], dialect: Dialect) -> dict[str, Any]:
    """The JSON object that gives these configuration fields.

    Raises:
        ConfigError: Google's dialect cannot express them.
    """
    if dialect == "google":
        return _to_google(fields)
    values = fields | {"model_type": "mobilebert"}
    values["id2label"] = {str(key): label for key, label in fields["id2label"].items()}
    del values["num_labels"]  # id2label says it; transformers reads and writes it so
    if fields["trigram_padding"] == "faithful":
        del values["trigram_padding"]
    if fields["hidden_act"] == "gelu_tanh":
        values["hidden_act"] = "gelu_pytorch_tanh"
    return values


def _to_google(fields: dict[str, Any]) -> dict[str, Any]:
    faults = []
    if fields["hidden_act"] == "gelu":
        faults.append("hidden_act is 'gelu' (erf form); Google's code has 'relu' and the tanh form")
    if fields["layer_norm_eps"] != 1e-12:
        faults.append(f"layer_norm_eps is {fields['layer_norm_eps']}; Google's code has 1e-12")
    if fields["trigram_padding"] != "faithful":
        faults.append("trigram_padding is 'masked'; Google's code has no such choice")
    raise_faults(ConfigError, "Google's dialect cannot express the configuration", faults)
    activation = "gelu" if fields["hidden_act"] == "gelu_tanh" else fields["hidden_act"]
    names = ("vocab_size", *_GOOGLE_DEFAULTS)
    values = {name: fields[name] for name in names} | {"hidden_act": activation}
    # Google's code has no name for these and keeps unknown keys; we read them again.
    placeholders = {0: "LABEL_0", 1: "LABEL_1"}
    omitted: dict[str, Any] = {"pad_token_id": 0, "classifier_dropout": None, "problem_type": None}
    omitted["id2label"] = placeholders
    return values | {name: fields[name] for name in omitted if fields[name] != omitted[name]}


def unknown_keys(values: Mapping[str, Any], names: tuple[str, ...]) -> tuple[str, ...]:
    """The keys of a configuration file that concern neither the model nor the file itself.

    Args:
        values: the file's JSON object.
        names: names of all configuration fields.
    """
    known = {*names, *_REQUIRED_SETTINGS, *_ABOUT_THE_FILE}
    return tuple(key for key in values if key not in known)


def read_json_object(path: Path) -> dict[str, Any]:
    """The object in a small JSON file.

    Raises:
        ConfigError: the file cannot be read or holds no JSON object.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is no valid JSON: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path} holds a {type(values).__name__}, expected a JSON object")
    return values
