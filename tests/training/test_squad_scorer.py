"""The SQuAD scorer against cases computed by hand from the rules of the official scripts."""

import pytest

from mobilebert_training.squad_scorer import (
    exact_match,
    f1,
    normalize_answer,
    score_v1,
    score_v2,
)


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("The Panthers", "panthers"),
        ("the", ""),
        ("An apple, a day!", "apple day"),
        ("theatre another banana", "theatre another banana"),
        ("  Two\t spaces\u00a0here ", "two spaces here"),
        ("$3.5 million", "35 million"),
        ("state-of-the-art", "stateoftheart"),  # punctuation goes before articles
        ("a.m.", "am"),
        ("“Quotes” – kept", "“quotes” – kept"),  # only ASCII punctuation goes
        ("The-The the", "thethe"),
    ],
)
def test_answers_are_normalized_when_compared(text: str, normal: str) -> None:
    assert normalize_answer(text) == normal


@pytest.mark.parametrize(
    ("predicted", "right", "score"),
    [
        ("Denver Broncos", "the Denver Broncos", 1.0),
        ("Broncos", "Denver Broncos", 2 / 3),
        ("x y z", "x", 0.5),
        ("x x y", "x x x x", 4 / 7),
        ("x", "y", 0.0),
        ("", "", 0.0),  # version 1.1 finds no common word
        ("the", "a", 0.0),
    ],
)
def test_f1_counts_common_words_when_answers_overlap(
    predicted: str, right: str, score: float
) -> None:
    assert abs(f1(predicted, right) - score) < 1e-12


def test_exact_match_ignores_articles_and_punctuation_when_comparing() -> None:
    assert exact_match("The Cat.", "cat") == 1
    assert exact_match("cats", "cat") == 0


def test_the_nearest_answer_counts_when_there_are_several() -> None:
    answers = {"q1": ["a cat sat", "the dog"], "q2": ["one two"]}
    scores = score_v1({"q1": "dog", "q2": "two three"}, answers)
    assert scores == {"exact_match": 50.0, "f1": 75.0}


def test_a_question_scores_zero_when_it_is_not_answered() -> None:
    answers = {"q1": ["cat"], "q2": ["dog"], "q3": ["x"], "q4": ["y"]}
    assert score_v1({"q1": "cat", "other": "dog"}, answers) == {"exact_match": 25.0, "f1": 25.0}
    assert score_v1({}, answers) == {"exact_match": 0.0, "f1": 0.0}


def test_no_answer_is_right_when_version_2_has_none() -> None:
    answers = {"q1": ["cat dog", "the"], "q2": [], "q3": [], "q4": ["bird"]}
    predictions = {"q1": "cat", "q2": "", "q3": "x", "q4": ""}
    scores = score_v2(predictions, answers)
    assert scores == {
        "exact_match": 25.0,
        "f1": pytest.approx(100 * (2 / 3 + 1) / 4),
        "has_answer_exact_match": 0.0,
        "has_answer_f1": pytest.approx(100 * (2 / 3) / 2),
        "no_answer_exact_match": 50.0,
        "no_answer_f1": 50.0,
    }


def test_an_answer_of_articles_alone_counts_as_none_when_version_2_is_scored() -> None:
    assert score_v2({"q": "the"}, {"q": ["a", "!"]})["exact_match"] == 100.0
    assert score_v2({"q": "the"}, {"q": ["a", "!"]})["no_answer_f1"] == 100.0


def test_parts_are_left_out_when_version_2_has_no_such_questions() -> None:
    assert "no_answer_f1" not in score_v2({"q": "x"}, {"q": ["x"]})
    assert "has_answer_f1" not in score_v2({"q": ""}, {"q": []})
