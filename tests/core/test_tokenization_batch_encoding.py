"""What a call returns: a dict with attributes, and the way from tokens to words and characters."""

import copy
import doctest
import importlib
import pickle
import pkgutil
import warnings
from pathlib import Path

import pytest

import mobilebert_core.tokenization
from mobilebert_core.errors import TokenizerError
from mobilebert_core.tokenization import (
    BatchEncoding,
    MobileBertTokenizer,
    MobileBertTokenizerFast,
)

KINDS = (MobileBertTokenizer, MobileBertTokenizerFast)
VOCABULARY = Path(__file__).parents[2] / "mobilebert_core" / "tokenization" / "vocab.txt"
MODULES = [module.name for module in pkgutil.iter_modules(mobilebert_core.tokenization.__path__)]
FIRST, SECOND = "Unaffable  Ångström?", "中文, don't"
CALLS = {
    "pair": {"text": FIRST, "text_pair": SECOND},
    "single": {"text": FIRST},
    "windows": {
        "text": FIRST,
        "text_pair": SECOND,
        "max_length": 12,
        "truncation": "only_second",
        "stride": 1,
        "return_overflowing_tokens": True,
    },
    "padded left": {
        "text": [SECOND, FIRST],
        "padding": True,
        "padding_side": "left",
        "pad_to_multiple_of": 32,
    },
    "words": {"text": [["Unaffable", "", "don't"]], "is_split_into_words": True},
    "no special tokens": {"text": [(FIRST, SECOND)], "add_special_tokens": False},
}


@pytest.fixture(scope="module", params=KINDS, ids=["slow", "fast"])
def tokenizer(request):
    return request.param()


@pytest.fixture(scope="module")
def reference():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        transformers = pytest.importorskip("transformers", reason="the independent reference")
    return transformers.BertTokenizer(str(VOCABULARY))


def answers(batch) -> list:
    """Every question that can be asked about tokens, words and characters of every row."""
    found: list = [batch.n_sequences]
    for row, ids in enumerate(batch["input_ids"]):
        for token in range(len(ids)):
            found.append(batch.token_to_sequence(row, token))
            found.append(batch.token_to_word(row, token))
            found.append(batch.token_to_chars(row, token))
        for sequence in range(batch.n_sequences):
            for position in range(25):
                found.append(batch.char_to_token(row, position, sequence))
                found.append(batch.char_to_word(row, position, sequence))
                found.append(batch.word_to_tokens(row, position, sequence))
                if found[-1] is not None:
                    found.append(batch.word_to_chars(row, position, sequence))
    return found


def without_wrapping(found: list) -> list:
    """transformers gives `(sequence, word)` for words of tokens, and spans that are tuples too."""
    return [tuple(item) if isinstance(item, tuple) else item for item in found]


@pytest.mark.parametrize("arguments", CALLS.values(), ids=CALLS.keys())
def test_answers_agree_with_transformers(tokenizer, reference, arguments):
    arguments = dict(arguments)
    if isinstance(arguments["text"], str):
        arguments["text"] = [arguments["text"]]
        if "text_pair" in arguments:
            arguments["text_pair"] = [arguments["text_pair"]]
    ours, theirs = answers(tokenizer(**arguments)), answers(reference(**arguments))
    assert without_wrapping(ours) == without_wrapping(theirs)


def test_one_index_asks_about_the_only_row(tokenizer):
    batch = tokenizer(FIRST)
    assert batch.token_to_chars(1) == batch.token_to_chars(0, 1) == (0, 3)
    assert batch.char_to_token(0) == 1
    assert batch.word_to_tokens(0) == batch.word_to_tokens(0, 0)
    assert batch.token_to_word(-2) == 2
    assert batch.word_to_chars(1) == (11, 19)


def test_spans_have_named_ends(tokenizer):
    batch = tokenizer(FIRST)
    assert (batch.token_to_chars(1).start, batch.word_to_tokens(0).end) == (0, 4)


def test_values_are_attributes_and_rows_are_indices(tokenizer):
    batch = tokenizer([FIRST, SECOND])
    assert batch.input_ids is batch["input_ids"]
    assert batch[1].tokens == batch.tokens(1)
    assert batch[:1]["input_ids"] == batch["input_ids"][:1]
    assert dict(**batch) == dict(batch)
    assert batch.encodings[0].ids == batch["input_ids"][0]


def test_unknown_attribute_names_those_there_are(tokenizer):
    with pytest.raises(AttributeError, match="no 'labels'; it has 'input_ids'"):
        _ = tokenizer(FIRST).labels


@pytest.mark.parametrize(
    "ask",
    [
        lambda batch: batch.tokens(1),
        lambda batch: batch.word_ids(-2),
        lambda batch: batch.token_to_word(99),
        lambda batch: batch.token_to_chars(0, -99),
    ],
)
def test_row_or_token_out_of_range_is_refused(tokenizer, ask):
    with pytest.raises(TokenizerError):
        ask(tokenizer(FIRST))


def test_encoding_made_from_values_knows_no_tokens():
    batch = BatchEncoding({"input_ids": [[1]]})
    assert (batch.encodings, batch.n_sequences) == (None, None)
    with pytest.raises(TokenizerError, match="holds values only"):
        batch.tokens()


def test_to_moves_what_can_be_moved_and_returns_the_encoding():
    class Movable:
        def to(self, device):
            return f"on {device}"

    batch = BatchEncoding({"input_ids": Movable(), "labels": [1]})
    assert batch.to("cpu") is batch
    assert batch == {"input_ids": "on cpu", "labels": [1]}


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_encodings_and_tokenizers_can_be_copied(tokenizer, duplicate):
    batch = tokenizer(FIRST)
    again = duplicate(batch)
    assert again == batch
    assert again.tokens() == batch.tokens()
    assert duplicate(tokenizer)(FIRST) == batch


def test_lists_are_not_shared_between_rows(tokenizer):
    batch = tokenizer(FIRST)
    batch["input_ids"].append(0)
    assert tokenizer(FIRST)["input_ids"] != batch["input_ids"]
    assert batch.encodings[0].ids != batch["input_ids"]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_are_true(name):
    module = importlib.import_module(f"mobilebert_core.tokenization.{name}")
    assert doctest.testmod(module).failed == 0
