"""`mobilebert.fill_mask`: words for each [MASK], on the packaged model and on small ones."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mobilebert
from mobilebert_conformance.cases import small_config
from mobilebert_core import packaged
from mobilebert_core.errors import CheckpointError, InputError

TWO = "The [MASK]  was\ta dark [MASK]!"


@pytest.fixture(scope="module")
def model() -> Any:
    return mobilebert.load(backend="numpy", dtype="float64")


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return mobilebert.load_tokenizer()


def steered(model: Any, tokenizer: Any, *words: str) -> Any:
    """The model with a bias that makes these tokens the likeliest, in this order."""
    weights = dict(mobilebert.get_backend("numpy").weights(model))
    bias = np.array(weights["cls.predictions.bias"], np.float64)
    for place, word in enumerate(words):
        bias[tokenizer.convert_tokens_to_ids(word)] += 1e4 - 100 * place
    weights["cls.predictions.bias"] = bias
    backend = mobilebert.get_backend("numpy")
    return backend.build(model.config, "masked-lm", weights, dtype="float64", device=None)


def test_words_are_those_of_the_logits(model: Any, tokenizer: Any) -> None:
    (found,) = mobilebert.fill_mask([TWO], model, tokenizer, top=8000)
    batch = tokenizer(TWO, return_tensors="np")
    logits = np.asarray(model(**batch).logits)[0]  # (S, V)
    positions = np.flatnonzero(batch["input_ids"][0] == tokenizer.mask_token_id)
    for place, candidates in zip(positions, found.masks, strict=True):
        scores = np.exp(logits[place] - logits[place].max())
        scores /= scores.sum()
        ids = tokenizer.convert_tokens_to_ids([each.token for each in candidates])
        expected = [i for i in np.argsort(-scores) if i not in tokenizer.all_special_ids]
        assert [int(i) for i in ids] == expected
        assert [each.probability for each in candidates] == pytest.approx(scores[ids].tolist())


def test_every_mask_is_filled_in_order(model: Any, tokenizer: Any) -> None:
    texts = [TWO, "A [MASK].", "[MASK] [MASK] [MASK]"]
    found = mobilebert.fill_mask(texts, model, tokenizer, top=3)
    assert [each.text for each in found] == texts
    assert [[len(masks) for masks in each.masks] for each in found] == [[3, 3], [3], [3, 3, 3]]


def test_text_is_the_same_alone_and_among_others(model: Any, tokenizer: Any) -> None:
    among = mobilebert.fill_mask(["A [MASK] " * 20, TWO], model, tokenizer)[1]
    (alone,) = mobilebert.fill_mask(TWO, model, tokenizer)
    assert [[each.token for each in masks] for masks in among.masks] == [
        [each.token for each in masks] for masks in alone.masks
    ]


def test_word_takes_the_place_of_one_mask_and_all_else_stays(model: Any, tokenizer: Any) -> None:
    (found,) = mobilebert.fill_mask(TWO, steered(model, tokenizer, "of", "to"), tokenizer, top=2)
    assert [[each.text for each in masks] for masks in found.masks] == [
        ["The of  was\ta dark [MASK]!", "The to  was\ta dark [MASK]!"],
        ["The [MASK]  was\ta dark of!", "The [MASK]  was\ta dark to!"],
    ]
    assert found.filled == "The of  was\ta dark of!"


def test_continuation_joins_the_word_before_it(model: Any, tokenizer: Any) -> None:
    (found,) = mobilebert.fill_mask("He walk [MASK].", steered(model, tokenizer, "##ed"), tokenizer)
    assert found.masks[0][0].token == "##ed"
    assert found.filled == "He walked."


def test_continuations_are_left_out_when_whole_words_are_wanted(model: Any, tokenizer: Any) -> None:
    given = steered(model, tokenizer, "##ed", "of", "##ing", "to")
    (every,) = mobilebert.fill_mask(TWO, given, tokenizer, top=4)
    (whole,) = mobilebert.fill_mask(TWO, given, tokenizer, top=2, whole_words=True)
    assert [each.token for each in every.masks[0]] == ["##ed", "of", "##ing", "to"]
    assert [each.token for each in whole.masks[0]] == ["of", "to"]
    assert whole.masks[0][0].probability == every.masks[0][1].probability


def test_special_tokens_are_no_words(model: Any, tokenizer: Any) -> None:
    given = steered(model, tokenizer, "[UNK]", "[MASK]", "of")
    (found,) = mobilebert.fill_mask("A [MASK].", given, tokenizer, top=1)
    assert [each.token for each in found.masks[0]] == ["of"]


def test_packaged_model_is_taken_when_none_is_given(model: Any, tokenizer: Any) -> None:
    (found,) = mobilebert.fill_mask(TWO, backend="numpy")
    (named,) = mobilebert.fill_mask(TWO, packaged.DEFAULT, backend="numpy")
    (given,) = mobilebert.fill_mask(TWO, model, tokenizer)
    assert found == named
    assert found.filled == given.filled


def test_weights_file_brings_the_tokenizer_beside_it(
    model: Any, tokenizer: Any, tmp_path: Path
) -> None:
    mobilebert.save(model, tmp_path / "model", tokenizer=tokenizer)
    file = tmp_path / "model" / "model.safetensors"
    (found,) = mobilebert.fill_mask(TWO, file, backend="numpy")
    (given,) = mobilebert.fill_mask(TWO, model, tokenizer)
    assert found == given


def test_no_texts_give_nothing(model: Any, tokenizer: Any) -> None:
    assert mobilebert.fill_mask([], model, tokenizer) == []


# Errors -------------------------------------------------------------------------------------------


def test_every_text_that_cannot_be_filled_is_told(model: Any, tokenizer: Any) -> None:
    texts: list[Any] = ["fine [MASK]", "none", 5, "long [MASK] " * 200]
    with pytest.raises(InputError) as raised:
        mobilebert.fill_mask(texts, model, tokenizer)
    told = str(raised.value)
    assert "3 faults" in told
    assert "item 1, 'none', has no [MASK]" in told
    assert "item 2 is a int, expected a str" in told
    assert "402 tokens, and the model takes 256" in told


@pytest.mark.parametrize("top", [0, -1, True, 2.0, "3"])
def test_top_that_is_no_positive_integer_raises(top: Any) -> None:
    with pytest.raises(InputError, match=r"top is .*positive integer"):
        mobilebert.fill_mask(TWO, top=top)


def test_loaded_model_without_its_tokenizer_raises(model: Any) -> None:
    with pytest.raises(InputError, match="tokenizer is missing"):
        mobilebert.fill_mask(TWO, model)


def test_backend_for_a_loaded_model_raises(model: Any, tokenizer: Any) -> None:
    with pytest.raises(InputError, match="'torch', but the model is loaded already"):
        mobilebert.fill_mask(TWO, model, tokenizer, backend="torch")


def test_model_with_another_head_raises(tokenizer: Any) -> None:
    other = mobilebert.create(small_config(), "base", "numpy")
    with pytest.raises(InputError, match="a model with a masked-lm head"):
        mobilebert.fill_mask(TWO, other, tokenizer)


def test_checkpoint_that_was_not_trained_for_it_raises(tokenizer: Any, tmp_path: Path) -> None:
    made = mobilebert.create(
        mobilebert.Config.preset("nano", num_hidden_layers=1), "token-classification", "numpy"
    )
    mobilebert.save(made, tmp_path / "model", tokenizer=tokenizer)
    with pytest.raises(CheckpointError, match="token-classification checkpoint without a masked"):
        mobilebert.fill_mask(TWO, tmp_path / "model", backend="numpy")
