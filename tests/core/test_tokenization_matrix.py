"""The whole interface of a call: both tokenizers against the transformers library."""

import itertools
import warnings
from pathlib import Path

import pytest

from mobilebert_core.errors import TokenizerError
from mobilebert_core.tokenization import MobileBertTokenizer, MobileBertTokenizerFast

VOCABULARY = Path(__file__).parents[2] / "mobilebert_core" / "tokenization" / "vocab.txt"
LONG = "The unaffable Café owner said: 'Don't!' 中文 and left, twice."
SHORT = "Why so?"
RETURNS = {
    "return_offsets_mapping": True,
    "return_special_tokens_mask": True,
    "return_length": True,
    "return_token_type_ids": True,
    "return_attention_mask": True,
}
INPUTS = {
    "text": {"text": LONG},
    "pair": {"text": SHORT, "text_pair": LONG},
    "batch": {"text": [LONG, SHORT, ""]},
    "pairs": {"text": [LONG, SHORT, LONG], "text_pair": [SHORT, LONG, LONG]},
    "tuples": {"text": [(LONG, SHORT), (SHORT, LONG)]},
    "tuples among texts": {"text": [(LONG, SHORT), LONG, SHORT]},
    "words": {"text": LONG.split(), "is_split_into_words": True},
    "word pairs": {
        "text": [LONG.split(), SHORT.split()],
        "text_pair": [SHORT.split(), LONG.split()],
        "is_split_into_words": True,
    },
}
TRUNCATIONS = [
    {},
    {"truncation": True, "max_length": 12},
    {"truncation": "longest_first", "max_length": 11},
    {"truncation": "only_first", "max_length": 24},
    {"truncation": "only_second", "max_length": 24},
    {"truncation": "do_not_truncate", "max_length": 12},
    {"max_length": 12},
]
PADDINGS = [
    {},
    {"padding": True},
    {"padding": "max_length", "max_length": 40},
    {"padding": "longest", "pad_to_multiple_of": 8, "padding_side": "left"},
]


@pytest.fixture(scope="module")
def three():
    """Slow, fast and transformers' tokenizer, for both sides of truncation."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        transformers = pytest.importorskip("transformers", reason="the independent reference")
    return {
        side: (
            MobileBertTokenizer(truncation_side=side),
            MobileBertTokenizerFast(truncation_side=side),
            transformers.BertTokenizer(str(VOCABULARY), truncation_side=side, model_max_length=512),
        )
        for side in ("left", "right")
    }


def outcome(tokenizer, arguments: dict) -> dict | str:
    """What a call returns, rows included, or "error"."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            batch = tokenizer(**arguments)
        except TokenizerError as error:
            return str(error)
        except BaseException:
            # The Rust library panics, which is no Exception.
            return "error"
    rows = range(len(batch.encodings))
    return {
        **batch,
        "tokens": [batch.tokens(row) for row in rows],
        "word_ids": [batch.word_ids(row) for row in rows],
        "sequence_ids": [batch.sequence_ids(row) for row in rows],
    }


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("truncation", TRUNCATIONS, ids=str)
@pytest.mark.parametrize("inputs", INPUTS.values(), ids=INPUTS.keys())
def test_calls_agree_when_arguments_are_combined(three, inputs, truncation, side):
    wrong = []
    for padding, stride, overflow, special in itertools.product(
        PADDINGS, (0, 2), (False, True), (True, False)
    ):
        arguments = {
            **inputs,
            **truncation,
            **padding,
            **RETURNS,
            "stride": stride if truncation else 0,
            "return_overflowing_tokens": overflow,
            "add_special_tokens": special,
        }
        slow, fast, reference = (outcome(tokenizer, arguments) for tokenizer in three[side])
        if slow != fast:
            wrong.append(("slow and fast differ", arguments, slow, fast))
        elif isinstance(slow, str) != isinstance(reference, str):
            wrong.append(("only one raises", arguments, slow, reference))
        elif isinstance(slow, dict) and slow != reference:
            wrong.append(("reference differs", arguments, slow, reference))
    assert not wrong, f"{len(wrong)} combinations, e.g. {wrong[0]}"


@pytest.mark.parametrize("tensors", ["np", "pt"])
def test_tensors_hold_the_values_of_the_lists(three, tensors):
    if tensors == "pt":
        pytest.importorskip("torch", reason="PyTorch is not installed")
    for tokenizer in three["right"]:
        lists = tokenizer([LONG, SHORT], padding=True)
        arrays = tokenizer([LONG, SHORT], padding=True, return_tensors=tensors)
        assert {name: arrays[name].tolist() for name in arrays} == dict(lists)


def test_tensors_of_a_single_text_have_a_batch_axis(three):
    for tokenizer in three["right"][:2]:
        batch = tokenizer(SHORT, return_tensors="np", return_offsets_mapping=True)
        assert batch["input_ids"].shape == (1, 5)
        assert {str(array.dtype) for array in batch.values()} == {"int64"}
        assert batch["offset_mapping"].shape == (1, 5, 2)


def test_defaults_of_returned_names_follow_model_input_names():
    for kind in (MobileBertTokenizer, MobileBertTokenizerFast):
        assert list(kind()(SHORT)) == ["input_ids", "token_type_ids", "attention_mask"]
        assert list(kind(model_input_names=["input_ids"])(SHORT)) == ["input_ids"]


PROPERTIES = [
    "vocab",
    "vocab_size",
    "all_special_tokens",
    "all_special_ids",
    "pad_token",
    "pad_token_id",
    "mask_token",
    "mask_token_id",
    "cls_token",
    "cls_token_id",
    "sep_token",
    "sep_token_id",
    "unk_token",
    "unk_token_id",
    "padding_side",
    "truncation_side",
    "model_max_length",
    "is_fast",
    "special_tokens_map",
]


@pytest.mark.parametrize("name", PROPERTIES)
def test_properties_agree_with_transformers(three, name):
    slow, fast, reference = three["right"]
    values = [getattr(slow, name), getattr(fast, name), getattr(reference, name)]
    if name == "is_fast":
        assert values == [False, True, True]
    else:
        assert values[0] == values[1] == values[2]


def test_lookups_agree_with_transformers(three):
    results = [
        (
            len(tokenizer),
            tokenizer.get_vocab(),
            tokenizer.convert_tokens_to_ids(["the", "##ing", "no such token"]),
            tokenizer.convert_tokens_to_ids("[MASK]"),
            tokenizer.convert_ids_to_tokens([101, 1996, 102], skip_special_tokens=True),
            tokenizer.convert_ids_to_tokens(103),
            tokenizer.convert_tokens_to_string(["una", "##ffa", "##ble", "!", "it", "'", "s"]),
            tokenizer.num_special_tokens_to_add(),
            tokenizer.num_special_tokens_to_add(pair=True),
            tokenizer.tokenize(LONG, pair=SHORT, add_special_tokens=True),
            tokenizer.encode(LONG, SHORT, max_length=9, truncation=True),
            tokenizer.get_special_tokens_mask([101, 7, 102], already_has_special_tokens=True),
            tokenizer.batch_decode([[101, 1996, 102], [103]]),
        )
        for tokenizer in three["right"]
    ]
    assert results[0] == results[1] == results[2]
