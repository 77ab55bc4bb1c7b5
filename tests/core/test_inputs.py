"""Input and label checks: every fault, every head, and nothing but `InputError` on any input."""

import contextlib
import re
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mobilebert_conformance.cases import small_config
from mobilebert_core.errors import InputError
from mobilebert_core.heads import HEADS
from mobilebert_core.input_checks import check, infer_problem_type
from mobilebert_core.inputs import (
    INPUT_NAMES,
    LABEL_NAMES,
    as_array,
    check_collect,
    prepare,
    split_labels,
)
from models import random_batch, random_labels

CONFIG = small_config()  # vocab 61, positions 19, token types 4, embedding 10, heads 3, labels 5
IDS = np.arange(14).reshape(2, 7)
CHOICES = np.arange(24).reshape(2, 3, 4)


@pytest.fixture(params=HEADS)
def head(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def _fault(head: str, inputs: Any, labels: Any = None, **changes: Any) -> str:
    with pytest.raises(InputError) as caught:
        prepare(small_config(**changes), head, inputs, labels or {})
    return str(caught.value)


# What is accepted ---------------------------------------------------------------------------------


def test_valid_call_is_accepted(head: str) -> None:
    batch = random_batch(CONFIG, head)
    prepared, targets = prepare(CONFIG, head, batch, random_labels(CONFIG, head, batch))
    assert prepared.input_ids is not None
    assert prepared.input_ids.tobytes() == batch["input_ids"].astype(np.int64).tobytes()
    assert set(targets) == set(HEADS[head].labels)


def test_defaults_are_filled_in_when_only_ids_are_given(head: str) -> None:
    ids = CHOICES if HEADS[head].choices else IDS
    batch, targets = prepare(CONFIG, head, {"input_ids": ids}, {})
    assert batch.attention_mask is None
    assert batch.prediction_positions is None
    assert not batch.token_type_ids.any()
    assert batch.token_type_ids.shape == batch.position_ids.shape == ids.shape
    assert (batch.position_ids == np.arange(ids.shape[-1])).all()
    assert {array.dtype for array in (batch.token_type_ids, batch.position_ids)} == {
        np.dtype(np.int64)
    }
    assert targets == {}


def test_flat_list_is_one_text() -> None:
    flat = {"input_ids": [1, 2, 3], "attention_mask": [1, 1, 0], "token_type_ids": [0, 0, 1]}
    batch, _ = prepare(CONFIG, "base", flat, {})
    assert batch.token_type_ids.shape == (1, 3)


def test_flat_list_of_token_labels_fits_a_flat_list_of_ids() -> None:
    inputs = {"input_ids": [1, 2, 3]}
    _, targets = prepare(CONFIG, "token-classification", inputs, {"labels": [0, -100, 4]})
    assert targets["labels"].size == 3


def test_position_ids_of_one_row_hold_for_all_rows() -> None:
    batch, _ = prepare(CONFIG, "base", {"input_ids": IDS, "position_ids": np.arange(7)[None]}, {})
    assert batch.position_ids.shape == (2, 7)


def test_none_means_not_given() -> None:
    inputs = dict.fromkeys(INPUT_NAMES) | {"input_ids": IDS}
    batch, targets = prepare(CONFIG, "masked-lm", inputs, dict.fromkeys(LABEL_NAMES))
    assert batch.attention_mask is None
    assert targets == {}


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int32, np.uint64, ">i4"])
def test_ids_of_any_integer_width_become_int64(kind: Any) -> None:
    batch, _ = prepare(CONFIG, "base", {"input_ids": IDS.astype(kind)}, {})
    assert batch.input_ids is not None
    assert batch.input_ids.dtype == np.int64
    assert batch.input_ids.tolist() == IDS.tolist()


@pytest.mark.parametrize("kind", [np.bool_, np.int64, np.uint8, np.float32])
def test_mask_becomes_bool(kind: Any) -> None:
    mask = (np.arange(14).reshape(2, 7) % 3 > 0).astype(kind)
    batch, _ = prepare(CONFIG, "base", {"input_ids": IDS, "attention_mask": mask}, {})
    assert batch.attention_mask is not None
    assert batch.attention_mask.dtype == np.bool_
    assert batch.attention_mask.tolist() == (mask > 0).tolist()


@pytest.mark.parametrize(
    "shape", [(2, 3, 7, 7), (1, 1, 1, 7), (2, 1, 1, 7), (1, 3, 7, 7), (2, 1, 7, 1), (1, 1, 1, 1)]
)
def test_four_dimensional_mask_is_accepted_when_it_broadcasts(shape: tuple[int, ...]) -> None:
    batch, _ = prepare(CONFIG, "base", {"input_ids": IDS, "attention_mask": np.ones(shape)}, {})
    assert batch.attention_mask is not None
    assert batch.attention_mask.shape == shape


@pytest.mark.parametrize("kind", [np.float64, np.float32, np.float16, ml_dtypes.bfloat16])
def test_embeddings_of_any_floating_dtype_replace_the_ids(kind: Any) -> None:
    embeds = np.ones((2, 7, 10), kind)
    batch, _ = prepare(CONFIG, "base", {"inputs_embeds": embeds}, {})
    assert batch.input_ids is None
    assert batch.inputs_embeds is not None
    assert batch.inputs_embeds.dtype == kind
    assert batch.token_type_ids.shape == (2, 7)


def test_longest_sequence_is_accepted() -> None:
    prepare(CONFIG, "base", {"input_ids": np.zeros((1, 19), int)}, {})


def test_largest_ids_are_accepted() -> None:
    inputs = {
        "input_ids": np.full((1, 2), 60),
        "token_type_ids": np.full((1, 2), 3),
        "position_ids": np.full((1, 2), 18),
    }
    prepare(CONFIG, "base", inputs, {})


# Faults of inputs ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({}, ["neither of input_ids and inputs_embeds"]),
        (
            {"input_ids": IDS, "inputs_embeds": np.ones((2, 7, 10))},
            ["both of input_ids and inputs_embeds"],
        ),
        ({"input_ids": np.zeros(7, int)}, ["(7,)", "(batch, sequence)"]),
        ({"input_ids": np.zeros((2, 3, 7), int)}, ["(2, 3, 7)", "(batch, sequence)"]),
        ({"input_ids": np.zeros((), int)}, ["()", "(batch, sequence)"]),
        ({"input_ids": 5}, ["()", "(batch, sequence)"]),
        ({"input_ids": np.zeros((0, 7), int)}, ["(0, 7)", "empty"]),
        ({"input_ids": np.zeros((2, 0), int)}, ["(2, 0)", "empty"]),
        ({"input_ids": [[]]}, ["(1, 0)", "empty"]),
        ({"input_ids": IDS + 50}, ["50 to 63", "0 to 60"]),
        ({"input_ids": IDS - 1}, ["-1 to 12", "0 to 60"]),
        ({"input_ids": IDS.astype(np.float32)}, ["input_ids", "float32", "integers"]),
        ({"input_ids": IDS > 3}, ["input_ids", "bool", "integers"]),
        ({"input_ids": np.zeros((2, 20), int)}, ["20 tokens", "at most 19", "truncat"]),
        ({"inputs_embeds": np.ones((2, 7, 9))}, ["(2, 7, 9)", "(batch, sequence, 10)"]),
        ({"inputs_embeds": np.ones((7, 10))}, ["(7, 10)", "(batch, sequence, 10)"]),
        ({"inputs_embeds": np.ones((2, 7, 10), int)}, ["int64", "floating point"]),
        ({"inputs_embeds": np.ones((0, 7, 10))}, ["(0, 7)", "empty"]),
        ({"inputs_embeds": np.ones((1, 20, 10))}, ["20 tokens", "at most 19"]),
        (
            {"input_ids": IDS, "attention_mask": np.ones((2, 6))},
            ["(2, 6)", "(2, 7)", "(2, 3, 7, 7)"],
        ),
        ({"input_ids": IDS, "attention_mask": np.ones((2, 4, 7, 7))}, ["(2, 4, 7, 7)"]),
        ({"input_ids": IDS, "attention_mask": np.ones((2, 7, 7))}, ["(2, 7, 7)"]),
        ({"input_ids": IDS, "attention_mask": np.ones((2, 1, 1, 0))}, ["(2, 1, 1, 0)"]),
        ({"input_ids": IDS, "attention_mask": np.ones(7)}, ["(7,)", "(2, 7)"]),
        ({"input_ids": IDS, "attention_mask": IDS}, ["attention_mask", "0 (ignore)", "1 (attend)"]),
        ({"input_ids": IDS, "attention_mask": np.full((2, 7), -10000.0)}, ["attention_mask"]),
        ({"input_ids": IDS, "attention_mask": np.full((2, 7), np.nan)}, ["attention_mask"]),
        ({"input_ids": IDS, "attention_mask": np.full((2, 7), 0.5)}, ["attention_mask"]),
        ({"input_ids": IDS, "token_type_ids": np.zeros((2, 6), int)}, ["(2, 6)", "(2, 7)"]),
        ({"input_ids": IDS, "token_type_ids": np.full((2, 7), 4)}, ["4 to 4", "0 to 3"]),
        ({"input_ids": IDS, "token_type_ids": np.zeros((2, 7))}, ["token_type_ids", "float64"]),
        ({"input_ids": IDS, "position_ids": np.full((2, 7), 19)}, ["19 to 19", "0 to 18"]),
        ({"input_ids": IDS, "position_ids": np.full((2, 7), -1)}, ["-1 to -1", "0 to 18"]),
        ({"input_ids": IDS, "position_ids": np.zeros((2, 1), int)}, ["(2, 1)", "(2, 7)"]),
        (
            {"input_ids": IDS, "prediction_positions": np.zeros((2, 1), int)},
            ["pretraining and mask"],
        ),
        ({"input_ids": [[1, 2], [3]]}, ["input_ids", "list", "rectangular"]),
        ({"input_ids": "some text"}, ["input_ids", "str"]),
        ({"input_ids": [[1, None]]}, ["input_ids"]),
        ({"input_ids": [[2**70]]}, ["input_ids"]),
        ({"input_ids": {"a": 1}}, ["input_ids is a mapping", "model(**batch)"]),
        ({"input_ids": np.array([[1, 2]], object)}, ["input_ids"]),
        ({"input_ids": np.array([[1 + 2j]])}, ["input_ids"]),
        ({"input_ids": IDS, "labels_": 3, "head_mask": None}, ["'labels_'", "'head_mask'"]),
    ],
    ids=lambda value: None if isinstance(value, list) else "-".join(value),
)
def test_fault_is_named_with_what_was_given_and_expected(inputs: Any, words: list[str]) -> None:
    message = _fault("base", inputs)
    assert all(word in message for word in words), message


def test_independent_faults_are_listed_at_once() -> None:
    inputs = {
        "input_ids": IDS,
        "attention_mask": np.ones((2, 6)),
        "token_type_ids": np.full((2, 7), 9),
        "position_ids": np.full((2, 7), 99),
        "prediction_positions": np.full((2, 2), 7),
    }
    message = _fault("masked-lm", inputs, {"labels": np.full((2, 7), 1)})
    assert "(5 faults)" in message
    assert all(name in message for name in [*list(inputs)[1:], "labels"])


def test_unreadable_inputs_are_listed_at_once() -> None:
    message = _fault("base", {"input_ids": [[1, 2], [3]], "token_type_ids": "no"})
    assert "input_ids" in message
    assert "token_type_ids" in message


def test_mask_message_does_not_promise_that_two_dimensions_broadcast() -> None:
    # (1, 7) broadcasts to (2, 3, 7, 7) in NumPy: the message must say that four axes are meant.
    message = _fault("base", {"input_ids": IDS, "attention_mask": np.ones((1, 7))})
    assert re.search(r"\b(4-D|four|4 axes)", message)


def test_choices_need_three_axes() -> None:
    message = _fault("multiple-choice", {"input_ids": IDS})
    assert "(2, 7)" in message
    assert "(batch, choices, sequence)" in message


def test_choices_mask_has_three_axes() -> None:
    inputs = {"input_ids": CHOICES, "attention_mask": np.ones((2, 4))}
    message = _fault("multiple-choice", inputs)
    assert "attention_mask has shape (2, 4), expected (2, 3, 4)" in message


def test_four_dimensional_mask_raises_when_the_trigram_needs_the_padding() -> None:
    inputs = {"input_ids": IDS, "attention_mask": np.ones((2, 1, 1, 7))}
    message = _fault("base", inputs, trigram_padding="masked")
    assert "trigram_padding='masked'" in message
    assert "(2, 7)" in message


@pytest.mark.parametrize(
    ("positions", "words"),
    [
        (np.zeros((2, 0), int), ["empty"]),
        (np.zeros((3, 1), int), ["(3, 1)", "(2, positions)"]),
        (np.zeros(2, int), ["(2,)", "(2, positions)"]),
        (np.full((2, 1), 7), ["7 to 7", "0 to 6"]),
        (np.full((2, 1), -1), ["-1 to -1", "0 to 6"]),
        (np.zeros((2, 1)), ["float64", "integers"]),
    ],
)
def test_prediction_positions_fault_is_named(positions: Any, words: list[str]) -> None:
    message = _fault("masked-lm", {"input_ids": IDS, "prediction_positions": positions})
    assert all(word in message for word in ["prediction_positions", *words]), message


@pytest.mark.parametrize("given", [None, [1, 2], "text", 3])
def test_inputs_that_are_no_mapping_raise_an_input_error(given: Any) -> None:
    with pytest.raises(InputError):
        prepare(CONFIG, "base", given, {})


# Labels -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("head", "labels", "words"),
    [
        ("base", {"labels": [1]}, ["labels", "no label"]),
        ("masked-lm", {"start_positions": [1, 2]}, ["start_positions", "['labels']"]),
        ("masked-lm", {"labels": np.zeros((2, 6), int)}, ["(2, 6)", "(2, 7)"]),
        ("masked-lm", {"labels": np.full((2, 7), 61)}, ["61 to 61", "0 to 60", "-100"]),
        ("masked-lm", {"labels": np.full((2, 7), -1)}, ["-1 to -1", "-100"]),
        ("masked-lm", {"labels": np.zeros((2, 7))}, ["float64", "integers"]),
        ("token-classification", {"labels": np.full((2, 7), 5)}, ["5 to 5", "0 to 4"]),
        ("token-classification", {"labels": [1, 2]}, ["(2,)", "(2, 7)"]),
        ("next-sentence-prediction", {"labels": [0, 2]}, ["0 to 2", "0 to 1"]),
        ("next-sentence-prediction", {"labels": [0, 1, 1]}, ["(3,)", "(2,)"]),
        ("pretraining", {"next_sentence_label": [0, 3]}, ["next_sentence_label", "0 to 1"]),
        ("question-answering", {"start_positions": [0.5, 1.0]}, ["float64", "integers"]),
        ("question-answering", {"end_positions": [[1, 2], [3, 4]]}, ["(2, 2)", "(2,)"]),
        ("sequence-classification", {"labels": [0, 5]}, ["0 to 5", "0 to 4"]),
        ("sequence-classification", {"labels": [0, -1]}, ["-1 to 0", "-100"]),
        ("sequence-classification", {"labels": [[0, 1]]}, ["(1, 2)", "(2,)"]),
        ("sequence-classification", {"labels": [0.0, 1.0]}, ["(2,)", "(2, 5)"]),
        ("sequence-classification", {"labels": "positive"}, ["labels", "str"]),
    ],
)
def test_label_fault_is_named(head: str, labels: Any, words: list[str]) -> None:
    message = _fault(head, {"input_ids": IDS}, labels)
    assert all(word in message for word in words), message


def test_choice_label_is_bounded_by_the_choices() -> None:
    message = _fault("multiple-choice", {"input_ids": CHOICES}, {"labels": [0, 3]})
    assert "expected 0 to 2" in message


@pytest.mark.parametrize("head", ["masked-lm", "pretraining"])
def test_labels_follow_the_prediction_positions(head: str) -> None:
    inputs = {"input_ids": IDS, "prediction_positions": np.array([[0, 2], [6, 6]])}
    labels: dict[str, Any] = {"labels": [[1, -100], [60, 3]]}
    if head == "pretraining":
        labels["next_sentence_label"] = [0, 1]
    _, targets = prepare(CONFIG, head, inputs, labels)
    assert targets["labels"].shape == (2, 2)
    message = _fault(head, inputs, labels | {"labels": np.zeros((2, 7), int)})
    assert "labels has shape (2, 7), expected (2, 2)" in message


@pytest.mark.parametrize("head", ["masked-lm", "token-classification"])
def test_labels_may_all_be_ignored(head: str) -> None:
    prepare(CONFIG, head, {"input_ids": IDS}, {"labels": np.full((2, 7), -100)})


def test_span_positions_may_lie_outside() -> None:
    labels = {"start_positions": [-5, 1000], "end_positions": np.array([[3], [7]])}
    prepare(CONFIG, "question-answering", {"input_ids": IDS}, labels)


@pytest.mark.parametrize(
    ("changes", "labels"),
    [
        ({"num_labels": 1}, [0.5, 2.5]),
        ({"num_labels": 1}, [[0.5], [2.5]]),
        ({"num_labels": 1}, [1, 7]),
        ({"problem_type": "regression"}, np.ones((2, 5))),
        ({}, [0, 4]),
        ({}, [[0], [4]]),
        ({}, [-100, 4]),
        ({"problem_type": "single_label_classification"}, [0, 4]),
        ({}, np.ones((2, 5))),
        ({"problem_type": "multi_label_classification"}, np.ones((2, 5), int)),
        ({"problem_type": "multi_label_classification", "num_labels": 1}, [[1], [0]]),
    ],
)
def test_classification_labels_are_accepted_when_they_fit_the_problem(
    changes: dict[str, Any], labels: Any
) -> None:
    config = small_config(**changes)
    prepare(config, "sequence-classification", {"input_ids": IDS}, {"labels": labels})


@pytest.mark.parametrize(
    ("changes", "labels", "words"),
    [
        ({"num_labels": 1}, [1.0, 2.0, 3.0], ["(3,)", "(2,)", "regression"]),
        ({"problem_type": "regression"}, [1.0, 2.0], ["(2,)", "(2, 5)", "regression"]),
        ({"problem_type": "single_label_classification"}, [0.0, 1.0], ["float64", "integers"]),
        (
            {"problem_type": "multi_label_classification"},
            [0, 1],
            ["(2,)", "(2, 5)", "multi_label_classification"],
        ),
    ],
)
def test_classification_labels_raise_when_they_do_not_fit_the_problem(
    changes: dict[str, Any], labels: Any, words: list[str]
) -> None:
    message = _fault("sequence-classification", {"input_ids": IDS}, {"labels": labels}, **changes)
    assert all(word in message for word in words), message


@pytest.mark.parametrize(
    ("changes", "integers", "expected"),
    [
        ({"num_labels": 1}, True, "regression"),
        ({"num_labels": 1}, False, "regression"),
        ({"num_labels": 2}, True, "single_label_classification"),
        ({"num_labels": 2}, False, "multi_label_classification"),
        ({"num_labels": 1, "problem_type": "multi_label_classification"}, True, "multi_label_cl"),
        ({"num_labels": 5, "problem_type": "regression"}, True, "regression"),
    ],
)
def test_problem_type_is_inferred_as_in_transformers(
    changes: dict[str, Any], integers: bool, expected: str
) -> None:
    config = small_config(**changes)
    assert infer_problem_type(config, integer_labels=integers).startswith(expected)


def test_bare_label_belongs_to_the_only_name() -> None:
    assert split_labels("masked-lm", [1, 2]) == {"labels": [1, 2]}


def test_no_labels_are_an_empty_mapping(head: str) -> None:
    assert split_labels(head, None) == {}


@pytest.mark.parametrize("head", ["base", "pretraining", "question-answering"])
def test_bare_label_raises_when_there_is_not_one_name(head: str) -> None:
    with pytest.raises(InputError, match="list") as caught:
        split_labels(head, [1, 2])
    assert all(name in str(caught.value) for name in HEADS[head].labels)


def test_label_mapping_raises_with_every_wrong_and_missing_name() -> None:
    with pytest.raises(InputError) as caught:
        split_labels("question-answering", {"labels": 1, "end": 2, "end_positions": None})
    message = str(caught.value)
    assert "(4 faults)" in message
    assert all(word in message for word in ["'labels'", "'end'", "'start_positions' is missing"])


# Helpers ------------------------------------------------------------------------------------------


def test_collect_takes_one_name_or_several() -> None:
    assert check_collect("attentions") == ("attentions",)
    assert check_collect(iter(["hidden_states", "attentions"])) == ("hidden_states", "attentions")
    assert check_collect(()) == ()


@pytest.mark.parametrize("collect", ["logits", ["hidden_states", "loss"], [None], [["attentions"]]])
def test_collect_raises_when_a_name_is_unknown(collect: Any) -> None:
    with pytest.raises(InputError, match="hidden_states"):
        check_collect(collect)


def test_array_is_no_copy_when_it_is_one_already() -> None:
    assert as_array("input_ids", IDS) is IDS


def test_check_looks_at_arrays_without_changing_them() -> None:
    before = IDS.tobytes()
    check(CONFIG, "base", {"input_ids": IDS}, {})
    assert IDS.tobytes() == before


# Anything at all ----------------------------------------------------------------------------------

LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([0, 1, 2, -100, 2**31, 2**63, 2**64, 10**400, -(2**63) - 1])
    | st.floats()
    | st.text(max_size=3)
    | st.binary(max_size=3)
    | st.complex_numbers()
)
JSON = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(max_size=2), inner, max_size=2)
    ),
    max_leaves=12,
)
SHAPES = st.sampled_from(
    [(), (0,), (3,), (1, 3), (2, 3), (2, 0), (2, 1, 3), (2, 3, 10), (2, 2, 3, 10), (2, 1, 1, 3)]
)
DTYPES = st.sampled_from(
    ["int64", "int8", "uint64", "float32", "float16", "bool", "O", "U3", "M8[s]"]
)
ARRAYS = st.builds(lambda shape, dtype: np.zeros(shape, "int64").astype(dtype), SHAPES, DTYPES)
ANYTHING = JSON | ARRAYS


@settings(max_examples=300)
@given(
    head=st.sampled_from(list(HEADS)),
    inputs=st.dictionaries(st.sampled_from(INPUT_NAMES), ANYTHING),
    labels=st.dictionaries(st.sampled_from(LABEL_NAMES), ANYTHING),
    problem_type=st.sampled_from([None, "regression", "multi_label_classification"]),
)
def test_anything_is_accepted_or_an_input_error(
    head: str, inputs: dict[str, Any], labels: dict[str, Any], problem_type: Any
) -> None:
    config = small_config(problem_type=problem_type)
    with contextlib.suppress(InputError):
        batch, _ = prepare(config, head, inputs, labels)
        assert batch.token_type_ids.size


@settings(max_examples=200)
@given(name=st.sampled_from([*INPUT_NAMES, *LABEL_NAMES]), value=ANYTHING, data=st.data())
def test_one_wrong_value_beside_good_ones_is_accepted_or_an_input_error(
    name: str, value: Any, data: st.DataObject
) -> None:
    head = data.draw(st.sampled_from(list(HEADS)))
    batch = random_batch(CONFIG, head)
    labels: dict[str, Any] = dict(random_labels(CONFIG, head, batch))
    inputs: dict[str, Any] = dict(batch)
    (inputs if name in INPUT_NAMES else labels)[name] = value
    with contextlib.suppress(InputError):
        batch_of_arrays, targets = prepare(CONFIG, head, inputs, labels)
        assert batch_of_arrays.token_type_ids.size
        assert set(targets) <= set(HEADS[head].labels)


def test_deeply_nested_list_raises_an_input_error() -> None:
    nested: Any = 1
    for _ in range(100):
        nested = [nested]
    assert "input_ids" in _fault("base", {"input_ids": nested})
