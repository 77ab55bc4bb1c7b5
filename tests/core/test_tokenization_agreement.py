"""Both tokenizers against each other and against the transformers library, token by token."""

import gzip
import random
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mobilebert_core.tokenization import MobileBertTokenizer, MobileBertTokenizerFast

SAMPLE = Path(__file__).parents[1] / "data" / "tokenization" / "sample.txt"
VOCABULARY = Path(__file__).parents[2] / "mobilebert_core" / "tokenization" / "vocab.txt"
TEXT_SUFFIXES = {".txt", ".tsv", ".csv", ".jsonl", ".json", ".conll", ".annotated", ".md"}
OPTIONS = [
    {},
    {"do_lower_case": False},
    {"strip_accents": False},
    {"do_lower_case": False, "strip_accents": True},
    {"tokenize_chinese_chars": False},
]


@pytest.fixture(scope="module")
def transformers():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("transformers", reason="the independent reference")


@pytest.fixture(scope="module", params=OPTIONS, ids=str)
def three(request, transformers):
    """Slow, fast and transformers' tokenizer with the same settings."""
    reference = transformers.BertTokenizer(str(VOCABULARY), **request.param)
    return (
        MobileBertTokenizer(**request.param),
        MobileBertTokenizerFast(**request.param),
        reference,
    )


def rows(tokenizer, texts: list[str]) -> list[tuple]:
    """Ids, offsets, tokens and words of each text."""
    batch = tokenizer(texts, return_offsets_mapping=True, verbose=False)
    return [
        (ids, offsets, batch.tokens(index), batch.word_ids(index))
        for index, (ids, offsets) in enumerate(
            zip(batch["input_ids"], batch["offset_mapping"], strict=True)
        )
    ]


def assert_agree(tokenizers, texts: list[str]) -> None:
    results = [rows(tokenizer, texts) for tokenizer in tokenizers]
    for other in results[1:]:
        wrong = [t for t, a, b in zip(texts, results[0], other, strict=True) if a != b]
        assert not wrong, f"{len(wrong)} texts differ, e.g. {wrong[0]!a}"


def test_sample_agrees_when_settings_vary(three):
    assert_agree(three, SAMPLE.read_text(encoding="utf-8").split("\n"))


fragments = st.sampled_from(
    [
        *("[MASK]", "[mask]", "[SEP", "##ing", "[CLS][PAD]", "don't", "hello", "Ünïcödé"),
        *("İstanbul", "中文", "日本語", "한국어", "\u0345\u0301", "\t\r\n", "\x00\x85\u200d", "ﬁ"),
        "x" * 101,
    ]
)
unicode_texts = st.text(max_size=30)
mixed_texts = st.lists(st.one_of(fragments, st.text(max_size=4)), max_size=12).map("".join)
mark_texts = st.text(
    st.sampled_from([*map(chr, range(768, 832)), "ͅ", "〮", "𝅥", *"aé中 "]),
    max_size=20,
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(unicode_texts, mixed_texts, mark_texts), min_size=1, max_size=8))
def test_made_up_unicode_agrees(three, texts):
    assert_agree(three, texts)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(max_size=8), max_size=6))
def test_words_agree_when_text_is_split_already(three, words):
    results = []
    for tokenizer in three:
        batch = tokenizer([words], is_split_into_words=True, return_offsets_mapping=True)
        results.append((batch["input_ids"], batch["offset_mapping"], batch.word_ids(0)))
    assert results[0] == results[1] == results[2]


@pytest.fixture(scope="module")
def whitespace_tokenizers():
    kinds = (MobileBertTokenizer, MobileBertTokenizerFast)
    return [kind(do_basic_tokenize=False) for kind in kinds]


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=30))
def test_whitespace_splitting_agrees_without_basic_tokenization(whitespace_tokenizers, text):
    assert_agree(whitespace_tokenizers, [text])


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 30521), max_size=20), st.booleans(), st.booleans())
def test_decoded_text_agrees(three, ids, skip_special_tokens, clean_up):
    slow, fast, reference = three
    arguments = {
        "skip_special_tokens": skip_special_tokens,
        "clean_up_tokenization_spaces": clean_up,
    }
    expected = reference.decode(ids, **arguments)
    assert slow.decode(ids, **arguments) == fast.decode(ids, **arguments) == expected


def test_legacy_python_tokenizer_agrees_on_the_sample(transformers):
    # It has no offsets, and differs only for characters that the sample does not hold.
    from transformers.models.bert.tokenization_bert_legacy import BertTokenizerLegacy

    legacy = BertTokenizerLegacy(str(VOCABULARY))
    slow = MobileBertTokenizer()
    lines = SAMPLE.read_text(encoding="utf-8").split("\n")
    wrong = [line for line in lines if legacy.tokenize(line) != slow.tokenize(line)]
    assert wrong == []


def corpus_lines(folder: Path) -> Iterator[str]:
    """Every line of every text file, members of archives too."""
    for path in sorted(folder.rglob("*")):
        if path.suffix in TEXT_SUFFIXES:
            contents = [path.read_bytes()]
        elif path.suffix == ".gz":
            contents = [gzip.decompress(path.read_bytes())]
        elif path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                contents = [archive.read(name) for name in archive.namelist() if name[-1] != "/"]
        else:
            continue
        for content in contents:
            try:
                text = content.decode()
            except UnicodeDecodeError:
                text = content.decode("latin-1")  # some old speeches are no UTF-8
            yield from text.split("\n")


@pytest.mark.slow
def test_every_line_of_the_real_data_agrees(shared_data, transformers):
    lines = list(dict.fromkeys(corpus_lines(shared_data)))  # each line once
    assert len(lines) > 150_000
    tokenizers = (
        MobileBertTokenizer(),
        MobileBertTokenizerFast(),
        transformers.BertTokenizer(str(VOCABULARY)),
    )
    for start in range(0, len(lines), 2_000):
        assert_agree(tokenizers, lines[start : start + 2_000])


def test_cached_words_give_the_same_when_the_cache_has_overflown(monkeypatch):
    monkeypatch.setattr("mobilebert_core.tokenization.wordpiece._CACHED_WORDS", 3)
    lines = SAMPLE.read_text(encoding="utf-8").split("\n")[:50]
    random.Random(0).shuffle(lines)
    slow = MobileBertTokenizer()
    assert_agree([slow, MobileBertTokenizerFast()], lines)
    assert len(slow._wordpiece._seen) <= 3


@pytest.mark.parametrize(("length", "tokens"), [(100, 50), (101, 1)])
def test_word_beyond_the_limit_is_unknown(length, tokens):
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "ab", "##ab", "##a"]
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    word = ("ab" * 51)[:length]
    for kind in (MobileBertTokenizer, MobileBertTokenizerFast):
        assert len(kind(vocab=vocabulary).tokenize(word)) == tokens
