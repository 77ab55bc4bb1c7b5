"""What the packaged models say of sentences, with models that are made for the test."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mobilebert
from mobilebert_core import packaged
from mobilebert_core.showcase import Saying, entity_spans, showcase

Pack = Callable[[str, str, dict[int, str], int | None], None]
EMOTIONS = {0: "anger", 1: "joy"}
KINDS = {0: "O", 1: "B-person", 2: "I-person", 3: "B-place", 4: "I-place"}


@pytest.fixture
def pack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pack:
    """Packages a model that gives one label or none, beside the default alone."""
    shutil.copytree(packaged.default(), tmp_path / packaged.DEFAULT)
    monkeypatch.setattr(packaged, "_FOLDER", tmp_path)

    def add(name: str, head: str, labels: dict[int, str], likeliest: int | None) -> None:
        kind = "multi_label_classification" if head == "sequence-classification" else None
        config = mobilebert.Config.preset(
            "nano", num_hidden_layers=1, id2label=labels, problem_type=kind
        )
        backend = mobilebert.get_backend("numpy")
        weights: dict[str, Any] = dict(backend.weights(mobilebert.create(config, head, "numpy")))
        bias = weights["classifier.bias"]
        weights["classifier.bias"] = np.full_like(bias, -100)
        if likeliest is not None:
            weights["classifier.bias"][likeliest] = 100
        model = backend.build(config, head, weights, dtype="float32", device=None)
        mobilebert.save(model, tmp_path / name, tokenizer=mobilebert.load_tokenizer())

    return add


def said_by(name: str) -> list[Saying]:
    return [each for each in showcase() if each.model == name]


def test_words_are_those_of_fill_mask() -> None:
    for each in said_by(packaged.DEFAULT):
        (found,) = mobilebert.fill_mask(each.text, backend="numpy", top=4)
        words = [f"{word.token} {word.probability:.0%}" for word in found.masks[0]]
        assert each.said == ", ".join(words)  # a comma may be a word


def test_default_speaks_first(pack: Pack) -> None:
    pack("mobilebert-nano-emotions", "sequence-classification", EMOTIONS, 1)
    models = list(dict.fromkeys(each.model for each in showcase()))
    assert models == ["mobilebert-nano", "mobilebert-nano-emotions"]


def test_emotions_are_the_labels_that_hold_and_their_probabilities(pack: Pack) -> None:
    pack("mobilebert-nano-emotions", "sequence-classification", EMOTIONS, 1)
    assert {each.said for each in said_by("mobilebert-nano-emotions")} == {"joy 100%"}


def test_no_label_is_told_when_none_holds(pack: Pack) -> None:
    pack("mobilebert-nano-emotions", "sequence-classification", EMOTIONS, None)
    assert {each.said for each in said_by("mobilebert-nano-emotions")} == {"no label"}


def test_entity_is_the_text_from_its_first_token_to_its_last(pack: Pack) -> None:
    pack("mobilebert-nano-entities", "token-classification", KINDS, 2)
    found = said_by("mobilebert-nano-entities")
    assert [each.said for each in found] == [f"{each.text} (person)" for each in found]


def test_entity_begins_at_every_word_when_its_first_token_says_so(pack: Pack) -> None:
    pack("mobilebert-nano-entities", "token-classification", KINDS, 3)
    for each in said_by("mobilebert-nano-entities"):
        words = set(mobilebert.load_tokenizer()(each.text).word_ids()) - {None}
        assert each.said.count("(place)") == len(words)


def test_entity_ends_where_another_kind_begins() -> None:
    labels = ["I-person", "I-place", "I-place", "O", "I-place"]
    offsets = [(0, 3), (4, 6), (7, 9), (9, 10), (11, 13)]
    assert entity_spans(labels, offsets) == [("person", 0, 3), ("place", 4, 9), ("place", 11, 13)]


def test_no_name_is_told_when_there_is_none(pack: Pack) -> None:
    pack("mobilebert-nano-entities", "token-classification", KINDS, 0)
    assert {each.said for each in said_by("mobilebert-nano-entities")} == {"no name"}


def test_packaged_model_without_sentences_is_left_out(pack: Pack) -> None:
    pack("mobilebert-nano-other", "token-classification", KINDS, 0)
    assert said_by("mobilebert-nano-other") == []
