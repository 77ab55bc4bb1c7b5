"""The configuration: values, dialects, labels, faults, and files that nobody should trust."""

import contextlib
import copy
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mobilebert_core.config import MobileBertConfig
from mobilebert_core.errors import ConfigError

GOOGLE_OPT = {
    "vocab_size": 97,
    "type_vocab_size": 2,
    "max_position_embeddings": 24,
    "initializer_range": 0.02,
    "attention_probs_dropout_prob": 0.1,
    "hidden_act": "relu",
    "hidden_dropout_prob": 0.0,
    "hidden_size": 40,
    "embedding_size": 12,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 36,
    "intra_bottleneck_size": 16,
    "trigram_input": True,
    "use_bottleneck": True,
    "key_query_shared_bottleneck": True,
    "num_feedforward_networks": 4,
    "normalization_type": "no_norm",
    "classifier_activation": False,
}
GOOGLE_TEACHER = {
    "vocab_size": 97,
    "type_vocab_size": 2,
    "max_position_embeddings": 24,
    "initializer_range": 0.02,
    "attention_probs_dropout_prob": 0.1,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "hidden_size": 32,
    "embedding_size": 12,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 56,
    "intra_bottleneck_size": 48,
    "trigram_input": True,
    "use_bottleneck": True,
}
GOOGLE_BERT_BASE = {
    "attention_probs_dropout_prob": 0.1,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "hidden_size": 768,
    "initializer_range": 0.02,
    "intermediate_size": 3072,
    "max_position_embeddings": 512,
    "num_attention_heads": 12,
    "num_hidden_layers": 12,
    "type_vocab_size": 2,
    "vocab_size": 30522,
}
# One value of every field that differs from the default, and that is valid beside the others.
UNUSUAL: dict[str, Any] = {
    "vocab_size": 101,
    "hidden_size": 40,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 28,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.25,
    "attention_probs_dropout_prob": 0.0,
    "max_position_embeddings": 33,
    "type_vocab_size": 5,
    "initializer_range": 0.5,
    "layer_norm_eps": 1e-5,
    "pad_token_id": 7,
    "embedding_size": 12,
    "trigram_input": False,
    "use_bottleneck": False,
    "intra_bottleneck_size": 14,
    "use_bottleneck_attention": True,
    "key_query_shared_bottleneck": False,
    "num_feedforward_networks": 2,
    "normalization_type": "layer_norm",
    "classifier_activation": False,
    "classifier_dropout": 0.125,
    "problem_type": "multi_label_classification",
    "id2label": {0: "joy", 1: "anger", 2: "fear"},
}
SHARED_FIELDS = [name for name in UNUSUAL if name != "id2label"]
JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["relu", "gelu", "no_norm", "masked"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=5,
)


@pytest.fixture(scope="module")
def transformers_config() -> Any:
    return pytest.importorskip("transformers").MobileBertConfig


@st.composite
def valid_configs(draw: st.DrawFn, *, for_google: bool = False) -> MobileBertConfig:
    heads = draw(st.integers(1, 4))
    hidden = heads * draw(st.integers(1, 9))
    vocabulary = draw(st.integers(1, 1000))
    probability = st.floats(0, 1, exclude_max=True)
    values: dict[str, Any] = {
        "vocab_size": vocabulary,
        "hidden_size": hidden,
        "num_hidden_layers": draw(st.integers(1, 30)),
        "num_attention_heads": heads,
        "intermediate_size": draw(st.integers(1, 100)),
        "max_position_embeddings": draw(st.integers(1, 600)),
        "type_vocab_size": draw(st.integers(1, 20)),
        "embedding_size": draw(st.integers(1, hidden)),
        "intra_bottleneck_size": heads * draw(st.integers(1, 9)),
        "num_feedforward_networks": draw(st.integers(1, 5)),
        "hidden_dropout_prob": draw(probability),
        "attention_probs_dropout_prob": draw(probability),
        "initializer_range": draw(st.floats(1e-6, 10)),
        "normalization_type": draw(st.sampled_from(["no_norm", "layer_norm"])),
        "hidden_act": draw(st.sampled_from(["relu", "gelu_tanh"])),
    }
    for flag in (
        "trigram_input",
        "use_bottleneck",
        "use_bottleneck_attention",
        "key_query_shared_bottleneck",
        "classifier_activation",
    ):
        values[flag] = draw(st.booleans())
    if not for_google:
        values |= {
            "hidden_act": draw(st.sampled_from(["relu", "gelu", "gelu_tanh"])),
            "layer_norm_eps": draw(st.floats(1e-12, 1e-2)),
            "pad_token_id": draw(st.none() | st.integers(0, vocabulary - 1)),
            "trigram_padding": draw(st.sampled_from(["faithful", "masked"])),
            "classifier_dropout": draw(st.none() | probability),
            "problem_type": draw(
                st.sampled_from([None, "regression", "multi_label_classification"])
            ),
            "id2label": dict(enumerate(draw(st.lists(st.text(max_size=8), min_size=1)))),
        }
    return MobileBertConfig(**values)


# Values and derived sizes -------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*SHARED_FIELDS, "num_labels", "id2label", "label2id"])
def test_default_equals_that_of_transformers(name: str, transformers_config: Any) -> None:
    assert getattr(MobileBertConfig(), name) == getattr(transformers_config(), name)


def test_every_field_of_transformers_is_a_field(transformers_config: Any) -> None:
    base = pytest.importorskip("transformers").PreTrainedConfig
    own = set(transformers_config().to_dict()) - set(base().to_dict())
    missing = own - set(MobileBertConfig().to_dict()) - {"model_type", "tie_word_embeddings"}
    assert missing <= {"true_hidden_size"}  # derived


@pytest.mark.parametrize(
    ("preset", "expected"),
    [
        ("opt", {"classifier_activation": False, "hidden_dropout_prob": 0.0, "hidden_act": "relu"}),
        (
            "tiny",
            {
                "classifier_activation": False,
                "use_bottleneck_attention": True,
                "key_query_shared_bottleneck": False,
                "num_feedforward_networks": 2,
            },
        ),
        (
            "teacher",
            {
                "hidden_act": "gelu_tanh",
                "hidden_dropout_prob": 0.1,
                "hidden_size": 512,
                "intermediate_size": 4096,
                "intra_bottleneck_size": 1024,
                "num_attention_heads": 4,
                "normalization_type": "layer_norm",
                "num_feedforward_networks": 1,
                "key_query_shared_bottleneck": False,
                "use_bottleneck_attention": False,
                "classifier_activation": True,
                "trigram_input": True,
                "use_bottleneck": True,
            },
        ),
    ],
)
def test_preset_has_the_values_of_the_paper(preset: str, expected: dict[str, Any]) -> None:
    assert MobileBertConfig.preset(preset) == MobileBertConfig(**expected)


def test_preset_takes_changes_when_given() -> None:
    config = MobileBertConfig.preset("tiny", num_hidden_layers=3)
    assert (config.num_hidden_layers, config.num_feedforward_networks) == (3, 2)


def test_preset_error_lists_the_presets_when_unknown() -> None:
    with pytest.raises(ConfigError, match=r"'large'.*default.*opt.*teacher.*tiny"):
        MobileBertConfig.preset("large")


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({}, (128, 128, 512)),
        ({"key_query_shared_bottleneck": False}, (128, 512, 512)),
        ({"use_bottleneck_attention": True}, (128, 128, 128)),
        ({"use_bottleneck_attention": True, "key_query_shared_bottleneck": False}, (128, 128, 128)),
        ({"use_bottleneck": False}, (512, 512, 512)),
        ({"use_bottleneck": False, "use_bottleneck_attention": True}, (512, 512, 512)),
    ],
)
def test_projection_widths_follow_the_sharing(
    flags: dict[str, bool], expected: tuple[int, int, int]
) -> None:
    config = MobileBertConfig(**flags)
    sizes = (config.true_hidden_size, config.query_input_size, config.value_input_size)
    assert sizes == expected


def test_classifier_dropout_falls_back_to_hidden_dropout_when_none() -> None:
    assert MobileBertConfig(hidden_dropout_prob=0.3).classifier_dropout_prob == 0.3


def test_classifier_dropout_wins_when_zero() -> None:
    config = MobileBertConfig(hidden_dropout_prob=0.3, classifier_dropout=0.0)
    assert config.classifier_dropout_prob == 0.0


# An object that behaves ---------------------------------------------------------------------------


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda c: c.replace()])
def test_copy_is_equal_and_hashes_alike(duplicate: Any) -> None:
    config = MobileBertConfig(**UNUSUAL)
    assert duplicate(config) == config
    assert hash(duplicate(config)) == hash(config)


def test_pickle_round_trip_is_equal() -> None:
    config = MobileBertConfig(**UNUSUAL)
    restored = pickle.loads(pickle.dumps(config))
    assert restored == config
    assert hash(restored) == hash(config)


def test_configs_with_other_label_names_differ() -> None:
    assert MobileBertConfig(id2label={0: "a", 1: "b"}) != MobileBertConfig(
        id2label={0: "a", 1: "c"}
    )


def test_assignment_raises_when_frozen() -> None:
    with pytest.raises(AttributeError):
        MobileBertConfig().hidden_size = 3  # type: ignore[misc]


def test_callers_mapping_stays_apart_when_changed_later() -> None:
    names = {0: "a", 1: "b"}
    config = MobileBertConfig(id2label=names)
    names[1] = "changed"
    assert config.id2label == {0: "a", 1: "b"}


def test_replace_rejects_unknown_fields() -> None:
    with pytest.raises(ConfigError, match=r"'hidden_sizes', 'layers'.*vocab_size"):
        MobileBertConfig().replace(layers=2, hidden_sizes=3)


def test_replace_checks_the_result() -> None:
    with pytest.raises(ConfigError, match="num_attention_heads"):
        MobileBertConfig().replace(num_attention_heads=5)


# Faults -------------------------------------------------------------------------------------------


def test_all_faults_are_listed_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        MobileBertConfig(
            vocab_size=0,
            hidden_act="swish",
            normalization_type="batch",
            trigram_padding="both",
            problem_type="ranking",
            trigram_input=1,  # type: ignore[arg-type]
            hidden_dropout_prob=1.0,
            attention_probs_dropout_prob=-0.1,
            classifier_dropout=2.0,
            initializer_range=0.0,
            layer_norm_eps=-1.0,
            id2label={0: "a", 2: "b"},
        )
    message = str(caught.value)
    for name in (
        "vocab_size is 0",
        "hidden_act is 'swish'",
        "normalization_type is 'batch'",
        "trigram_padding is 'both'",
        "problem_type is 'ranking'",
        "trigram_input is 1",
        "hidden_dropout_prob is 1.0",
        "attention_probs_dropout_prob is -0.1",
        "classifier_dropout is 2.0",
        "initializer_range is 0.0",
        "layer_norm_eps is -1.0",
        "[0, 2]",
    ):
        assert name in message
    assert "(12 faults)" in message


@pytest.mark.parametrize(
    "changes",
    [
        {"embedding_size": 513},
        {"pad_token_id": 30522},
        {"pad_token_id": -1},
        {"pad_token_id": True},
        {"intra_bottleneck_size": 130},
        {"use_bottleneck": False, "hidden_size": 510},
        {"num_hidden_layers": 0},
        {"num_hidden_layers": True},
        {"num_hidden_layers": 2.0},
        {"num_hidden_layers": "2"},
        {"num_hidden_layers": None},
        {"hidden_act": None},
        {"hidden_act": ["relu"]},
        {"use_bottleneck": "false"},
        {"use_bottleneck": None},
        {"hidden_dropout_prob": float("nan")},
        {"hidden_dropout_prob": True},
        {"hidden_dropout_prob": "0.1"},
        {"attention_probs_dropout_prob": None},
        {"layer_norm_eps": float("nan")},
        {"layer_norm_eps": float("inf")},
        {"initializer_range": float("inf")},
        {"initializer_range": 10**4000},
        {"initializer_range": True},
        {"initializer_range": None},
        {"num_labels": 0},
        {"num_labels": -2},
        {"num_labels": "3"},
        {"num_labels": 2.5},
        {"num_labels": 3.0},
        {"num_labels": None},
        {"num_labels": True},
        {"num_labels": [2]},
        {"num_labels": 3, "id2label": {0: "a", 1: "b"}},
        {"id2label": {1: "a", 2: "b"}},
        {"id2label": {"first": "a"}},
        {"id2label": {float("inf"): "a"}},
        {"id2label": {None: "a"}},
        {"id2label": ["a", "b"]},
        {"id2label": "ab"},
        {"hidden_size": -(10**5000)},
        {"vocab_size": 10**50},
        {"num_hidden_layers": 10**12},
    ],
    ids="-".join,
)
def test_invalid_value_raises_a_config_error(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        MobileBertConfig(**changes)


def test_error_stays_short_when_a_value_is_huge() -> None:
    with pytest.raises(ConfigError) as caught:
        MobileBertConfig.from_dict({"model_type": "mobilebert", "vocab_size": "x" * 1_000_000})
    assert len(str(caught.value)) < 2000


@given(
    name=st.sampled_from([*SHARED_FIELDS, "trigram_padding", "id2label", "num_labels", "label2id"]),
    value=JSON_VALUES,
)
def test_json_value_gives_a_config_or_a_config_error(name: str, value: Any) -> None:
    values = {"model_type": "mobilebert", name: value}
    try:
        config = MobileBertConfig.from_dict(values)
    except ConfigError:
        return
    assert MobileBertConfig.from_dict(config.to_dict()) == config


@given(
    st.dictionaries(st.sampled_from([*SHARED_FIELDS, "num_labels", "id2label"]), JSON_VALUES),
    st.sampled_from(["transformers", "google", None]),
)
def test_json_object_gives_a_config_or_a_config_error(values: dict[str, Any], dialect: Any) -> None:
    with contextlib.suppress(ConfigError):
        MobileBertConfig.from_dict(values, dialect)


# Labels -------------------------------------------------------------------------------------------


def test_num_labels_makes_placeholder_names() -> None:
    config = MobileBertConfig(num_labels=3)
    assert config.id2label == {0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2"}
    assert config.label2id == {"LABEL_0": 0, "LABEL_1": 1, "LABEL_2": 2}


def test_id2label_sets_the_count_and_the_inverse() -> None:
    config = MobileBertConfig(id2label={"1": "no", "0": "yes"})  # type: ignore[dict-item]
    assert (config.num_labels, config.id2label) == (2, {0: "yes", 1: "no"})
    assert config.label2id == {"yes": 0, "no": 1}


def test_label_names_go_when_the_count_changes() -> None:
    config = MobileBertConfig(id2label={0: "a", 1: "b"}).replace(num_labels=3)
    assert config.id2label == {0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2"}


def test_label_names_stay_when_replaced_by_the_same_count() -> None:
    config = MobileBertConfig(id2label={0: "negative", 1: "positive"}).replace(num_labels=2)
    assert config.id2label == {0: "negative", 1: "positive"}


def test_label_names_stay_when_something_else_changes() -> None:
    config = MobileBertConfig(id2label={0: "a", 1: "b", 2: "c"}).replace(num_hidden_layers=1)
    assert config.id2label == {0: "a", 1: "b", 2: "c"}


def test_replacing_id2label_changes_the_count() -> None:
    config = MobileBertConfig(num_labels=5).replace(id2label={0: "a", 1: "b"})
    assert (config.num_labels, config.label2id) == (2, {"a": 0, "b": 1})


def test_label2id_is_not_lost_when_given_alone() -> None:
    # A caller's names must either be taken or be refused; dropping them is the silent third.
    try:
        config = MobileBertConfig(label2id={"neg": 0, "neutral": 1, "pos": 2})
    except ConfigError:
        return
    assert config.id2label == {0: "neg", 1: "neutral", 2: "pos"}


def test_label2id_raises_when_it_contradicts_id2label() -> None:
    with pytest.raises(ConfigError, match="label2id"):
        MobileBertConfig(id2label={0: "a", 1: "b"}, label2id={"a": 1, "b": 0})


def test_replacing_label2id_keeps_the_count() -> None:
    try:
        config = MobileBertConfig(num_labels=3).replace(label2id={"x": 0, "y": 1, "z": 2})
    except ConfigError:
        return
    assert config.id2label == {0: "x", 1: "y", 2: "z"}


def test_first_id_wins_when_two_labels_share_a_name() -> None:
    config = MobileBertConfig(id2label={0: "other", 1: "a", 2: "other"})
    assert config.label2id == {"other": 0, "a": 1}
    assert config.num_labels == 3


def test_id2label_wins_when_a_transformers_file_has_both() -> None:
    values = {
        "model_type": "mobilebert",
        "num_labels": 2,
        "id2label": {"0": "a", "1": "b", "2": "c"},
    }
    assert MobileBertConfig.from_dict(values).num_labels == 3


def test_num_labels_counts_when_id2label_is_null() -> None:
    values = {"model_type": "mobilebert", "num_labels": 5, "id2label": None}
    assert MobileBertConfig.from_dict(values).num_labels == 5


# Dialects -----------------------------------------------------------------------------------------


@given(valid_configs())
def test_transformers_dialect_round_trips(config: MobileBertConfig) -> None:
    text = json.dumps(config.to_dict())
    assert MobileBertConfig.from_dict(json.loads(text)) == config


@given(valid_configs(for_google=True))
def test_google_dialect_round_trips(config: MobileBertConfig) -> None:
    text = json.dumps(config.to_dict("google"))
    assert MobileBertConfig.from_dict(json.loads(text), "google") == config


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"hidden_act": "gelu"}, "hidden_act"),
        ({"layer_norm_eps": 1e-5}, "layer_norm_eps"),
        ({"trigram_padding": "masked"}, "trigram_padding"),
    ],
)
def test_google_dialect_refuses_what_it_cannot_say(changes: dict[str, Any], word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        MobileBertConfig(**changes).to_dict("google")


@pytest.mark.parametrize(
    "changes", [{"pad_token_id": 3}, {"id2label": {0: "a", 1: "b", 2: "c"}}, {"num_labels": 5}]
)
def test_google_dialect_keeps_or_refuses_what_google_has_no_name_for(
    changes: dict[str, Any],
) -> None:
    config = MobileBertConfig(**changes)
    try:
        values = config.to_dict("google")
    except ConfigError:
        return
    assert MobileBertConfig.from_dict(values, "google") == config


def test_gelu_is_the_exact_form_in_transformers_dialect() -> None:
    values = {"model_type": "mobilebert", "hidden_act": "gelu"}
    assert MobileBertConfig.from_dict(values).hidden_act == "gelu"


@pytest.mark.parametrize("name", ["gelu_new", "gelu_pytorch_tanh"])
def test_tanh_form_has_other_names_in_transformers_dialect(name: str) -> None:
    values = {"model_type": "mobilebert", "hidden_act": name}
    assert MobileBertConfig.from_dict(values).hidden_act == "gelu_tanh"


def test_gelu_is_the_tanh_form_in_google_dialect() -> None:
    values = {"vocab_size": 5, "hidden_act": "gelu"}
    assert MobileBertConfig.from_dict(values, "google").hidden_act == "gelu_tanh"


def test_missing_keys_mean_bert_in_google_dialect() -> None:
    config = MobileBertConfig.from_dict({"vocab_size": 30}, "google")
    assert config == MobileBertConfig(
        vocab_size=30,
        hidden_size=768,
        num_hidden_layers=12,
        num_attention_heads=12,
        intermediate_size=3072,
        hidden_act="gelu_tanh",
        hidden_dropout_prob=0.1,
        attention_probs_dropout_prob=0.1,
        max_position_embeddings=512,
        type_vocab_size=16,
        embedding_size=768,
        intra_bottleneck_size=768,
        trigram_input=False,
        use_bottleneck=False,
        use_bottleneck_attention=False,
        key_query_shared_bottleneck=False,
        num_feedforward_networks=1,
        normalization_type="layer_norm",
    )


def test_missing_keys_mean_mobilebert_in_transformers_dialect() -> None:
    assert MobileBertConfig.from_dict({"model_type": "mobilebert"}) == MobileBertConfig()


def test_google_teacher_file_means_nothing_shared(tmp_path: Path) -> None:
    path = tmp_path / "bert_config.json"
    path.write_text(json.dumps(GOOGLE_TEACHER))
    config = MobileBertConfig.from_json_file(path)
    assert (config.normalization_type, config.num_feedforward_networks) == ("layer_norm", 1)
    assert (config.hidden_act, config.query_input_size) == ("gelu_tanh", 32)


def test_google_bert_base_file_is_read_when_the_dialect_is_google(tmp_path: Path) -> None:
    path = tmp_path / "bert_config.json"
    path.write_text(json.dumps(GOOGLE_BERT_BASE))
    config = MobileBertConfig.from_json_file(path)
    assert (config.true_hidden_size, config.transforms_embeddings) == (768, False)


@pytest.mark.parametrize("folder", ["opt", "teacher"])
def test_published_google_file_is_read(folder: str, shared_data: Path) -> None:
    path = shared_data / "google_tf1" / folder / "bert_config.json"
    config = MobileBertConfig.from_json_file(path)
    expected = {"opt": GOOGLE_OPT, "teacher": GOOGLE_TEACHER}[folder]
    assert config == MobileBertConfig.from_dict(expected, "google")
    assert config.intermediate_size == expected["intermediate_size"]


def test_complete_file_needs_no_model_type_when_both_dialects_agree() -> None:
    config = MobileBertConfig.from_dict(GOOGLE_OPT | {"use_bottleneck_attention": False})
    assert config.hidden_size == 40


@pytest.mark.parametrize("values", [GOOGLE_TEACHER, {"vocab_size": 30, "hidden_size": 384}])
def test_ambiguous_file_raises_with_the_ways_out(values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"model_type.*bert_config\.json.*dialect='google'"):
        MobileBertConfig.from_dict(values)


def test_gelu_is_ambiguous_when_everything_else_agrees() -> None:
    values = GOOGLE_OPT | {"use_bottleneck_attention": False, "hidden_act": "gelu"}
    with pytest.raises(ConfigError, match="dialect"):
        MobileBertConfig.from_dict(values)


def test_error_of_the_failed_reading_is_told_when_only_one_dialect_fits() -> None:
    # It does not "mean different models": Google's files always give vocab_size, this one does not.
    with pytest.raises(ConfigError, match="vocab_size"):
        MobileBertConfig.from_dict({"hidden_act": "relu"})


@pytest.mark.parametrize("dialect", [None, "transformers", "google"])
def test_other_models_file_raises(dialect: Any) -> None:
    values = GOOGLE_BERT_BASE | {"model_type": "bert", "architectures": ["BertForMaskedLM"]}
    with pytest.raises(ConfigError, match="'bert'"):
        MobileBertConfig.from_dict(values, dialect)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("is_decoder", True),
        ("add_cross_attention", True),
        ("is_encoder_decoder", True),
        ("pruned_heads", {"0": [1]}),
        ("position_embedding_type", "relative_key"),
    ],
)
def test_setting_that_changes_the_function_raises(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=name):
        MobileBertConfig.from_dict({"model_type": "mobilebert", name: value})


def test_unknown_dialect_raises() -> None:
    with pytest.raises(ConfigError, match="'tensorflow'"):
        MobileBertConfig.from_dict({"vocab_size": 3}, "tensorflow")  # type: ignore[arg-type]


def test_object_that_is_no_mapping_raises_a_config_error() -> None:
    with pytest.raises(ConfigError):
        MobileBertConfig.from_dict(["vocab_size"])  # type: ignore[arg-type]


# Files --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"3",
        b'"text"',
        b"\xff\xfe{}",
        b"\xef\xbb\xbf{}",
        b'{"model_type": "mobilebert", "hidden_size": NaN}',
        b'{"model_type": "mobilebert", "hidden_size": 1e999}',
        b'{"model_type": "mobilebert", "hidden_dropout_prob": NaN}',
        b'{"model_type": "mobilebert", "layer_norm_eps": Infinity}',
        b'{"model_type": "mobilebert", "hidden_size": ' + b"9" * 5000 + b"}",
        b'{"model_type": ["mobilebert"]}',
        b'{"model_type": "mobilebert", "id2label": {"0": "a", "00": "b", "1": "c"}}',
        b"[" * 100_000,
    ],
    ids=lambda content: content[:40].decode("latin-1"),
)
def test_damaged_file_raises_and_names_itself(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        MobileBertConfig.from_json_file(path)
    assert "config.json" in str(caught.value)


def _nested(depth: int, path: Path) -> str:
    path.write_text('{"model_type": "mobilebert", "vocab_size": ' + "[" * depth + "]" * depth + "}")
    try:
        MobileBertConfig.from_json_file(path)
    except ConfigError:
        return "ConfigError"
    except RecursionError:
        return "RecursionError"
    return "accepted"


def test_nested_file_raises_a_config_error_when_the_depth_is_near_the_recursion_limit(
    tmp_path: Path,
) -> None:
    results = {_nested(depth, tmp_path / "config.json") for depth in range(700, 1000)}
    assert results == {"ConfigError"}


def test_missing_file_raises_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"config\.json cannot be read"):
        MobileBertConfig.from_json_file(tmp_path / "config.json")


def test_folder_raises_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        MobileBertConfig.from_json_file(tmp_path)


def test_bert_config_json_is_transformers_dialect_when_it_says_so(tmp_path: Path) -> None:
    path = tmp_path / "bert_config.json"
    path.write_text('{"model_type": "mobilebert"}')
    assert MobileBertConfig.from_json_file(path) == MobileBertConfig()


# The independent truth ----------------------------------------------------------------------------


def test_file_of_transformers_reads_equal(tmp_path: Path, transformers_config: Any) -> None:
    written = transformers_config(**UNUSUAL)
    written.save_pretrained(tmp_path)
    assert MobileBertConfig.from_json_file(tmp_path / "config.json") == MobileBertConfig(**UNUSUAL)


@pytest.mark.parametrize("name", [*SHARED_FIELDS, "num_labels", "id2label", "label2id"])
def test_our_file_reads_equal_in_transformers(
    name: str, tmp_path: Path, transformers_config: Any
) -> None:
    config = MobileBertConfig(**UNUSUAL)
    (tmp_path / "config.json").write_text(json.dumps(config.to_dict()))
    read = transformers_config.from_pretrained(tmp_path)
    assert getattr(read, name) == getattr(config, name)


def test_file_survives_a_visit_to_transformers(tmp_path: Path, transformers_config: Any) -> None:
    config = MobileBertConfig(
        **(UNUSUAL | {"trigram_padding": "masked", "hidden_act": "gelu_tanh"})
    )
    (tmp_path / "config.json").write_text(json.dumps(config.to_dict()))
    transformers_config.from_pretrained(tmp_path).save_pretrained(tmp_path / "copy")
    assert MobileBertConfig.from_json_file(tmp_path / "copy" / "config.json") == config


@settings(max_examples=30)
@given(config=valid_configs())
def test_transformers_accepts_our_values(
    config: MobileBertConfig, transformers_config: Any
) -> None:
    read = transformers_config.from_dict(json.loads(json.dumps(config.to_dict())))
    assert {name: getattr(read, name) for name in SHARED_FIELDS if name != "hidden_act"} == {
        name: getattr(config, name) for name in SHARED_FIELDS if name != "hidden_act"
    }


@pytest.mark.parametrize("name", ["initializer_range", "layer_norm_eps"])
def test_transformers_accepts_our_file_when_a_number_was_given_as_an_integer(
    name: str, transformers_config: Any
) -> None:
    values = json.loads(json.dumps(MobileBertConfig(**{name: 1}).to_dict()))
    assert getattr(transformers_config.from_dict(values), name) == 1.0


def test_default_num_labels_survives_transformers_omission(
    tmp_path: Path, transformers_config: Any
) -> None:
    transformers_config().save_pretrained(tmp_path)  # writes no id2label at all
    assert MobileBertConfig.from_json_file(tmp_path / "config.json") == MobileBertConfig()
