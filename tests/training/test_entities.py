"""Entity scores: conlleval's rules line by line, known values, and what holds for every tagging."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobilebert_core.errors import InputError
from mobilebert_training.entities import Entity, EntityScore, are_tags, entities, entity_scores

Sentences = list[tuple[list[str], list[str]]]

TAGS = ["O", *(f"{prefix}-{name}" for prefix in "BIES" for name in ("PER", "LOC", "B-X"))]
sentences = st.lists(
    st.lists(st.tuples(st.sampled_from(TAGS), st.sampled_from(TAGS)), max_size=12).map(
        lambda pairs: ([each[0] for each in pairs], [each[1] for each in pairs])
    ),
    max_size=6,
)


def chunk_ends(prefix: str, name: str, next_prefix: str, next_name: str) -> bool:
    """`endOfChunk` of conlleval, without its brackets, and with the S of seqeval."""
    return (
        prefix in ("E", "S")
        or (prefix == "B" and next_prefix in ("B", "S", "O"))
        or (prefix == "I" and next_prefix in ("B", "S", "O"))
        or (prefix != "O" and name != next_name)
    )


def chunk_starts(prefix: str, name: str, next_prefix: str, next_name: str) -> bool:
    """`startOfChunk`, likewise."""
    return (
        next_prefix in ("B", "S")
        or (prefix in ("E", "S", "O") and next_prefix in ("E", "I"))
        or (next_prefix != "O" and name != next_name)
    )


def conlleval_chunks(tags: list[str]) -> list[tuple[str, int, int]]:
    """Type, start and end of each chunk."""
    found, begin, before = [], 0, ("O", "")
    for place, tag in enumerate([*tags, "O"]):
        prefix, _, name = tag.partition("-")
        now = (prefix, name)
        if chunk_ends(*before, *now):
            found.append((before[1], begin, place))
        if chunk_starts(*before, *now):
            begin = place
        before = now
    return found


@given(st.lists(st.sampled_from(TAGS), max_size=30))
def test_entities_are_those_of_conlleval(tags: list[str]) -> None:
    assert entities(tags) == conlleval_chunks(tags)


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ([], []),
        (["O", "O"], []),
        (["B-A", "I-A", "O"], [("A", 0, 2)]),
        (["B-A", "B-A"], [("A", 0, 1), ("A", 1, 2)]),
        (["O", "I-A", "I-A"], [("A", 1, 3)]),
        (["B-A", "I-B", "I-B"], [("A", 0, 1), ("B", 1, 3)]),
        (["B-A", "E-A", "I-A"], [("A", 0, 2), ("A", 2, 3)]),
        (["S-A", "I-A"], [("A", 0, 1), ("A", 1, 2)]),
        (["B", "I", "O", "B"], [("_", 0, 2), ("_", 3, 4)]),
        (["B-A-B", "I-A-B"], [("A-B", 0, 2)]),
    ],
)
def test_entities_are_found_when_tags_are_of_any_order(
    tags: list[str], expected: list[tuple[str, int, int]]
) -> None:
    assert entities(tags) == [Entity(*each) for each in expected]


@pytest.mark.parametrize("tag", ["", "NOUN", "B_PER", "B-", "o", "-PER", "L-PER", "O-PER", 3, None])
def test_entities_refuse_when_a_tag_is_unknown(tag: str) -> None:
    with pytest.raises(InputError, match="tag 1 is .*expected O, or B-"):
        entities(["O", tag])


def test_scores_are_those_of_the_readme_of_seqeval() -> None:
    references = [["O", "O", "O", "B-MISC", "I-MISC", "I-MISC", "O"], ["B-PER", "I-PER", "O"]]
    predictions = [["O", "O", "B-MISC", "I-MISC", "I-MISC", "I-MISC", "O"], ["B-PER", "I-PER", "O"]]
    scores = entity_scores(predictions, references)
    assert scores.micro == EntityScore(correct=1, predicted=2, expected=2)
    assert (scores.micro.precision, scores.micro.recall, scores.micro.f1) == (0.5, 0.5, 0.5)
    assert {name: each.f1 for name, each in scores.by_type.items()} == {"MISC": 0.0, "PER": 1.0}


def test_precision_and_recall_differ_when_too_few_are_predicted() -> None:
    score = entity_scores([["B-A", "O", "O"]], [["B-A", "O", "B-A"]]).micro
    assert (score.precision, score.recall) == (1.0, 0.5)
    assert score.f1 == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    "predicted",
    [["B-B", "I-B", "O"], ["B-A", "O", "O"], ["B-A", "I-A", "I-A"], ["O", "B-A", "O"]],
)
def test_an_entity_is_wrong_when_type_or_an_end_differs(predicted: list[str]) -> None:
    assert entity_scores([predicted], [["B-A", "I-A", "O"]]).micro.correct == 0


def test_an_entity_counts_once_a_sentence_when_sentences_are_alike() -> None:
    assert entity_scores([["B-A"], ["O"]], [["O"], ["B-A"]]).micro == EntityScore(0, 1, 1)


def test_scores_are_zero_when_there_are_no_entities() -> None:
    score = entity_scores([["O"]], [["O"]])
    assert (score.micro.precision, score.micro.recall, score.micro.f1) == (0.0, 0.0, 0.0)
    assert score.by_type == {}


@given(sentences)
def test_types_add_up_to_all(pairs: Sentences) -> None:
    scores = entity_scores([each[0] for each in pairs], [each[1] for each in pairs])
    parts = scores.by_type.values()
    assert scores.micro.correct == sum(each.correct for each in parts)
    assert scores.micro.predicted == sum(each.predicted for each in parts)
    assert scores.micro.expected == sum(each.expected for each in parts)
    assert list(scores.by_type) == sorted(scores.by_type)


@given(sentences)
def test_precision_and_recall_change_places_when_sides_do(pairs: Sentences) -> None:
    left, right = [each[0] for each in pairs], [each[1] for each in pairs]
    one, other = entity_scores(left, right).micro, entity_scores(right, left).micro
    assert (one.precision, one.recall, one.f1) == (other.recall, other.precision, other.f1)


def test_scores_are_refused_when_a_sentence_is_missing() -> None:
    with pytest.raises(InputError, match="1 predicted sentences, but 2"):
        entity_scores([["O"]], [["O"], ["O"]])


def test_scores_are_refused_when_a_tag_is_missing() -> None:
    with pytest.raises(InputError, match="sentence 1 has 1 predicted and 2 right tags"):
        entity_scores([["O"], ["O"]], [["O"], ["O", "O"]])


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["O", "B-PER", "I-PER"], True),
        (["B", "I", "O"], True),
        (["O"], False),
        (["LABEL_0", "LABEL_1"], False),
        (["O", "B-PER", "NOUN"], False),
        (["B-PER", "I-PER"], False),
        ([], False),
    ],
)
def test_names_are_tags_when_all_of_them_say_so(names: list[str], expected: bool) -> None:
    assert are_tags(names) is expected
