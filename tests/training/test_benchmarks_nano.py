"""The benchmark of the packaged model: its baselines count right, its sentences are well-formed."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mobilebert_core.tokenization import load_tokenizer

pytest.importorskip("scipy", reason="the baselines of benchmarks/nano.py count in its matrices")
PAD, A, B, C, D = range(5)
UNSEEN = -1


@pytest.fixture
def baselines(load: Any) -> Any:
    return load("nano_baselines")


def queries(baselines: Any, left: int, right: int, label: int = A) -> Any:
    return baselines.Queries(*(np.array([each]) for each in (left, right, label)))


# Of the followers of A, B and C are equally frequent; before D there is C alone. The special token
# is a neighbour like any other.
TEXT = np.array([A, B, A, C, D] * 50 + [PAD, D, PAD, D])


def test_probabilities_are_a_distribution_when_neighbours_are_known_or_not(
    baselines: Any,
) -> None:
    counts = baselines.count(TEXT, 5, [PAD])
    for left in (UNSEEN, A, B, C, D):
        for right in (UNSEEN, A, B, C, D):
            (found,) = counts.probabilities(queries(baselines, left, right))
            assert found.sum() == pytest.approx(1)
            assert found[PAD] == 0
            assert (found[A:] > 0).all()


def test_neighbours_decide_when_each_alone_does_not(baselines: Any) -> None:
    counts = baselines.count(TEXT, 5, [PAD])
    for joint in (counts.joint, None):
        known = baselines.replace(counts, joint=joint)
        (both,) = known.probabilities(queries(baselines, A, D))
        (left,) = known.probabilities(queries(baselines, A, UNSEEN))
        (right,) = known.probabilities(queries(baselines, UNSEEN, A))
        assert both.argmax() == C
        assert both[C] > 0.9
        assert left[B] == pytest.approx(left[C])
        assert right[B] == pytest.approx(right[D], rel=0.05)  # both are followed by A
        assert right[B] > 10 * right[A]


def test_frequencies_alone_count_when_no_neighbour_is_seen(baselines: Any) -> None:
    counts = baselines.count(TEXT, 5, [PAD])
    (found,) = counts.probabilities(queries(baselines, UNSEEN, UNSEEN))
    assert found == pytest.approx(counts.words)


def test_what_stood_between_both_adds_to_each_when_it_was_counted(baselines: Any) -> None:
    counts = baselines.count(np.array([B, A, C, B, D, A, D, C, D, B, C, D]), 5, [PAD])
    asked = queries(baselines, B, C)  # once, with A between
    (with_both,) = counts.probabilities(asked)
    (bigrams,) = baselines.replace(counts, joint=None).probabilities(asked)
    trust = 1 / (1 + counts.both_weight)
    expected = bigrams * (1 - trust)
    expected[A] += trust
    assert with_both == pytest.approx(expected)


def test_the_bigram_is_interpolated_when_its_context_was_seen(baselines: Any) -> None:
    counts = baselines.count(np.array([A, B, A, B, A, C]), 4, [PAD])
    (found,) = counts.left_probabilities(np.array([A]))
    frequency = 2.5 / (3.5 + 2.5 + 1.5)  # of B, each token counted half more
    # Two different followers, seen three times: Witten and Bell trust the pair by 3 in 5.
    assert found[B] == pytest.approx((2 + 2 * frequency) / (3 + 2))


def test_hidden_neighbours_are_not_looked_at_when_a_text_is_asked(load: Any) -> None:
    baselines, text = load("nano_baselines"), load("nano_text")
    tokenizer = load_tokenizer()
    cls, mask = tokenizer.cls_token_id, tokenizer.mask_token_id
    masked = text.MaskedText(
        "a", np.array([[cls, mask, 11, mask, mask, 12]]), np.array([[1, 3, 4, 0]]),
        np.array([[21, 22, 23, -100]]), 6,
    )  # fmt: skip
    found = baselines.queries_of(masked, tokenizer)
    assert found.left.tolist() == [UNSEEN, 11, UNSEEN]
    assert found.right.tolist() == [11, UNSEEN, 12]
    assert found.labels.tolist() == [21, 22, 23]


def test_every_chosen_token_is_hidden_when_a_text_is_masked(load: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("The night was dark, and nobody came along the road.\n" * 60, encoding="utf-8")
    tokenizer = load_tokenizer()
    masked = load("nano_text").mask_text(path, tokenizer)
    rows, columns = np.nonzero(masked.counted)
    hidden = masked.input_ids == tokenizer.mask_token_id
    assert hidden[rows, masked.positions[rows, columns]].all()
    assert hidden.sum() == masked.counted.sum() == 19 * len(masked.input_ids)
    again = load("nano_text").mask_text(path, tokenizer)
    assert (again.positions == masked.positions).all()


def test_sentences_are_well_formed_when_they_are_asked(load: Any) -> None:
    prompts = load("nano_prompts").PROMPTS
    assert len(prompts) == 20
    for sentence, accepted in prompts.items():
        assert sentence.count("[MASK]") == 1
        assert sentence.endswith(".")
        words = accepted.split()
        assert len(words) == len(set(words)) > 0
        assert accepted == accepted.lower()


def test_answers_are_judged_by_the_list_when_a_sentence_is_filled(load: Any) -> None:
    candidates = [SimpleNamespace(token=t, probability=p) for t, p in (("if", 0.5), ("it", 0.25))]
    filled = SimpleNamespace(text="I do not know [MASK] he will come back.", masks=(candidates,))
    assert load("nano_prompts").judge(filled)["acceptable"] == [True, False]
