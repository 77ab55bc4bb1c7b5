"""`predict` itself: what it reads and when, and what it refuses."""

import io
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import mobilebert
from metrics import absolute_error
from mobilebert_conformance.cases import small_config
from mobilebert_core.errors import ConfigError, InputError
from mobilebert_core.prediction import predict
from mobilebert_core.prediction_batches import BATCHINGS, EqualLengths, FixedShapes
from mobilebert_core.prediction_inputs import InputReader

runner = CliRunner()

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "c", "d"]
CHOICES = "multiple-choice"


def model_of(head: str = "sequence-classification", **changes: Any) -> Any:
    return mobilebert.create(small_config(head, **changes), head, "numpy", dtype="float64")


@pytest.fixture
def tokenizer() -> Any:
    vocabulary = {word: number for number, word in enumerate(WORDS)}
    return mobilebert.MobileBertTokenizer(vocab=vocabulary, model_max_length=512)


class Counted:
    """Texts without end, and how many have been read."""

    def __init__(self) -> None:
        self.read = 0

    def __iter__(self) -> Iterator[dict[str, list[int]]]:
        while True:
            self.read += 1
            yield {"input_ids": [1 + self.read % 7] * (1 + self.read % 5)}


def test_nothing_is_read_before_the_first_result_is_asked_for() -> None:
    texts = Counted()

    outputs = predict(model_of(), texts, window=4)

    assert texts.read == 0
    next(outputs)
    assert texts.read == 4


def test_window_is_read_ahead_at_most() -> None:
    texts = Counted()
    outputs = predict(model_of(), texts, window=4)

    for given in range(1, 11):
        next(outputs)
        assert texts.read == 4 * -(-given // 4)


def test_window_ends_within_a_batch_when_its_rows_are_more() -> None:
    ids = np.arange(1, 8)[:, None].repeat(3, axis=1)
    model = model_of()

    outputs = list(predict(model, [{"input_ids": ids}], window=2))

    expected = model(input_ids=ids).logits
    assert absolute_error(np.stack([each.logits for each in outputs]), expected) < 1e-12


def test_result_keeps_no_memory_of_its_batch() -> None:
    outputs = predict(model_of("base"), [{"input_ids": [1, 2]}, {"input_ids": [3, 4]}])

    assert all(value.base is None for output in outputs for value in output.values())


def test_budget_bounds_the_tokens_of_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    model, seen = model_of(), []
    usual = type(model).__call__

    def call(self: Any, **inputs: Any) -> Any:
        seen.append(inputs["position_ids"].size)
        return usual(self, **inputs)

    monkeypatch.setattr(type(model), "__call__", call)
    list(predict(model, [{"input_ids": [1] * length} for length in (5, 6, 7, 19)], token_budget=14))

    assert seen == [19, 14, 5]


def test_mapping_given_alone_is_one_batch() -> None:
    batch = {"input_ids": [[1, 2, 3], [4, 5, 0]], "attention_mask": [[1, 1, 1], [1, 1, 0]]}

    outputs = list(predict(model_of("token-classification"), batch))

    assert [output.logits.shape for output in outputs] == [(3, 5), (2, 5)]


def test_kinds_of_items_may_be_mixed(tokenizer: Any) -> None:
    model = model_of("token-classification")
    items = [("a", "b c"), {"input_ids": [5, 6]}, "d", {"input_ids": np.array([[7], [8]])}]

    shapes = [output.logits.shape for output in predict(model, items, tokenizer=tokenizer)]

    assert shapes == [(6, 5), (2, 5), (3, 5), (1, 5), (1, 5)]


def test_pair_has_the_second_token_type(tokenizer: Any) -> None:
    model = model_of()
    given = tokenizer("a b", "c", return_tensors="np")

    output = next(predict(model, [("a b", "c")], tokenizer=tokenizer))

    assert absolute_error(output.logits, model(**given).logits[0]) < 1e-12


def test_choices_may_be_texts_and_pairs(tokenizer: Any) -> None:
    model = model_of(CHOICES)

    outputs = list(predict(model, [["a", ("b", "c d"), "a"], ["d"]], tokenizer=tokenizer))

    assert [output.logits.shape for output in outputs] == [(3,), (1,)]
    assert outputs[0].logits[0] == pytest.approx(outputs[0].logits[2], rel=1e-12)


def test_batch_of_choices_gives_an_output_for_each_example() -> None:
    model = model_of(CHOICES)
    ids = np.arange(1, 31).reshape(2, 3, 5)

    outputs = list(predict(model, {"input_ids": ids}))

    expected = model(input_ids=ids).logits
    assert absolute_error(np.stack([each.logits for each in outputs]), expected) < 1e-12


def test_logits_are_those_at_masks_when_positions_are_mask(tokenizer: Any) -> None:
    model = model_of("masked-lm")
    everywhere = list(predict(model, ["a [MASK] b [MASK]", "c"], tokenizer=tokenizer))

    chosen = list(
        predict(
            model,
            ["a [MASK] b [MASK]", "c"],
            tokenizer=tokenizer,
            prediction_positions="mask",
        )
    )

    assert absolute_error(chosen[0].logits, everywhere[0].logits[[2, 4]]) < 1e-12
    assert chosen[1].logits.shape == (0, 61)


def test_own_positions_of_a_batch_are_taken() -> None:
    model = model_of("pretraining")
    ids, positions = np.arange(1, 9).reshape(2, 4), np.array([[3, 0], [1, 1]])

    outputs = list(predict(model, {"input_ids": ids, "prediction_positions": positions}))

    expected = model(input_ids=ids, prediction_positions=positions).prediction_logits
    found = np.stack([each.prediction_logits for each in outputs])
    assert absolute_error(found, expected) < 1e-12


WRONG_ITEMS: list[tuple[str, Any, str]] = [
    ("base", 7, "Item 1 is a int, expected a text"),
    ("base", ["a", "b"], r"Item 1 is a list of 2 \(str\)"),
    ("base", ("a", 2), r"Item 1 is a tuple of 2 \(str, int\)"),
    ("base", {}, "Item 1: .*neither of input_ids"),
    ("base", {"input_ids": [1, 99]}, "Item 1: .*input_ids"),
    ("base", {"input_ids": [[1], [1, 2]]}, "Item 1: .*rectangular"),
    ("base", {"input_ids": [1] * 20}, "Item 1: .*20 tokens, expected at most 19"),
    ("base", {"input_ids": [1], "labels": [1]}, "Item 1: .*'labels' is no argument"),
    ("base", {"inputs_embeds": np.ones((1, 2, 10))}, "Item 1: inputs_embeds cannot"),
    ("base", {"input_ids": [1, 2], "attention_mask": [0, 1]}, "Item 1: row 0 .* 0 before a 1"),
    ("base", {"input_ids": [1, 2], "attention_mask": [0, 0]}, "Item 1: row 0 .* all 0"),
    (
        "base",
        {"input_ids": [[1, 2]], "attention_mask": np.ones((1, 1, 2, 2), int)},
        "Item 1: attention_mask has shape",
    ),
    ("base", {"input_ids": [1], "prediction_positions": [0]}, "Item 1: .*prediction_positions"),
    (
        "masked-lm",
        {"input_ids": [1, 2], "attention_mask": [1, 0], "prediction_positions": [1]},
        "Item 1: prediction_positions has 1 for a text of 1",
    ),
    (CHOICES, "a", "Item 1 is a str, expected a list of its choices"),
    (CHOICES, [], "Item 1 is a list of 0"),
]


@pytest.mark.parametrize(("head", "item", "message"), WRONG_ITEMS)
def test_wrong_item_raises_an_error_with_its_number(
    head: str, item: Any, message: str, tokenizer: Any
) -> None:
    right = {"input_ids": [[1, 2]]}

    with pytest.raises(InputError, match=f"(?s){message}"):
        list(predict(model_of(head), [right, item], tokenizer=tokenizer))


def test_text_longer_than_the_model_takes_raises_an_error_with_its_number(tokenizer: Any) -> None:
    with pytest.raises(InputError, match=r"Item 1: .*22 tokens, expected at most 19"):
        list(predict(model_of(), ["a", "a " * 20], tokenizer=tokenizer))


def test_text_without_a_tokenizer_raises_an_error() -> None:
    with pytest.raises(InputError, match="Item 0 is a text, which needs a tokenizer"):
        next(predict(model_of(), ["a"]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"inputs": "a"}, r"inputs is a str.*\[text\]"),
        ({"inputs": 3}, "inputs is a int"),
        ({"window": 0}, "window is 0"),
        ({"token_budget": True}, "token_budget is True"),
        ({"token_budget": 1.5}, "token_budget is 1.5"),
        ({"tokenizer": "folder"}, "tokenizer is a str"),
        ({"prediction_positions": [1]}, r"prediction_positions is \[1\]"),
        ({"prediction_positions": "mask"}, "only pretraining and masked-lm"),
    ],
)
def test_wrong_argument_raises_an_error_at_once(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        predict(model_of(), **({"inputs": []} | options))


def test_mask_positions_without_a_tokenizer_raise_an_error() -> None:
    with pytest.raises(InputError, match="pass tokenizer="):
        predict(model_of("masked-lm"), [], prediction_positions="mask")


def test_object_that_is_no_model_raises_an_error() -> None:
    with pytest.raises(ConfigError, match="A str is no model"):
        predict("folder", [])


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (BATCHINGS["packed"], [[40, 36], [35, 24, 20, 17], [16]]),
        (BATCHINGS["rectangles"], [[40, 36], [35], [24], [20], [17, 16]]),
        (BATCHINGS["lengths"], [[40, 36], [35], [24, 20, 17], [16]]),
        (EqualLengths, [[40], [36], [35], [24], [20], [17], [16]]),
    ],
)
def test_batches_are_cut_where_padding_or_the_budget_ends_them(
    kind: Any, expected: list[list[int]]
) -> None:
    model = model_of(max_position_embeddings=50)
    reader = InputReader(model.config, model.head, None, None)
    items = [{"input_ids": [1] * length} for length in (40, 36, 35, 24, 20, 17, 16)]
    rows = [example.rows[0] for example in reader.requests(items)]

    batches = kind(model, 96).cut(rows)

    assert [[len(row) for row in batch] for batch in batches] == expected


def test_no_text_has_a_mask_when_the_model_is_optimised(tokenizer: Any) -> None:
    model = mobilebert.create(small_config(), "masked-lm", "numpy", optimize=True)

    (output,) = predict(model, ["a"], tokenizer=tokenizer, prediction_positions="mask")

    assert output.logits.shape == (0, 61)


def test_shapes_are_few_when_they_are_fixed() -> None:
    model = model_of("masked-lm", max_position_embeddings=50)
    reader = InputReader(model.config, model.head, None, None)
    batching = FixedShapes(model, 100)
    random = np.random.default_rng(0)
    items = [
        {"input_ids": [1] * int(random.integers(1, 50)), "prediction_positions": [0] * count}
        for count in range(40)
    ]
    rows = [example.rows[0] for example in reader.requests(items)]
    rows.sort(key=len, reverse=True)

    assert sum(map(len, batching.cut(rows))) == 40
    shapes = {
        tuple(array.shape for array in batching.inputs(batching.fill(batch)).values())
        for batch in batching.cut(rows)
    }

    assert {shape[0] for shape in shapes} <= {
        (n, m) for n in (1, 2, 3, 4, 6) for m in (16, 32, 48, 50)
    }
    assert {shape[-1][1] for shape in shapes} <= {1, 2, 4, 8, 16, 32, 64}


@pytest.mark.parametrize(("count", "filled"), [(1, 1), (3, 4), (5, 6), (6, 6)])
def test_rows_are_filled_to_a_power_of_two_or_the_budget(count: int, filled: int) -> None:
    model = model_of()
    reader = InputReader(model.config, model.head, None, None)
    rows = [each.rows[0] for each in reader.requests([{"input_ids": [1] * 9}] * count)]

    assert len(FixedShapes(model, 100).fill(rows)) == filled


def test_bar_is_shown_on_standard_error_when_it_is_wanted(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")

    list(predict(model_of(), [{"input_ids": [1]}] * 3, progress=True))

    shown = capsys.readouterr()
    assert "Predicting" in shown.err
    assert shown.out == ""


@pytest.mark.parametrize(("count", "shown"), [(4, True), (3, False)])
def test_bar_is_shown_on_a_terminal_when_the_input_has_two_windows(
    count: int, shown: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)

    list(predict(model_of(), [{"input_ids": [1]}] * count, window=2))

    assert ("Predicting" in terminal.getvalue()) == shown
