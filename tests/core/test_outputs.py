"""Outputs as mappings and tuples, in the order of transformers' outputs."""

import copy
import dataclasses
import pickle
from typing import Any

import numpy as np
import pytest

from mobilebert_core.heads import HEADS
from mobilebert_core.outputs import (
    BaseModelOutput,
    MaskedLMOutput,
    Output,
    QuestionAnsweringOutput,
    map_arrays,
)

# The class that transformers' model of the same head returns.
REFERENCE = {
    "base": "BaseModelOutputWithPooling",
    "pretraining": "MobileBertForPreTrainingOutput",
    "masked-lm": "MaskedLMOutput",
    "next-sentence-prediction": "NextSentencePredictorOutput",
    "sequence-classification": "SequenceClassifierOutput",
    "multiple-choice": "MultipleChoiceModelOutput",
    "token-classification": "TokenClassifierOutput",
    "question-answering": "QuestionAnsweringModelOutput",
}


@pytest.fixture(params=HEADS)
def head(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def _reference_class(head: str) -> Any:
    pytest.importorskip("transformers")
    from transformers import modeling_outputs
    from transformers.models.mobilebert import modeling_mobilebert

    name = REFERENCE[head]
    return getattr(modeling_outputs, name, None) or getattr(modeling_mobilebert, name)


def _values(head: str) -> dict[str, Any]:
    """A value of its own for every field of a head's output."""
    names = [each.name for each in dataclasses.fields(HEADS[head].output)]
    return {name: np.full((), number, np.float32) for number, name in enumerate(names)}


def test_fields_are_those_of_transformers(head: str) -> None:
    reference = [each.name for each in dataclasses.fields(_reference_class(head))]
    assert HEADS[head].output(**_values(head)).keys() == reference


def test_tuple_is_that_of_transformers(head: str) -> None:
    values = _values(head)
    ours, reference = HEADS[head].output(**values), _reference_class(head)(**values)
    assert [id(each) for each in ours.to_tuple()] == [id(each) for each in reference.to_tuple()]


def test_absent_fields_are_skipped_as_in_transformers(head: str) -> None:
    values = _values(head)
    for name in ("loss", "hidden_states", "pooler_output"):
        values.pop(name, None)
    ours, reference = HEADS[head].output(**values), _reference_class(head)(**values)
    assert list(ours) == list(reference.keys())
    assert len(ours) == len(reference)
    assert ours[0] is reference[0]
    assert ours[-1] is reference[-1]


def test_mapping_methods_are_those_of_transformers(head: str) -> None:
    values = _values(head)
    ours, reference = HEADS[head].output(**values), _reference_class(head)(**values)
    assert list(ours.keys()) == list(reference.keys())
    assert [id(each) for each in ours.values()] == [id(each) for each in reference.values()]
    assert [name for name, _ in ours.items()] == [name for name, _ in reference.items()]
    assert ours.get("attentions") is reference.get("attentions")
    assert ours.get("nothing", 3) == reference.get("nothing", 3)


def test_loss_comes_first_when_present() -> None:
    output = MaskedLMOutput(loss=np.float32(1), logits=np.zeros(2), attentions=(np.ones(1),))
    assert output.keys() == ["loss", "logits", "attentions"]


def test_logits_come_first_when_there_is_no_loss() -> None:
    logits = np.zeros(2)
    assert MaskedLMOutput(logits=logits)[0] is logits


def test_hidden_states_are_a_tuple_when_indexed() -> None:
    states = (np.zeros(1), np.ones(1))
    output = BaseModelOutput(last_hidden_state=states[-1], hidden_states=states)
    assert output[1] is states
    assert output["hidden_states"] is states


def test_slice_gives_a_tuple() -> None:
    start, end = np.zeros(1), np.ones(1)
    output = QuestionAnsweringOutput(loss=np.float32(2), start_logits=start, end_logits=end)
    assert output[1:] == (start, end)


def test_double_star_gives_the_present_fields() -> None:
    output = MaskedLMOutput(logits=3)
    assert dict(**output) == {"logits": 3}


def test_membership_asks_for_present_fields() -> None:
    output = MaskedLMOutput(logits=3)
    assert "logits" in output
    assert "loss" not in output
    assert "attentions" not in output


@pytest.mark.parametrize("key", ["loss", "hidden_states", "nonsense", "keys"])
def test_absent_key_raises_a_key_error_with_what_is_there(key: str) -> None:
    with pytest.raises(KeyError, match="logits"):
        MaskedLMOutput(logits=3)[key]


def test_index_beyond_the_end_raises_an_index_error() -> None:
    with pytest.raises(IndexError):
        MaskedLMOutput(logits=3)[1]


def test_attribute_of_an_absent_field_is_none() -> None:
    output: Output[Any] = MaskedLMOutput(logits=3)
    assert output.hidden_states is None
    assert output.attentions is None


def test_assignment_raises_when_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        MaskedLMOutput(logits=3).logits = 4  # type: ignore[misc]


def test_missing_logits_raise() -> None:
    with pytest.raises(TypeError):
        MaskedLMOutput(loss=3)  # type: ignore[call-arg]


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))])
def test_copy_keeps_type_and_values(duplicate: Any) -> None:
    output = MaskedLMOutput(logits=(1, 2), hidden_states=(3, 4))
    assert duplicate(output) == output


def test_map_arrays_reaches_every_array_and_keeps_the_rest(head: str) -> None:
    values = _values(head) | {"hidden_states": (np.float32(7), np.float32(8)), "attentions": None}
    output = HEADS[head].output(**values)
    mapped = map_arrays(output, lambda array: array + 100)
    assert type(mapped) is type(output)
    assert mapped.attentions is None
    assert mapped.hidden_states == (107, 108)
    flat = set(values) - {"hidden_states", "attentions"}
    assert {name: mapped[name] for name in flat} == {name: values[name] + 100 for name in flat}


def test_map_arrays_leaves_the_original_alone() -> None:
    output = MaskedLMOutput(logits=np.zeros(2))
    map_arrays(output, lambda array: array + 1)
    assert output.logits.tobytes() == np.zeros(2).tobytes()
