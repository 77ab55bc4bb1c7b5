"""The configuration of a MobileBERT: one frozen dataclass.

Rules: a config that exists is valid (construction lists all faults at once), it never changes
(`replace` makes another one), and both dialects of its JSON file become the same object. A
*transformers* file names its `model_type` and omits MobileBERT's defaults; a *Google* file omits
BERT's defaults, which differ (`dialects.py`). Read next: `heads.py`, then `schema.py`.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from mobilebert_core.config_checks import choice_faults, consistent_labels, size_faults
from mobilebert_core.dialects import (
    DIALECTS,
    Dialect,
    fields_of,
    json_values_of,
    read_json_object,
)
from mobilebert_core.errors import ConfigError, brief, raise_faults

_PRESETS: dict[str, dict[str, Any]] = {
    "default": {},
    "opt": {"classifier_activation": False},
    "tiny": {
        "classifier_activation": False,
        "use_bottleneck_attention": True,
        "key_query_shared_bottleneck": False,
        "num_feedforward_networks": 2,
    },
    "teacher": {
        "hidden_act": "gelu_tanh",
        "hidden_dropout_prob": 0.1,
        "intermediate_size": 4096,
        "intra_bottleneck_size": 1024,
        "normalization_type": "layer_norm",
        "num_feedforward_networks": 1,
        "key_query_shared_bottleneck": False,
    },
    "nano": {
        "attention_probs_dropout_prob": 0.0,
        "classifier_activation": False,
        "embedding_size": 96,
        "hidden_size": 192,
        "initializer_range": 0.06,  # with less, layers so narrow hardly change what they read
        "intermediate_size": 256,
        "intra_bottleneck_size": 96,
        "max_position_embeddings": 256,
        "num_feedforward_networks": 2,
        "num_hidden_layers": 6,
        "vocab_size": 8000,
    },
}


@dataclass(frozen=True, kw_only=True)
class MobileBertConfig:
    """Sizes and switches of a MobileBERT (Sun et al., 2020, table 1).

    The defaults are those of transformers' `MobileBertConfig`. Beyond them:

    Attributes:
        hidden_act: `relu`, `gelu` (the exact, erf form) or `gelu_tanh` (Google's approximation).
        trigram_padding: `faithful` lets the embedding of a padding token reach the last real token
            through the trigram, as every published checkpoint was trained; `masked` zeroes padded
            neighbours, so that padded and unpadded texts give the same output.
        classifier_dropout: dropout before a classifier; None means `hidden_dropout_prob`.
        num_labels: number of classes; derived from `id2label` when that is given.
        problem_type: the loss of sequence classification; None infers it per call.

    Raises:
        ConfigError: lists every invalid value at once.

    Example:
        >>> config = MobileBertConfig(num_hidden_layers=2, num_labels=3)
        >>> config.true_hidden_size, config.id2label[2]
        (128, 'LABEL_2')
    """

    vocab_size: int = 30522
    hidden_size: int = 512
    num_hidden_layers: int = 24
    num_attention_heads: int = 4
    intermediate_size: int = 512
    hidden_act: str = "relu"
    hidden_dropout_prob: float = 0.0
    attention_probs_dropout_prob: float = 0.1
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12
    pad_token_id: int | None = 0
    embedding_size: int = 128
    trigram_input: bool = True
    trigram_padding: str = "faithful"
    use_bottleneck: bool = True
    intra_bottleneck_size: int = 128
    use_bottleneck_attention: bool = False
    key_query_shared_bottleneck: bool = True
    num_feedforward_networks: int = 4
    normalization_type: str = "no_norm"
    classifier_activation: bool = True
    classifier_dropout: float | None = None
    problem_type: str | None = None
    num_labels: int = -1
    id2label: dict[int, str] = field(default_factory=dict, hash=False)
    label2id: dict[str, int] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        """Normalise the label fields, then check everything."""
        faults: list[str] = []
        labels = consistent_labels(self.num_labels, self.id2label, self.label2id, faults)
        for name, value in labels.items():
            object.__setattr__(self, name, value)
        faults += size_faults(self) + choice_faults(self)
        raise_faults(ConfigError, "The MobileBERT configuration is invalid", faults)
        for name in ("initializer_range", "layer_norm_eps"):  # transformers accepts no int there
            object.__setattr__(self, name, float(getattr(self, name)))

    @property
    def true_hidden_size(self) -> int:
        """T, the width inside a layer: the bottleneck's, or H without bottleneck."""
        return self.intra_bottleneck_size if self.use_bottleneck else self.hidden_size

    @property
    def attention_head_size(self) -> int:
        """D = T / A, the width of one attention head."""
        return self.true_hidden_size // self.num_attention_heads

    @property
    def shares_key_query_bottleneck(self) -> bool:
        """Whether a second bottleneck feeds query and key (model.md, decision 10)."""
        return (
            self.use_bottleneck
            and self.key_query_shared_bottleneck
            and not self.use_bottleneck_attention
        )

    @property
    def query_input_size(self) -> int:
        """Width of what query and key project: H for a bottleneck that nothing shares, else T."""
        if self.use_bottleneck_attention or self.shares_key_query_bottleneck:
            return self.true_hidden_size
        return self.hidden_size

    @property
    def value_input_size(self) -> int:
        """Width of what the value projects: T with bottleneck attention, else H."""
        return self.true_hidden_size if self.use_bottleneck_attention else self.hidden_size

    @property
    def transforms_embeddings(self) -> bool:
        """Whether a dense layer maps the (trigram of) word embeddings to H."""
        return self.trigram_input or self.embedding_size != self.hidden_size

    @property
    def embedding_input_size(self) -> int:
        """Width of what `embedding_transformation` reads: 3E with trigram, else E."""
        return self.embedding_size * (3 if self.trigram_input else 1)

    @property
    def classifier_dropout_prob(self) -> float:
        """Dropout before a classifier (model.md, decision 7)."""
        if self.classifier_dropout is None:
            return self.hidden_dropout_prob
        return self.classifier_dropout

    def replace(self, **changes: Any) -> Self:
        """A copy with some values changed, checked like any other.

        Raises:
            ConfigError: a name is no field of the configuration, or a value is invalid.
        """
        _reject_unknown(changes)
        labels = {"num_labels", "id2label", "label2id"}
        if changes.get("num_labels") == self.num_labels and len(labels & changes.keys()) == 1:
            del changes["num_labels"]  # the same count: the names stay
        elif labels & changes.keys():
            changes = {"num_labels": -1, "id2label": {}, "label2id": {}} | changes
        return dataclasses.replace(self, **changes)

    @classmethod
    def preset(cls, name: str, **changes: Any) -> Self:
        """A named configuration of the paper, with optional changes.

        Args:
            name: `default` (transformers' defaults), `opt` (the released MobileBERT), `tiny`
                (MobileBERT-TINY) or `teacher` (IB-BERT-LARGE): the three differ from `default` as
                Google's published configuration files do. `nano` is the packaged model's.
            **changes: fields to set on top.

        Raises:
            ConfigError: the name is not one of these.
        """
        if name not in _PRESETS:
            raise ConfigError(f"No preset is called {name!r}; expected one of {sorted(_PRESETS)}")
        _reject_unknown(changes)
        return cls(**(_PRESETS[name] | changes))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], dialect: Dialect | None = None) -> Self:
        """Read the values of a JSON file.

        Args:
            values: the JSON object. Keys that do not concern the model are ignored.
            dialect: `transformers`, `google`, or None to detect it: a `model_type` means
                transformers; without one, both readings must give the same configuration.

        Raises:
            ConfigError: another model's file, an ambiguous file, or invalid values.
        """
        if not isinstance(values, Mapping):
            raise ConfigError(f"The configuration is a {type(values).__name__}, expected an object")
        model_type = values.get("model_type")
        if model_type not in (None, "mobilebert"):
            raise ConfigError(
                f"The configuration is of model_type {brief(model_type)}, expected 'mobilebert'; "
                "this library runs MobileBERT only"
            )
        if dialect not in (None, "transformers", "google"):
            raise ConfigError(f"The dialect is {dialect!r}, expected 'transformers' or 'google'")
        if dialect is None and model_type is None:
            return cls._from_either_dialect(values)
        return cls(**fields_of(values, field_names(), dialect or "transformers"))

    @classmethod
    def _from_either_dialect(cls, values: Mapping[str, Any]) -> Self:
        readings: list[Self] = []
        errors: list[str] = []
        for dialect in DIALECTS:
            try:
                readings.append(cls(**fields_of(values, field_names(), dialect)))
            except ConfigError as error:
                errors.append(f"read as {dialect}: {error}")
        if not readings:
            raise_faults(ConfigError, "The configuration is invalid in both dialects", errors)
        if len(readings) == 2 and readings[0] == readings[1]:
            return readings[0]
        if errors:
            raise ConfigError(
                "The configuration names no model_type and is valid in one dialect only; if that "
                f"is meant, pass dialect= ({errors[0]})"
            )
        raise ConfigError(
            "The configuration names no model_type and means different models in the "
            'transformers and in the Google dialect; add "model_type": "mobilebert", name the '
            "file bert_config.json if Google's code wrote it, or pass dialect='transformers' or "
            "dialect='google'"
        )

    @classmethod
    def from_json_file(cls, path: str | Path, dialect: Dialect | None = None) -> Self:
        """Read `config.json` or `bert_config.json`; the latter is Google's dialect.

        Raises:
            ConfigError: the file is absent, no JSON object, or not a MobileBERT's.
        """
        path = Path(path)
        values = read_json_object(path)
        if dialect is None and path.name == "bert_config.json" and "model_type" not in values:
            dialect = "google"
        try:
            return cls.from_dict(values, dialect)
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from error

    def to_dict(self, dialect: Dialect = "transformers") -> dict[str, Any]:
        """The JSON object of this configuration in either dialect.

        Raises:
            ConfigError: Google's dialect cannot express this configuration.
        """
        return json_values_of(dataclasses.asdict(self), dialect)


def field_names() -> tuple[str, ...]:
    """The names of all configuration fields."""
    return tuple(each.name for each in dataclasses.fields(MobileBertConfig))


def _reject_unknown(changes: Mapping[str, Any]) -> None:
    unknown = sorted(changes.keys() - set(field_names()))
    if unknown:
        raise ConfigError(
            f"No configuration field is called {', '.join(map(repr, unknown))}; "
            f"expected some of {', '.join(field_names())}"
        )
