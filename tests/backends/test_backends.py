"""What every backend owes besides right numbers, which the conformance suite proves.

Its weights back, its promises about inputs, its errors and its classes.
"""

import inspect
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from metrics import absolute_error, channel_error, output_errors, token_error
from mobilebert_conformance.cases import small_config
from mobilebert_conformance.weights import random_weights
from mobilebert_core import registry
from mobilebert_core.backend import Feature, Model
from mobilebert_core.errors import CheckpointError, ConfigError, InputError
from mobilebert_core.heads import HEADS
from mobilebert_core.inputs import INPUT_NAMES, LABEL_NAMES
from mobilebert_core.schema import owned_tensors
from models import random_batch, random_labels

LIMIT = 1e-11
COLLECT = ("hidden_states", "attentions")


def build(backend: Any, head: str = "base", dtype: str = "float64", **changes: Any) -> Any:
    """A small model with random weights."""
    config = small_config(**changes)
    weights = random_weights(config, head)
    return backend.build(config, head, weights, dtype=dtype, device=None)


@pytest.mark.parametrize("head", HEADS)
def test_weights_come_back_bit_for_bit(head: str, backend: Any) -> None:
    config = small_config()
    weights = random_weights(config, head)

    returned = backend.weights(backend.build(config, head, weights, dtype="float64", device=None))

    assert list(returned) == list(owned_tensors(config, head))
    assert all(returned[name].tobytes() == weights[name].tobytes() for name in weights)


def test_model_owns_its_weights_when_the_given_arrays_change(backend: Any) -> None:
    config = small_config()
    weights = random_weights(config, "base")
    model = backend.build(config, "base", weights, dtype="float64", device=None)
    expected = {name: array.tobytes() for name, array in weights.items()}
    for array in weights.values():
        array += 1

    returned = backend.weights(model)

    assert all(returned[name].tobytes() == expected[name] for name in weights)


def test_model_satisfies_the_protocol(backend: Any) -> None:
    model = build(backend, "masked-lm")

    assert isinstance(model, Model)
    assert (model.head, model.backend_name) == ("masked-lm", backend.name)


@pytest.mark.parametrize("head", HEADS)
def test_call_gives_the_heads_output_class(head: str, backend: Any) -> None:
    model = build(backend, head)

    output = model(**random_batch(model.config, head))

    assert type(output) is HEADS[head].output


def test_call_gives_a_tuple_when_no_dict_is_asked_for(backend: Any) -> None:
    model = build(backend)
    batch = random_batch(model.config, "base")

    first, second = model(**batch, return_dict=False)

    assert tuple(first.shape) == (3, 11, 24)
    assert tuple(second.shape) == (3, 24)


def test_call_accepts_a_flat_list_as_one_text(backend: Any) -> None:
    model = build(backend)

    assert tuple(model([5, 6, 7]).last_hidden_state.shape) == (1, 3, 24)


def test_pretraining_has_no_loss_when_one_label_is_missing(backend: Any) -> None:
    model = build(backend, "pretraining")
    batch = random_batch(model.config, "pretraining")

    assert model(**batch, labels=batch["input_ids"]).loss is None


@pytest.mark.parametrize("head", HEADS)
def test_signature_names_the_arguments_of_the_head(head: str, backend: Any) -> None:
    model = build(backend, head)

    parameters = inspect.signature(getattr(model, "forward", model)).parameters

    inputs = [
        name for name in INPUT_NAMES if name != "prediction_positions" or HEADS[head].positions
    ]
    assert list(parameters)[: len(inputs)] == inputs
    assert [name for name in LABEL_NAMES if name in parameters] == [
        name for name in LABEL_NAMES if name in HEADS[head].labels
    ]


@pytest.mark.parametrize("dtype", [np.int32, np.uint8, np.int64])
def test_output_is_the_same_for_every_integer_type(dtype: Any, backend: Any) -> None:
    model = build(backend)
    batch = random_batch(model.config, "base")
    reference = backend.run(model, batch).last_hidden_state

    output = backend.run(model, {name: each.astype(dtype) for name, each in batch.items()})

    assert output.last_hidden_state.tobytes() == reference.tobytes()


def test_output_is_the_same_for_a_boolean_mask(backend: Any) -> None:
    model = build(backend)
    batch = random_batch(model.config, "base")
    reference = backend.run(model, batch).last_hidden_state

    output = backend.run(model, batch | {"attention_mask": batch["attention_mask"].astype(bool)})

    assert output.last_hidden_state.tobytes() == reference.tobytes()


def test_four_dimensional_mask_means_the_same_as_its_rows(backend: Any) -> None:
    model = build(backend)
    batch = random_batch(model.config, "base")
    reference = backend.run(model, batch).last_hidden_state

    wide = batch["attention_mask"][:, None, None, :]
    output = backend.run(model, batch | {"attention_mask": wide})

    assert channel_error(output.last_hidden_state, reference) <= LIMIT


def test_fully_masked_row_attends_uniformly(backend: Any) -> None:
    model = build(backend)
    batch = random_batch(model.config, "base")

    output = backend.run(model, batch, collect=("attentions",))

    uniform = np.full((2, 3, 11, 11), 1 / 11)
    rows = np.stack([layer[2] for layer in output.attentions])
    assert absolute_error(rows, uniform) <= 1e-15


def test_masked_tokens_have_no_influence_when_the_trigram_is_masked(backend: Any) -> None:
    model = build(backend, trigram_padding="masked")
    ids = np.arange(1, 12)[None]
    mask = np.ones_like(ids)
    mask[0, 7:] = 0

    padded = backend.run(model, {"input_ids": ids, "attention_mask": mask}).last_hidden_state
    alone = backend.run(model, {"input_ids": ids[:, :7]}).last_hidden_state

    assert channel_error(padded[:, :7], alone) <= LIMIT


def test_padding_reaches_only_its_neighbour_when_the_trigram_is_faithful(backend: Any) -> None:
    model = build(backend, num_hidden_layers=1)
    ids = np.arange(1, 12)[None]
    mask = np.ones_like(ids)
    mask[0, 7:] = 0

    padded = backend.run(model, {"input_ids": ids, "attention_mask": mask}, collect=COLLECT)
    alone = backend.run(model, {"input_ids": ids[:, :7]}, collect=COLLECT)

    assert channel_error(padded.hidden_states[0][:, :6], alone.hidden_states[0][:, :6]) <= LIMIT
    assert channel_error(padded.hidden_states[0][:, 6], alone.hidden_states[0][:, 6]) > 1e-3


@pytest.mark.needs(Feature.PREDICTION_POSITIONS)
@pytest.mark.parametrize("head", ["masked-lm", "pretraining"])
def test_logits_at_positions_are_those_of_the_whole_text(head: str, backend: Any) -> None:
    model = build(backend, head)
    batch = random_batch(model.config, head)
    positions = np.array([[0, 3], [10, 10], [5, 1]])
    name = "logits" if head == "masked-lm" else "prediction_logits"
    whole = backend.run(model, batch)[name]

    chosen = backend.run(model, batch | {"prediction_positions": positions})[name]

    assert token_error(chosen, whole[np.arange(3)[:, None], positions]) <= LIMIT


@pytest.mark.needs(Feature.PREDICTION_POSITIONS)
def test_loss_at_positions_is_that_of_their_labels(backend: Any) -> None:
    model = build(backend, "masked-lm")
    batch = random_batch(model.config, "masked-lm")
    positions = np.array([[0, 3], [10, 2], [5, 1]])
    labels = np.full((3, 11), -100)
    labels[np.arange(3)[:, None], positions] = [[3, 1], [4, 1], [5, 9]]
    whole = backend.run(model, batch, labels=labels).loss

    chosen = backend.run(
        model, batch | {"prediction_positions": positions}, labels=[[3, 1], [4, 1], [5, 9]]
    ).loss

    assert absolute_error(chosen, whole) <= 1e-14


def test_hidden_states_end_with_the_last_hidden_state(backend: Any) -> None:
    model = build(backend)

    output = backend.run(model, random_batch(model.config, "base"), collect=COLLECT)

    assert len(output.hidden_states) == 3
    assert len(output.attentions) == 2
    assert output.hidden_states[-1].tobytes() == output.last_hidden_state.tobytes()


def test_attentions_sum_to_one(backend: Any) -> None:
    model = build(backend)

    output = backend.run(model, random_batch(model.config, "base"), collect=("attentions",))

    sums = np.stack(output.attentions).sum(-1)
    assert sums.shape == (2, 3, 3, 11)
    assert absolute_error(sums, np.ones_like(sums)) <= 1e-14


@pytest.mark.parametrize("head", HEADS)
def test_collecting_changes_no_output(head: str, backend: Any) -> None:
    model = build(backend, head)
    batch = random_batch(model.config, head)
    labels = random_labels(model.config, head, batch) or None

    plain = backend.run(model, batch, labels=labels)
    collected = backend.run(model, batch, labels=labels, collect=COLLECT)

    errors = [output_errors({name: collected[name]}, {name: plain[name]}) for name in plain]
    assert max(error for each in errors for error in each.values()) <= LIMIT


def test_float32_stays_float32(backend: Any) -> None:
    model = build(backend, dtype="float32")

    output = backend.run(model, random_batch(model.config, "base"), collect=COLLECT)

    arrays = [output.last_hidden_state, *output.hidden_states, *output.attentions]
    assert {array.dtype for array in arrays} == {np.dtype(np.float32)}


def test_float16_is_refused_with_the_reason(backend: Any) -> None:
    from mobilebert_core.backend import check_dtype

    with pytest.raises(ConfigError, match=r"activations of MobileBERT reach 2.5e7"):
        check_dtype(backend, "float16")


def test_unknown_device_is_refused(backend: Any) -> None:
    config = small_config()

    with pytest.raises(ConfigError, match="device is 'toaster'"):
        backend.build(
            config, "base", random_weights(config, "base"), dtype="float32", device="toaster"
        )


BAD_INPUTS: dict[str, tuple[dict[str, Any], str]] = {
    "ids_out_of_range": ({"input_ids": [[1, 61]]}, r"values from 1 to 61, expected 0 to 60"),
    "negative_ids": ({"input_ids": [[-1, 2]]}, r"values from -1 to 2"),
    "too_long": ({"input_ids": [[1] * 20]}, r"20 tokens, expected at most 19.*truncation=True"),
    "empty": ({"input_ids": np.zeros((0, 7), np.int64)}, r"the batch is empty: shape \(0, 7\)"),
    "floats": ({"input_ids": [[0.5, 1.0]]}, r"dtype float64, expected integers"),
    "flat_array": ({"input_ids": np.array([1, 2])}, r"shape \(2,\), expected \(batch, sequence\)"),
    "ragged": ({"input_ids": [[1, 2], [3]]}, r"makes no rectangular array.*padding=True"),
    "text": ({"input_ids": [["a"]]}, r"makes no rectangular array of numbers"),
    "nothing": ({}, r"neither of input_ids and inputs_embeds"),
    "mask_shape": (
        {"input_ids": [[1, 2]], "attention_mask": [[1, 1, 1]]},
        r"attention_mask has shape \(1, 3\), expected \(1, 2\)",
    ),
    "mask_values": (
        {"input_ids": [[1, 2]], "attention_mask": [[0, 2]]},
        r"values other than 0 \(ignore\) and 1",
    ),
    "token_types": (
        {"input_ids": [[1, 2]], "token_type_ids": [[0, 4]]},
        r"token_type_ids has values from 0 to 4, expected 0 to 3",
    ),
    "positions": (
        {"input_ids": [[1, 2]], "position_ids": [[0, 19]]},
        r"position_ids has values from 0 to 19",
    ),
    "unknown": ({"input_ids": [[1, 2]], "head_mask": [[1, 1]]}, r"head_mask"),
    "labels_of_base": ({"input_ids": [[1, 2]], "labels": [1]}, r"labels is no label of this head"),
}


@pytest.mark.parametrize("case", BAD_INPUTS)
def test_call_raises_the_same_error_in_every_backend(case: str, backend: Any) -> None:
    arguments, message = BAD_INPUTS[case]
    model = build(backend)
    texts = []
    for each in (model, build(registry.get("numpy"))):
        with pytest.raises(InputError, match=message) as error:
            each(**arguments)
        texts.append(str(error.value))

    assert texts[0] == texts[1]


def test_all_faults_are_listed_at_once(backend: Any) -> None:
    model = build(backend, "token-classification")
    labels = {"labels": np.array([[0, 5]])}
    batch = {"input_ids": [[1, 99]], "token_type_ids": [[0, 0, 0]], "attention_mask": [[3, 0]]}

    with pytest.raises(InputError, match="input_ids has values from 1 to 99"):
        backend.run(model, batch, labels=labels)
    with pytest.raises(InputError, match=r"\(3 faults\)"):
        backend.run(model, batch | {"input_ids": [[1, 2]]}, labels=labels)


def test_run_refuses_unknown_collections(backend: Any) -> None:
    model = build(backend)

    with pytest.raises(InputError, match=r"collect has \['logits'\]"):
        backend.run(model, random_batch(model.config, "base"), collect=("logits",))


def test_tensor_keeps_the_values(backend: Any) -> None:
    array = np.arange(6, dtype=np.int64).reshape(2, 3)

    assert np.asarray(backend.tensor(array)).tobytes() == array.tobytes()


INPUT_LAYOUTS = {
    "reversed": lambda ids: ids[:, ::-1],
    "big_endian": lambda ids: ids.astype(">i8"),
    "read_only": lambda ids: np.broadcast_to(ids[:1], ids.shape),
    "fortran": np.asfortranarray,
}


@pytest.mark.parametrize("layout", INPUT_LAYOUTS)
def test_arrays_of_any_layout_are_read(layout: str, backend: Any) -> None:
    model = build(backend)
    ids = INPUT_LAYOUTS[layout](random_batch(model.config, "base")["input_ids"])
    expected = backend.run(model, {"input_ids": ids.tolist()}).last_hidden_state

    output = backend.run(model, {"input_ids": ids}).last_hidden_state

    assert output.tobytes() == expected.tobytes()


def test_embeddings_may_be_bfloat16(backend: Any) -> None:
    model = build(backend)
    embeddings = np.random.default_rng(0).normal(size=(2, 5, 10)).astype(ml_dtypes.bfloat16)
    expected = backend.run(model, {"inputs_embeds": embeddings.astype(np.float64)})

    output = backend.run(model, {"inputs_embeds": embeddings})

    assert output.last_hidden_state.tobytes() == expected.last_hidden_state.tobytes()


def test_weights_that_do_not_fit_are_refused(backend: Any) -> None:
    config = small_config()
    weights = random_weights(config, "base")
    del weights["mobilebert.embeddings.LayerNorm.weight"]
    weights["mobilebert.pooler.dense.bias"] = np.zeros(1)

    with pytest.raises(CheckpointError, match=r"(?s)missing: .*LayerNorm.*pooler.*is \(1,\)"):
        backend.build(config, "base", weights, dtype="float64", device=None)


def test_subclass_keeps_its_own_signature(backend: Any) -> None:
    base = type(build(backend))

    class Own(base):
        def forward(self, my_argument: int) -> int:
            return my_argument

    assert list(inspect.signature(Own.forward).parameters) == ["self", "my_argument"]
