"""Wrong input: one clear error, the same from both tokenizers, saying what to do."""

import warnings

import numpy as np
import pytest

from mobilebert_core.errors import MobileBertWarning, TokenizerError, UnknownBackendError
from mobilebert_core.tokenization import MobileBertTokenizer, MobileBertTokenizerFast
from mobilebert_core.tokenization.vocabulary import parse_vocabulary

KINDS = (MobileBertTokenizer, MobileBertTokenizerFast)
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
SMALL = {token: index for index, token in enumerate([*SPECIAL, "a", "b"])}


@pytest.fixture(scope="module")
def both():
    return [kind() for kind in KINDS]


@pytest.fixture(params=KINDS, ids=["slow", "fast"])
def kind(request):
    return request.param


CALLS = {
    "none": ({"text": None}, r"text is None \(NoneType\); give a str"),
    "number": ({"text": 3}, r"text is 3 \(int\)"),
    "bytes": ({"text": b"a"}, r"text is b'a' \(bytes\)"),
    "mixed list": ({"text": ["a", None, 3]}, r"2 faults(.|\n)*text\[1\](.|\n)*text\[2\]"),
    "empty batch": ({"text": []}, "empty batch"),
    "array": ({"text": np.array(["a"])}, "ndarray"),
    "nested list": ({"text": [["a", "b"]]}, "is_split_into_words=True"),
    "words that are none": ({"text": "a", "is_split_into_words": True}, "give a list of words"),
    "mixed words": ({"text": ["a", 1], "is_split_into_words": True}, r"text\[1\] is 1"),
    "mixed batch of words": ({"text": [["a"], "b"], "is_split_into_words": True}, r"text\[1\]"),
    "second of another kind": ({"text": "a", "text_pair": ["b"]}, "text_pair is a list"),
    "batch with one second": ({"text": ["a"], "text_pair": "b"}, "text_pair is a str"),
    "fewer seconds": ({"text": ["a", "b"], "text_pair": ["c"]}, "text_pair has 1"),
    "second is none": ({"text": ["a"], "text_pair": [None]}, r"text_pair\[0\] is None"),
    "surrogate": ({"text": "a\ud800"}, r"U\+D800 at index 1"),
    "unknown padding": ({"text": "a", "padding": "most"}, "padding='most' is unknown"),
    "unknown truncation": ({"text": "a", "truncation": "most"}, "truncation='most' is unknown"),
    "number as padding": ({"text": "a", "padding": 1}, "padding=1 is unknown"),
    "max_length zero": ({"text": "a", "max_length": 0}, "max_length=0"),
    "max_length float": ({"text": "a", "max_length": 4.0}, r"max_length=4\.0"),
    "negative stride": ({"text": "a", "stride": -1}, "stride=-1"),
    "wide stride": ({"text": "a", "max_length": 4, "stride": 2}, "stride=2"),
    "stride over the limit": ({"text": "a", "max_length": 4, "stride": 9}, "stride=9"),
    "no room": ({"text": "a", "text_pair": "b", "max_length": 2}, "leaves -1 tokens"),
    "no second": ({"text": "a b c", "truncation": "only_second", "max_length": 3}, "no second"),
    "first cannot give way": (
        {"text": "a", "text_pair": "b c d e", "truncation": "only_first", "max_length": 5},
        "cannot cut 1 tokens",
    ),
    "window of a pair within its stride": (
        {
            "text": "a b c d",
            "text_pair": "a b c d",
            "max_length": 7,
            "stride": 2,
            "return_overflowing_tokens": True,
        },
        "only 2 tokens of the text fit",
    ),
    "windows without room": (
        {"text": "a b", "max_length": 2, "return_overflowing_tokens": True},
        "only 0 tokens",
    ),
    "multiple that does not fit": (
        {
            "text": "a",
            "max_length": 9,
            "truncation": True,
            "padding": True,
            "pad_to_multiple_of": 8,
        },
        "multiple of 8",
    ),
    "multiple without padding": ({"text": "a", "pad_to_multiple_of": 8}, "nothing is padded"),
    "unknown side": ({"text": "a", "padding_side": "top"}, "padding_side='top'"),
    "tensors of no name": ({"text": "a", "return_tensors": 3}, "return_tensors=3"),
    "ragged tensors": ({"text": ["a", "a b"], "return_tensors": "np"}, "pass padding=True"),
}


@pytest.mark.parametrize(("arguments", "message"), CALLS.values(), ids=CALLS.keys())
def test_wrong_calls_raise_the_same_error_in_both(both, arguments, message):
    raised = []
    for tokenizer in both:
        with pytest.raises(TokenizerError, match=message) as caught:
            tokenizer(**arguments)
        raised.append(str(caught.value))
    assert raised[0] == raised[1]


def test_unknown_framework_is_the_error_of_the_registry(both):
    for tokenizer in both:
        with pytest.raises(UnknownBackendError):
            tokenizer("a", return_tensors="mlx")


def test_many_faults_are_counted_not_listed(both):
    with pytest.raises(TokenizerError, match="and 10 more"):
        both[0]([None] * 30)


@pytest.mark.parametrize("ids", [-100, 30522, [1, -1], [1.5], "a", None, [None], True])
def test_ids_that_are_none_are_refused(both, ids):
    for tokenizer in both:
        with pytest.raises(TokenizerError):
            tokenizer.decode(ids)


@pytest.mark.parametrize("tokens", [None, 3, ["a", 3], b"a"])
def test_tokens_that_are_none_are_refused(both, tokens):
    for tokenizer in both:
        with pytest.raises(TokenizerError):
            tokenizer.convert_tokens_to_ids(tokens)


def test_text_longer_than_the_model_takes_warns_and_keeps_all_tokens(both):
    for tokenizer in both:
        with pytest.warns(MobileBertWarning, match="602 tokens, but the model takes 512"):
            ids = tokenizer("a " * 600)["input_ids"]
        assert len(ids) == 602


def test_warning_points_at_the_caller(both):
    with pytest.warns(MobileBertWarning) as caught:
        both[0]("a " * 600)
    assert caught[0].filename == __file__


@pytest.mark.parametrize(
    "arguments", [{"truncation": True}, {"verbose": False}, {"max_length": 700}]
)
def test_text_longer_than_the_model_takes_does_not_warn_when_it_is_meant(both, arguments):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for tokenizer in both:
            tokenizer("a " * 600, **arguments)


def test_length_that_nothing_looks_at_warns(both):
    for tokenizer in both:
        with pytest.warns(MobileBertWarning, match="max_length changes nothing"):
            tokenizer(["a", "b"], padding=True, max_length=9)


SETTINGS = {
    "unknown": ({"do_lowercase": True}, "do_lowercase"),
    "no bool": ({"do_lower_case": "yes"}, "do_lower_case is 'yes'"),
    "accents": ({"strip_accents": "no"}, "strip_accents"),
    "length": ({"model_max_length": -1}, "model_max_length is -1"),
    "side": ({"padding_side": "top"}, "padding_side is 'top'"),
    "no token": ({"cls_token": 3}, "3 is no token"),
    "empty token": ({"cls_token": ""}, "cls_token is ''"),
    "missing token": ({"mask_token": "<mask>"}, "mask_token '<mask>' is missing"),
    "missing word": ({"never_split": ["zzyzx"]}, "never_split word 'zzyzx' is missing"),
    "words as text": ({"never_split": "the"}, "never_split is 'the'"),
    "two vocabularies": ({"vocab_file": "v.txt", "vocab": SMALL}, "both given"),
    "no vocabulary": ({"vocab": {}}, "empty"),
    "list as vocabulary": ({"vocab": ["a"]}, "is a list"),
    "gap": ({"vocab": {**SMALL, "c": 9}}, "'c' has id 9 where 7 is next"),
    "one id twice": ({"vocab": {**SMALL, "c": 6}}, "id 6 where 7 is next"),
    "id that is none": ({"vocab": {**SMALL, "c": "7"}}, "give an int"),
    "missing special": ({"vocab": {"a": 0}}, "5 faults"),
    "no path": ({"vocab_file": 3}, "vocab_file is 3"),
    "no file": ({"vocab_file": "no/such/vocab.txt"}, "cannot be read"),
    "added gap": ({"added_tokens_decoder": {40000: "zzyzx"}}, "id 40000 where 30522 is next"),
    "added to a taken id": ({"added_tokens_decoder": {5: "zzyzx"}}, "which is '.unused4.'"),
    "added under another id": ({"added_tokens_decoder": {30522: "the"}}, "but 1996"),
    "added under no id": ({"added_tokens_decoder": {"x": "x"}}, "no id of an added token"),
}


@pytest.mark.parametrize(("arguments", "message"), SETTINGS.values(), ids=SETTINGS.keys())
def test_wrong_settings_raise_the_same_error_in_both(arguments, message):
    raised = []
    for kind in KINDS:
        with pytest.raises(TokenizerError, match=message) as caught:
            kind(**arguments)
        raised.append(str(caught.value))
    assert raised[0] == raised[1]


def test_all_wrong_settings_are_listed(kind):
    with pytest.raises(TokenizerError, match="2 faults"):
        kind(do_lower_case=1, padding_side="top")


def test_setting_a_wrong_side_is_refused(kind):
    with pytest.raises(TokenizerError, match="padding_side"):
        kind(vocab=SMALL).padding_side = "top"


def test_repeated_and_empty_lines_of_a_vocabulary_are_listed():
    with pytest.raises(TokenizerError, match="2 faults") as caught:
        parse_vocabulary("a\n\na\n", "v.txt")
    assert "line 2 is empty" in str(caught.value)
    assert "line 3 repeats 'a' of line 1" in str(caught.value)


def test_missing_length_means_that_of_the_model(kind):
    assert kind(vocab=SMALL, model_max_length=None).model_max_length == 512
    assert kind(vocab=SMALL, model_max_length=10**30).model_max_length == 512
