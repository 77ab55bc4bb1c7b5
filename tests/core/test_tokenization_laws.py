"""What holds for every text: windows, padding, decoding, and rows put together by hand."""

import itertools

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mobilebert_core.errors import TokenizerError
from mobilebert_core.tokenization import MobileBertTokenizer, MobileBertTokenizerFast

TOKENIZERS = {"slow": MobileBertTokenizer(), "fast": MobileBertTokenizerFast()}
LEFT = {
    "slow": MobileBertTokenizer(truncation_side="left"),
    "fast": MobileBertTokenizerFast(truncation_side="left"),
}
words = ["a", "the", "unaffable", "don't", "中文", ",", "xyzzy"]
texts = st.lists(st.sampled_from(words), max_size=30).map(" ".join)


@pytest.fixture(params=["slow", "fast"])
def name(request):
    return request.param


@pytest.fixture
def tokenizer(name):
    return TOKENIZERS[name]


law = settings(max_examples=100, deadline=None)


@law
@given(text=texts, max_length=st.integers(3, 20), stride=st.integers(0, 10), left=st.booleans())
@pytest.mark.parametrize("key", ["slow", "fast"])
def test_windows_cover_every_token_and_overlap_by_the_stride(key, text, max_length, stride, left):
    assume(stride < max_length - 2)
    tokenizer = (LEFT if left else TOKENIZERS)[key]
    whole = tokenizer.encode(text, add_special_tokens=False)
    batch = tokenizer(
        text, max_length=max_length, truncation=True, stride=stride, return_overflowing_tokens=True
    )
    assert all(len(row) <= max_length for row in batch["input_ids"])
    windows = [row[1:-1] for row in batch["input_ids"]]
    if left:
        windows.reverse()
    joined = windows[0]
    for before, after in itertools.pairwise(windows):
        shared = len(before) if len(before) < stride else stride
        assert before[len(before) - shared :] == after[:shared]
        joined = joined + after[shared:]
    assert joined == whole


@law
@given(
    inputs=st.lists(texts, min_size=1, max_size=4),
    multiple=st.sampled_from([None, 1, 8]),
    side=st.sampled_from(["left", "right"]),
)
@pytest.mark.parametrize("key", ["slow", "fast"])
def test_padding_only_adds_pad_tokens_on_one_side(key, inputs, multiple, side):
    tokenizer = TOKENIZERS[key]
    plain = tokenizer(inputs)
    padded = tokenizer(inputs, padding=True, pad_to_multiple_of=multiple, padding_side=side)
    length = max(map(len, plain["input_ids"]))
    expected = length if multiple is None else -(-length // multiple) * multiple
    for before, after, mask in zip(
        plain["input_ids"], padded["input_ids"], padded["attention_mask"], strict=True
    ):
        assert len(after) == len(mask) == expected
        missing = expected - len(before)
        assert after == ([0] * missing + before if side == "left" else before + [0] * missing)
        assert sum(mask) == len(before)


@law
@given(inputs=st.lists(texts, min_size=1, max_size=4), side=st.sampled_from(["left", "right"]))
@pytest.mark.parametrize("key", ["slow", "fast"])
def test_padding_afterwards_gives_what_padding_at_once_gives(key, inputs, side):
    tokenizer = TOKENIZERS[key]
    arguments = {"return_special_tokens_mask": True, "return_offsets_mapping": True}
    at_once = tokenizer(inputs, padding=True, padding_side=side, **arguments)
    rows = [tokenizer(text, **arguments) for text in inputs]
    assert tokenizer.pad(rows, padding_side=side) == at_once
    assert tokenizer.pad(tokenizer(inputs, **arguments), padding_side=side) == at_once


@law
@given(words=st.lists(st.text("abcdefgh", min_size=1, max_size=8), max_size=10))
@pytest.mark.parametrize("key", ["slow", "fast"])
def test_plain_words_survive_encoding_and_decoding(key, words):
    text = " ".join(words)
    tokenizer = TOKENIZERS[key]
    assert tokenizer.decode(tokenizer.encode(text), skip_special_tokens=True) == text


@law
@given(text=st.text(max_size=20))
@pytest.mark.parametrize("key", ["slow", "fast"])
def test_encoding_what_was_decoded_changes_nothing_more(key, text):
    tokenizer = TOKENIZERS[key]
    ids = tokenizer.encode(text, add_special_tokens=False)
    assume(tokenizer.unk_token_id not in ids)
    decoded = tokenizer.decode(ids, clean_up_tokenization_spaces=False)
    assert tokenizer.encode(decoded, add_special_tokens=False) == ids


@law
@given(text=st.text(max_size=30))
@pytest.mark.parametrize("key", ["slow", "fast"])
def test_offsets_never_go_back_and_stay_inside_the_text(key, text):
    batch = TOKENIZERS[key](text, add_special_tokens=False, return_offsets_mapping=True)
    flat = [bound for offsets in batch["offset_mapping"] for bound in offsets]
    assert all(0 <= bound <= len(text) for bound in flat)
    starts = flat[::2]
    assert starts == sorted(starts)
    assert all(start < end for start, end in batch["offset_mapping"])


@law
@given(first=texts, second=texts, max_length=st.integers(3, 30))
@pytest.mark.parametrize("key", ["slow", "fast"])
def test_longest_first_leaves_texts_of_equal_length_or_one_untouched(
    key, first, second, max_length
):
    tokenizer = TOKENIZERS[key]
    lengths = [len(tokenizer.encode(text, add_special_tokens=False)) for text in (first, second)]
    batch = tokenizer(first, second, truncation=True, max_length=max_length)
    kept = [batch.sequence_ids().count(index) for index in (0, 1)]
    assert sum(kept) == min(sum(lengths), max_length - 3)
    if kept[0] < lengths[0] and kept[1] < lengths[1]:
        assert abs(kept[0] - kept[1]) <= 1
    elif kept[0] < lengths[0]:
        assert kept[0] + 1 >= kept[1]
    elif kept[1] < lengths[1]:
        assert kept[1] + 1 >= kept[0]


def test_batch_gives_what_single_texts_give(tokenizer):
    inputs = ["One.", "", "unaffable 中文"]
    batch = tokenizer(inputs)
    assert batch["input_ids"] == [tokenizer(text)["input_ids"] for text in inputs]


def test_empty_second_text_is_a_text(tokenizer):
    assert tokenizer("a", "")["input_ids"] == tokenizer(["a"], [""])["input_ids"][0]
    assert tokenizer("a", "")["input_ids"] == [101, 1037, 102, 102]


def test_pad_leaves_labels_alone(tokenizer):
    rows = [{"input_ids": [1, 2], "label": 1}, {"input_ids": [3], "label": 0}]
    padded = tokenizer.pad(rows, return_tensors="np")
    assert padded["label"].tolist() == [1, 0]
    assert padded["input_ids"].tolist() == [[1, 2], [3, 0]]


def test_pad_keeps_arrays_arrays(tokenizer):
    rows = [tokenizer(text, return_tensors="np") for text in ("a", "a b")]
    flat = [{name: value[0] for name, value in row.items()} for row in rows]
    assert tokenizer.pad(flat)["input_ids"].shape == (2, 4)


def test_pad_does_not_change_what_it_was_given(tokenizer):
    row = {"input_ids": [1, 2]}
    tokenizer.pad(row, padding="max_length", max_length=4)
    assert row == {"input_ids": [1, 2]}


def test_pad_of_a_single_row_stays_flat(tokenizer):
    padded = tokenizer.pad({"input_ids": [1, 2]}, padding="max_length", max_length=4)
    assert padded == {"input_ids": [1, 2, 0, 0], "attention_mask": [1, 1, 0, 0]}


@pytest.mark.parametrize(
    "features",
    [
        None,
        {},
        [],
        [3],
        {"input_ids": []},
        {"input_ids": 3},
        {"input_ids": [1.5]},
        [{"input_ids": [1]}, {"ids": [1]}],
        [{"label": 1}],
        {"input_ids": [[1], [1, 2]], "attention_mask": [[1], [1]]},
        {"input_ids": [[[1]]]},
    ],
    ids=str,
)
def test_features_that_cannot_be_padded_are_refused(tokenizer, features):
    with pytest.raises(TokenizerError):
        tokenizer.pad(features)
