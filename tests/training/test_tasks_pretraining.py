"""Rows of running text: windows, masks, pairs; and how a model is measured on them.

B batch  S sequence  P prediction positions
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from mobilebert_core.errors import InputError
from mobilebert_core.outputs import MaskedLMOutput, PreTrainingOutput
from mobilebert_training.corpus import Corpus
from mobilebert_training.randomness import generator
from mobilebert_training.tasks.pretraining import PretrainingTask

Array = np.ndarray[Any, np.dtype[Any]]
CLS, SEP, MASK, LENGTH, TOKENS = 2, 3, 4, 24, 4000
HEADS = ["masked-lm", "pretraining"]


@dataclass(frozen=True)
class Numbers:
    """A tokenizer's numbers, all that the task asks of it."""

    size: int = TOKENS + 5
    cls_token_id: int = CLS
    sep_token_id: int = SEP
    mask_token_id: int = MASK
    all_special_ids: tuple[int, ...] = (0, 1, 2, 3, 4)
    all_special_tokens: tuple[str, ...] = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")

    def __len__(self) -> int:
        return self.size


def corpus(num_tokens: int = TOKENS, sentence: int = 7) -> Corpus:
    """Every token is another: its id says where it was."""
    ids = np.arange(5, 5 + num_tokens, dtype=np.int32)
    return Corpus(ids, np.arange(0, num_tokens, sentence))


def make_task(head: str, text: Corpus | None = None, **options: Any) -> PretrainingTask:
    options = {"length": LENGTH} | options
    text = text or corpus()
    return PretrainingTask(head, text, options.pop("validation", None), Numbers(), **options)


def restored(batch: dict[str, Array]) -> Array:
    """The ids before they were hidden."""
    ids = batch["input_ids"].copy()
    counted = batch["labels"] != -100
    rows = np.broadcast_to(np.arange(len(ids))[:, None], counted.shape)[counted]
    ids[rows, batch["prediction_positions"][counted]] = batch["labels"][counted]
    return ids


@pytest.mark.parametrize("head", HEADS)
def test_a_batch_is_a_function_of_indices_and_key(head: str) -> None:
    task = make_task(head)
    first, again, other = (task.batch(np.arange(9), (5, step)) for step in (3, 3, 4))
    assert all((first[name] == again[name]).all() for name in first)
    assert all((first[name] != other[name]).any() for name in ("input_ids", "labels"))


def test_rows_are_windows_near_their_places() -> None:
    task = make_task("masked-lm")
    window, indices = LENGTH - 2, np.arange(len(make_task("masked-lm")))
    starts = []
    for step in range(20):
        ids = restored(task.batch(indices, (0, step)))
        assert ((ids[:, 0] == CLS) & (ids[:, -1] == SEP)).all()
        assert (np.diff(ids[:, 1:-1], axis=1) == 1).all()
        starts.append(ids[:, 1] - 5)
    away = np.stack(starts) - indices * window
    assert (abs(away) <= (window + 1) // 2).all()
    assert len(np.unique(away)) > window // 2


def test_all_of_the_text_is_seen_in_some_epochs() -> None:
    task = make_task("masked-lm", corpus(311))
    seen = [restored(task.batch(np.arange(len(task)), (1, step))) for step in range(60)]
    assert set(range(5, 316)) <= set(np.unique(np.stack(seen)).tolist())


@pytest.mark.parametrize("head", HEADS)
def test_nothing_special_is_ever_hidden(head: str) -> None:
    text = corpus()
    text.ids[::3] = np.arange(len(text.ids[::3])) % 5  # literal [MASK], [PAD], ... among the words
    batch = make_task(head, text, mask_fraction=0.5).batch(np.arange(100), (0, 0))
    assert batch["labels"][batch["labels"] != -100].min() >= 5


def test_the_share_of_hidden_tokens_is_what_is_asked_for() -> None:
    batch = make_task("masked-lm", mask_fraction=0.4).batch(np.arange(50), (0, 0))
    assert batch["prediction_positions"].shape == (50, round(0.4 * (LENGTH - 2)))
    assert batch["token_type_ids"].max() == 0


def test_random_tokens_may_be_any_when_special_tokens_do_not_lead() -> None:
    text = Corpus(np.full(TOKENS, 150, np.int32), np.array([0]))
    numbers = Numbers(size=160, cls_token_id=101, sep_token_id=102, mask_token_id=103,
                      all_special_ids=(0, 100, 101, 102, 103))  # fmt: skip
    task = PretrainingTask("masked-lm", text, None, numbers, length=LENGTH, mask_fraction=1.0)
    ids = task.batch(np.arange(1000) % len(task), (0, 0))["input_ids"][:, 1:-1]
    assert len(np.unique(ids)) == 160


def pairs(task: PretrainingTask, rows: int = 180) -> tuple[Array, Array, Array, Array]:
    """Ids, token types, where the second [SEP] is not: the first's place, and labels."""
    batch = task.batch(np.arange(rows) % len(task), (0, 1))
    ids = restored(batch)
    first = (ids == SEP).argmax(axis=1)
    return ids, batch["token_type_ids"], first, batch["next_sentence_label"]


def test_a_pair_is_two_texts_with_their_types() -> None:
    ids, types, first, _ = pairs(make_task("pretraining"))
    assert ((ids == SEP).sum(axis=1) == 2).all()
    assert (ids[:, -1] == SEP).all()
    assert (types == (np.arange(LENGTH) > first[:, None])).all()
    lengths = np.stack([first - 1, LENGTH - 2 - first])
    assert lengths.min() >= (LENGTH - 3) // 4


def test_half_of_the_pairs_are_strangers() -> None:
    ids, _, first, labels = pairs(make_task("pretraining"), 2000)
    rows = np.arange(len(ids))
    follows = ids[rows, first + 1] == ids[rows, first - 1] + 1
    assert follows[labels == 0].all()
    assert follows[labels == 1].mean() < 0.02  # of 572 strangers one is the neighbour
    for row, place in zip(ids, first, strict=True):
        assert (np.diff(row[1:place]) == 1).all()
        assert (np.diff(row[place + 1 : -1]) == 1).all()
    assert abs(labels.mean() - 0.5) < 4 * 0.5 / 2000**0.5


@pytest.mark.parametrize("sentence", [3, 15])
def test_a_second_text_begins_a_sentence_so_that_its_first_word_tells_nothing(
    sentence: int,
) -> None:
    ids, _, first, labels = pairs(make_task("pretraining", corpus(sentence=sentence)))
    begins = (ids[np.arange(len(ids)), first + 1] - 5) % sentence == 0
    assert begins[labels == 0].all()
    assert begins[labels == 1].all()


def test_texts_are_cut_anywhere_and_all_are_seen_when_no_sentence_ends_soon() -> None:
    text = Corpus(corpus().ids, np.array([0, 1000, TOKENS - 1]))
    ids, _, first, labels = pairs(make_task("pretraining", text), 4000)
    assert len(np.unique(first)) > 5
    seconds = ids[np.arange(len(ids)), first + 1] - 5
    for label in (0, 1):
        assert len(np.unique(seconds[labels == label])) > 1000
    assert len(np.unique(ids)) > 0.98 * TOKENS


def test_second_texts_come_from_the_same_places_whether_they_follow_or_not() -> None:
    half = TOKENS // 2  # short sentences in the first half, long ones in the second
    starts = np.concatenate([np.arange(0, half, 4), np.arange(half, TOKENS, 20)])
    ids, _, first, labels = pairs(make_task("pretraining", Corpus(corpus().ids, starts)), 8000)
    is_short = ids[np.arange(len(ids)), first + 1] - 5 < half
    shares = [is_short[labels == label].mean() for label in (0, 1)]
    assert abs(shares[0] - shares[1]) < 4 * 0.5 / 2000**0.5


def oracle(task: PretrainingTask, text: Corpus, wrong: float, seen: list[Any]) -> Any:
    """A model that knows all answers but for a share of rows; the loss is the same for each."""

    def run(rows: dict[str, Array]) -> Any:
        seen.append({name: each.copy() for name, each in rows.items()})
        assert not {"labels", "next_sentence_label"} & rows.keys()
        draw = generator(1, len(seen))
        shape = rows["prediction_positions"].shape
        logits = draw.random((*shape, len(Numbers()))).astype(np.float32)
        if task.head == "masked-lm":
            return MaskedLMOutput(loss=None, logits=logits)
        relationship = draw.random((len(logits), 2)).astype(np.float32)
        return PreTrainingOutput(
            loss=None, prediction_logits=logits, seq_relationship_logits=relationship
        )

    return run


@pytest.mark.parametrize("head", HEADS)
def test_measures_are_those_of_a_plain_formula(head: str) -> None:
    text = corpus(1000)
    task = make_task(head, validation=text, validation_rows=30)
    logits, labels, pair_logits, pair_labels = [], [], [], []
    rows_of = task._rows

    def remember(*arguments: Any) -> dict[str, Array]:
        rows = rows_of(*arguments)
        labels.append(rows["labels"].copy())
        pair_labels.append(rows.get("next_sentence_label"))
        return rows

    def run(rows: dict[str, Array]) -> Any:
        draw = generator(1, len(logits))
        shape = rows["prediction_positions"].shape
        logits.append(20 * draw.random((*shape, len(Numbers()))).astype(np.float32))
        best = labels[-1][:, 0] % len(Numbers())
        logits[-1][np.arange(len(best)), 0, best] = 30  # the first of each row is right
        if head == "masked-lm":
            return MaskedLMOutput(loss=None, logits=logits[-1])
        pair_logits.append(draw.random((len(best), 2)))
        return PreTrainingOutput(
            loss=None, prediction_logits=logits[-1], seq_relationship_logits=pair_logits[-1]
        )

    task._rows = remember  # type: ignore[method-assign]
    found = task.evaluate(run)
    scores = np.concatenate(logits).reshape(-1, len(Numbers())).astype(np.float64)
    wanted = np.concatenate(labels).ravel()
    scores, wanted = scores[wanted != -100], wanted[wanted != -100]
    chances = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    loss = -np.log(chances[np.arange(len(wanted)), wanted]).mean()
    assert len(wanted) >= 30
    assert found["loss"] == pytest.approx(loss, rel=1e-10)
    assert found["perplexity"] == pytest.approx(math.exp(loss), rel=1e-8)
    assert found["accuracy"] == (scores.argmax(axis=1) == wanted).mean() >= 1 / 3
    if head == "pretraining":
        right = np.concatenate(pair_logits).argmax(axis=1) == np.concatenate(pair_labels)
        assert found["next_sentence_accuracy"] == right.mean()


@pytest.mark.parametrize("head", HEADS)
def test_the_same_rows_are_measured_every_time_from_all_of_the_text(head: str) -> None:
    task = make_task(head, validation=corpus(3000), validation_rows=70)
    first: list[Any] = []
    second: list[Any] = []
    for seen in (first, second):
        task.evaluate(oracle(task, corpus(), 0.0, seen))
    assert all(
        (one[name] == other[name]).all()
        for one, other in zip(first, second, strict=True)
        for name in one
    )
    ids = np.concatenate([each["input_ids"] for each in first])
    assert len(ids) == 70
    assert ids.max() > 2900


def test_nothing_is_measured_when_there_is_no_validation() -> None:
    assert make_task("masked-lm").evaluate(lambda rows: pytest.fail("nothing to run")) == {}


@pytest.mark.parametrize("which", ["training", "validation"])
def test_a_text_without_a_token_to_hide_is_refused(which: str) -> None:
    unknown = Corpus(np.ones(TOKENS, np.int32), np.arange(0, TOKENS, 7))
    texts = {
        "text": corpus(),
        "validation": corpus(),
        "text" if which == "training" else which: unknown,
    }
    with pytest.raises(InputError, match=f"The {which} text has no token that could be masked"):
        make_task("masked-lm", **texts)


@pytest.mark.parametrize("fraction", [0.0, 1.5, 15])
def test_a_fraction_that_hides_nothing_or_too_much_is_refused(fraction: float) -> None:
    with pytest.raises(InputError, match=f"mask_fraction is {fraction}, expected above 0"):
        make_task("masked-lm", mask_fraction=fraction)


def test_rows_of_special_tokens_alone_measure_nothing() -> None:
    text = corpus()
    text.ids[: TOKENS - LENGTH // 2] = 1
    task = make_task("masked-lm", validation=text, validation_rows=1)
    nothing = MaskedLMOutput(logits=np.zeros((1, 1, TOKENS + 5)))
    assert task.evaluate(lambda rows: nothing)["accuracy"] == 0


@pytest.mark.parametrize("which", ["training", "validation"])
def test_a_text_shorter_than_two_rows_is_refused(which: str) -> None:
    texts = {"training": corpus(), "validation": corpus()} | {which: corpus(2 * LENGTH - 5)}
    with pytest.raises(InputError, match="has 43 tokens, expected at least two rows of 22"):
        make_task("masked-lm", texts["training"], validation=texts["validation"])


@pytest.mark.parametrize(
    ("head", "options"),
    [
        ("masked-lm", {"length": 2}),
        ("pretraining", {"length": 6}),
        ("masked-lm", {"validation_rows": 0}),
    ],
)
def test_rows_without_room_are_refused(head: str, options: dict[str, int]) -> None:
    with pytest.raises(InputError, match=r"length is \d+ and validation_rows \d+, expected"):
        make_task(head, **options)


@pytest.mark.parametrize(("head", "length"), [("masked-lm", 3), ("pretraining", 7)])
def test_the_shortest_rows_have_something_to_learn(head: str, length: int) -> None:
    batch = make_task(head, length=length).batch(np.arange(40), (0, 0))
    assert batch["input_ids"].shape == (40, length)
    assert (batch["labels"] != -100).sum() == 40
