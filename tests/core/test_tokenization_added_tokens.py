"""Added tokens: where they match, what ids they get, and what they leave to the words around."""

import warnings
from pathlib import Path

import pytest
import tokenizers
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from mobilebert_core.errors import TokenizerError
from mobilebert_core.tokenization import AddedToken, MobileBertTokenizer, MobileBertTokenizerFast

VOCABULARY = {
    token: index
    for index, token in enumerate(
        ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abc", "##a", "##b"]
    )
}


@pytest.fixture(params=[MobileBertTokenizer, MobileBertTokenizerFast], ids=["slow", "fast"])
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def reference_class():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        transformers = pytest.importorskip("transformers", reason="the independent reference")
    return transformers.BertTokenizer


contents = st.text(st.sampled_from("abAé x[]\u0301中_"), min_size=1, max_size=4)
added_tokens = st.builds(
    AddedToken,
    contents,
    single_word=st.booleans(),
    lstrip=st.booleans(),
    rstrip=st.booleans(),
    normalized=st.booleans(),
    special=st.booleans(),
)
texts = st.text(st.sampled_from("abABé x[]\u0301中_\t,\u00ad\u0378"), max_size=25)


@settings(max_examples=400, deadline=None)
@given(
    st.lists(added_tokens, min_size=1, max_size=5, unique_by=lambda token: token.content),
    st.lists(texts, min_size=1, max_size=6),
)
def test_matches_agree_with_transformers_for_all_flags(reference_class, tokens, inputs):
    ours = [MobileBertTokenizer(vocab=VOCABULARY), MobileBertTokenizerFast(vocab=VOCABULARY)]
    theirs = reference_class(dict(VOCABULARY))
    rust = [tokenizers.AddedToken(token.content, **flags(token)) for token in tokens]
    try:
        counts = [tokenizer.add_tokens(tokens) for tokenizer in ours]
    except TokenizerError:
        reject()
    counts.append(theirs.add_tokens(rust))
    assert counts[0] == counts[1] == counts[2]
    results = []
    for tokenizer in (*ours, theirs):
        batch = tokenizer(inputs, return_offsets_mapping=True)
        rows = range(len(inputs))
        results.append(
            (
                batch["input_ids"],
                batch["offset_mapping"],
                [batch.tokens(row) for row in rows],
                [batch.word_ids(row) for row in rows],
                tokenizer.get_vocab(),
                tokenizer.decode(batch["input_ids"][0], skip_special_tokens=True),
            )
        )
    assert results[0] == results[1]
    assert results[0][:5] == results[2][:5]


def flags(token: AddedToken) -> dict[str, bool]:
    names = ("single_word", "lstrip", "rstrip", "normalized", "special")
    return {name: getattr(token, name) for name in names}


def test_spaces_that_one_token_swallowed_are_not_swallowed_again(kind):
    # Ideographs get spaces, so the second pattern begins where the first has ended already.
    tokenizer = kind(vocab=VOCABULARY)
    tokenizer.add_tokens([AddedToken("[", rstrip=True), AddedToken("中", lstrip=True)])
    assert tokenizer.tokenize("[中") == ["[ ", "中 "]


def test_longest_of_several_matches_wins(kind):
    tokenizer = kind()
    tokenizer.add_tokens(["zed", "zedzed", "ze"])
    assert tokenizer.tokenize("zedzedze") == ["zedzed", "ze"]


def test_single_word_does_not_match_beside_a_circled_letter(kind):
    # Circled letters are symbols by category, but letters to the Rust library.
    tokenizer = kind()
    tokenizer.add_tokens(AddedToken("zed", single_word=True, normalized=False))
    assert tokenizer.tokenize("zedⒶ")[0] != "zed"
    assert tokenizer.tokenize("zed☃")[0] == "zed"


def test_added_word_gets_the_next_id_and_counts_in_the_length(kind):
    tokenizer = kind()
    assert tokenizer.add_tokens(["covid-19", "zzyzx"]) == 2
    assert (len(tokenizer), tokenizer.vocab_size) == (30524, 30522)
    assert tokenizer.convert_tokens_to_ids(["covid-19", "zzyzx"]) == [30522, 30523]
    assert tokenizer.get_added_vocab()["zzyzx"] == 30523


def test_word_of_the_vocabulary_keeps_its_id_when_added(kind):
    tokenizer = kind()
    tokenizer.add_tokens("hello")
    assert tokenizer.convert_tokens_to_ids("hello") == 7592
    assert len(tokenizer) == 30522


def test_adding_the_same_token_again_changes_nothing(kind):
    tokenizer = kind()
    assert [tokenizer.add_tokens("zzyzx"), tokenizer.add_tokens("zzyzx")] == [1, 0]


def test_adding_with_other_flags_changes_how_it_matches(kind):
    tokenizer = kind()
    tokenizer.add_tokens(AddedToken("Zed", normalized=False))
    assert tokenizer.tokenize("zed Zed")[-1] == "Zed"
    assert tokenizer.tokenize("zed Zed")[0] != "zed"
    assert tokenizer.add_tokens(AddedToken("Zed", normalized=True)) == 1
    assert tokenizer.tokenize("zed Zed") == ["zed", "zed"]


def test_new_cls_token_begins_rows(kind):
    tokenizer = kind()
    assert tokenizer.add_special_tokens({"cls_token": "<s>"}) == 1
    assert tokenizer("hello")["input_ids"] == [30522, 7592, 102]
    assert (tokenizer.cls_token, tokenizer.cls_token_id) == ("<s>", 30522)


def test_additional_special_tokens_are_skipped_when_decoding(kind):
    tokenizer = kind()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<user>"]})
    ids = tokenizer("<user> hello")["input_ids"]
    assert tokenizer.decode(ids, skip_special_tokens=True) == "hello"
    assert "<user>" in tokenizer.all_special_tokens


def test_never_split_word_stays_whole_and_as_written(kind):
    # "[unused1]" is in the vocabulary, but its brackets are punctuation.
    plain, kept = kind(), kind(never_split=["[unused1]"])
    assert plain.tokenize("a [unused1] b") != kept.tokenize("a [unused1] b")
    assert kept.tokenize("a [unused1] b") == ["a", "[unused1]", "b"]


def test_special_token_with_flags_keeps_them(kind):
    tokenizer = kind(mask_token=AddedToken("[MASK]", lstrip=True, special=True))
    assert tokenizer("a [MASK]", return_offsets_mapping=True)["offset_mapping"][2] == (1, 8)


def test_token_of_the_tokenizers_library_is_understood(kind):
    tokenizer = kind()
    tokenizer.add_tokens(tokenizers.AddedToken("zed", single_word=True))
    assert tokenizer.added_tokens_decoder[30522] == AddedToken(
        "zed", single_word=True, normalized=True
    )


@pytest.mark.parametrize("value", [None, 3, "", ["a", None], [""], "\ud800", {"content": 3}])
def test_something_that_is_no_token_is_refused(kind, value):
    with pytest.raises(TokenizerError, match="give"):
        kind().add_tokens(value)


def test_token_without_content_after_normalization_is_refused(kind):
    with pytest.raises(TokenizerError, match="nothing left to match"):
        kind().add_tokens("\u0301")


def test_two_tokens_that_match_alike_are_refused(kind):
    tokenizer = kind()
    tokenizer.add_tokens("zed")
    with pytest.raises(TokenizerError, match="'ZÉD' and 'zed' match the same"):
        tokenizer.add_tokens("ZÉD")
    assert tokenizer.add_tokens(AddedToken("ZÉD", normalized=False)) == 1


def test_token_of_whitespace_only_is_refused(kind):
    with pytest.raises(TokenizerError, match="nothing but whitespace"):
        kind().add_tokens(AddedToken(" \t", normalized=False))


@pytest.mark.parametrize(
    "given", [{"bos_token": "<s>"}, {"additional_special_tokens": "<s>"}, {"cls_token": None}]
)
def test_invalid_special_tokens_are_refused(kind, given):
    tokenizer = kind()
    with pytest.raises(TokenizerError):
        tokenizer.add_special_tokens(given)
    assert tokenizer.cls_token == "[CLS]"


def test_shipped_vocabulary_is_that_of_uncased_bert():
    path = Path(__file__).parents[2] / "mobilebert_core" / "tokenization" / "vocab.txt"
    lines = path.read_text(encoding="utf-8").splitlines()
    assert (len(lines), lines[0], lines[100:104]) == (
        30522,
        "[PAD]",
        ["[UNK]", "[CLS]", "[SEP]", "[MASK]"],
    )
