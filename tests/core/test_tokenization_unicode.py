"""The Unicode tables of the Python tokenizer against the Rust library, for every character."""

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers

from mobilebert_core.tokenization.added_tokens import is_word_character
from mobilebert_core.tokenization.normalization import Normalizer, combining_class, decompose, lower
from mobilebert_core.tokenization.slow import _WORDS
from mobilebert_core.tokenization.unicode_tables import (
    CHINESE,
    KEPT_MARKS,
    NONSPACING_MARKS,
    PUNCTUATION,
    REMOVED,
    WHITESPACE,
    contains,
)

ALL = [chr(code) for code in range(0x110000) if not 0xD800 <= code <= 0xDFFF]
MARKS = [character for character in ALL if unicodedata.combining(character)]


def rust_normalizer(**options: bool) -> normalizers.BertNormalizer:
    off = dict.fromkeys(("clean_text", "handle_chinese_chars", "strip_accents", "lowercase"), False)
    return normalizers.BertNormalizer(**(off | options))


def differing(ours, theirs) -> list[str]:
    return [hex(ord(character)) for character in ALL if ours(character) != theirs(character)][:20]


@pytest.mark.slow
def test_removed_and_whitespace_agree_with_rust_for_every_character():
    rust = rust_normalizer(clean_text=True)

    def ours(character):
        if contains(REMOVED, character):
            return ""
        return " " if contains(WHITESPACE, character) else character

    assert differing(ours, rust.normalize_str) == []


@pytest.mark.slow
def test_ideographs_agree_with_rust_for_every_character():
    rust = rust_normalizer(handle_chinese_chars=True)
    assert differing(lambda c: f" {c} " if contains(CHINESE, c) else c, rust.normalize_str) == []


@pytest.mark.slow
def test_accents_agree_with_rust_for_every_character():
    rust = rust_normalizer(strip_accents=True)

    def ours(character):
        parts = decompose(character)
        return "".join(part for part in parts if not contains(NONSPACING_MARKS, part))

    assert differing(ours, rust.normalize_str) == []


@pytest.mark.slow
def test_lower_case_agrees_with_rust_for_every_character():
    assert differing(lower, rust_normalizer(lowercase=True).normalize_str) == []


@pytest.mark.slow
def test_word_boundaries_agree_with_rust_for_every_character():
    rust = pre_tokenizers.BertPreTokenizer()

    def theirs(character):
        return [span for _, span in rust.pre_tokenize_str(f"a{character}b")]

    assert differing(lambda c: [m.span() for m in _WORDS.finditer(f"a{c}b")], theirs) == []


@pytest.mark.slow
def test_word_characters_agree_with_rust_for_every_character():
    rust = Tokenizer(models.WordPiece({"[UNK]": 0}, unk_token="[UNK]"))
    rust.add_tokens([AddedToken("qq", single_word=True, normalized=False)])
    encodings = rust.encode_batch([f"qq{character}" for character in ALL])
    blocked = {c for c, e in zip(ALL, encodings, strict=True) if e.ids[0] == 0}
    assert differing(is_word_character, lambda c: c in blocked) == []


@pytest.mark.slow
def test_combining_classes_agree_with_rust_for_every_mark():
    rust = normalizers.NFD()
    single = [mark for mark in MARKS if decompose(mark) == mark]
    representatives = {combining_class(mark): mark for mark in single}
    wrong = [
        (hex(ord(mark)), other_class)
        for mark in single
        for other_class, other in representatives.items()
        if other_class
        and (rust.normalize_str(f"a{mark}{other}") == f"a{mark}{other}")
        != (combining_class(mark) == 0 or combining_class(mark) <= other_class)
    ]
    assert wrong == []


def test_tables_are_sorted_ranges():
    for table in (REMOVED, WHITESPACE, CHINESE, PUNCTUATION, NONSPACING_MARKS, KEPT_MARKS):
        flat = [bound for pair in table for bound in pair]
        assert flat == sorted(flat)


def test_range_holds_its_ends_and_nothing_beside():
    assert [contains(((5, 7), (9, 9)), chr(code)) for code in range(4, 11)] == [
        *(False, True, True, True, False, True, False)
    ]


def test_new_marks_stay_where_the_rust_tables_do_not_know_them():
    # U+0898 is a mark since Unicode 14, the Rust table ends with Unicode 8.
    assert Normalizer().normalize("a\u0898")[0] == "a\u0898"


def test_ideograph_in_the_gap_of_the_rust_table_gets_no_spaces():
    # The BERT code has U+2B820, the Rust table begins that block at U+2B920.
    assert Normalizer().normalize("\U0002b820")[0] == "\U0002b820"
    assert Normalizer().normalize("\U0002b920")[0] == " \U0002b920 "


def test_sigma_at_the_end_of_a_word_is_an_ordinary_sigma():
    assert Normalizer().normalize("ΟΔΟΣ")[0] == "οδοσ"


@pytest.mark.parametrize(("strip", "expected"), [(True, "i"), (False, "i\u0307")])
def test_dotted_capital_i_follows_accent_stripping(strip, expected):
    assert Normalizer(strip_accents=strip).normalize("İ")[0] == expected


def test_positions_stay_in_order_when_marks_are_reordered():
    # The musical stem (class 216) moves before the acute (230), which is dropped.
    text, sources = Normalizer().normalize("a\u0301\U0001d165b")
    assert (text, sources) == ("a\U0001d165b", [0, 1, 3])


def test_parts_of_a_character_share_its_position_when_marks_are_reordered():
    text, sources = Normalizer().normalize("é\U0001d165b")
    assert (text, sources) == ("e\U0001d165b", [0, 1, 2])


def test_character_newer_than_the_rust_table_is_not_decomposed():
    assert decompose("\U00011938") == "\U00011938"


def test_letter_newer_than_python_has_a_lower_case():
    assert lower("\ua7cb") == "ɤ"


mark_texts = st.text(
    st.one_of(
        st.sampled_from([chr(c) for first, last in KEPT_MARKS for c in range(first, last + 1)]),
        st.sampled_from(MARKS),
        st.sampled_from("ab \x00\t中İÅ가\U0001d15e\U0001d1bc\u0344\u0f73"),
    ),
    max_size=12,
)
options = st.fixed_dictionaries(
    {
        "lower_case": st.booleans(),
        "strip_accents": st.sampled_from([None, True, False]),
        "space_chinese": st.booleans(),
    }
)


@settings(max_examples=500, deadline=None)
@given(st.one_of(mark_texts, st.text(max_size=12)), options)
def test_normalized_text_agrees_with_rust_when_options_vary(text, chosen):
    rust = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=chosen["space_chinese"],
        strip_accents=chosen["strip_accents"],
        lowercase=chosen["lower_case"],
    )
    normalized, sources = Normalizer(**chosen).normalize(text)
    assert normalized == rust.normalize_str(text)
    assert sources is None or len(sources) == len(normalized)
