"""The head table: names, lookups, and agreement with transformers' classes."""

from typing import Any

import pytest

from mobilebert_core.errors import ConfigError
from mobilebert_core.heads import HEADS, get_head, head_of_architectures
from mobilebert_core.inputs import LABEL_NAMES
from mobilebert_core.schema import _MODULES


@pytest.fixture(params=HEADS)
def head(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def test_heads_are_the_eight_of_the_specification() -> None:
    assert list(HEADS) == [
        "base",
        "pretraining",
        "masked-lm",
        "next-sentence-prediction",
        "sequence-classification",
        "multiple-choice",
        "token-classification",
        "question-answering",
    ]


def test_class_is_one_of_transformers(head: str) -> None:
    transformers = pytest.importorskip("transformers")
    assert hasattr(transformers, HEADS[head].class_name)


def test_module_has_tensors(head: str) -> None:
    assert set(HEADS[head].modules) <= set(_MODULES)


def test_label_is_a_known_name(head: str) -> None:
    assert set(HEADS[head].labels) <= set(LABEL_NAMES)


def test_output_has_a_loss_when_the_head_has_labels(head: str) -> None:
    fields = HEADS[head].output.__dataclass_fields__
    assert ("loss" in fields) == bool(HEADS[head].labels)


def test_prediction_positions_need_a_vocabulary_head(head: str) -> None:
    assert HEADS[head].positions == ("predictions" in HEADS[head].modules)


@pytest.mark.parametrize("prefix", ["", "TF", "Flax", "Numpy"])
def test_architecture_names_the_head_whatever_the_prefix(head: str, prefix: str) -> None:
    assert head_of_architectures([prefix + HEADS[head].class_name]) is HEADS[head]


@pytest.mark.parametrize(
    "architectures",
    [[], ["BertForMaskedLM"], ["MobileBertForNothing"], ["MobileBert"], [""], ["mobilebertmodel"]],
)
def test_architecture_names_no_head_when_foreign(architectures: list[str]) -> None:
    assert head_of_architectures(architectures) is None


def test_first_known_architecture_wins_when_there_are_several() -> None:
    found = head_of_architectures(["Unknown", "MobileBertForMaskedLM", "MobileBertModel"])
    assert found is HEADS["masked-lm"]


def test_unknown_head_error_lists_all_heads() -> None:
    with pytest.raises(ConfigError) as caught:
        get_head("maskedlm")
    assert all(name in str(caught.value) for name in HEADS)


@pytest.mark.parametrize("name", [None, 3, "", "Base", ["base"], {"base"}])
def test_name_that_is_no_head_raises_a_config_error(name: Any) -> None:
    with pytest.raises(ConfigError):
        get_head(name)
