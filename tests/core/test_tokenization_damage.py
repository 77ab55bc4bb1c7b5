"""Files that are damaged, missing or of another kind: the same clear error from both."""

import json
from pathlib import Path

import pytest

from mobilebert_core.errors import TokenizerError
from mobilebert_core.tokenization import MobileBertTokenizer, MobileBertTokenizerFast

KINDS = (MobileBertTokenizer, MobileBertTokenizerFast)
VOCABULARY = Path(__file__).parents[2] / "mobilebert_core" / "tokenization" / "vocab.txt"
FILES = ["special_tokens_map.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt"]


@pytest.fixture(params=KINDS, ids=["slow", "fast"])
def kind(request):
    return request.param


def saved_json(kind, folder: Path) -> dict:
    kind().save_pretrained(folder)
    return json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))


def write(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


DAMAGES = {
    "bpe": ({"model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}}, "'BPE', not 'WordPiece'"),
    "no model": ({"model": None}, "'model' is"),
    "model list": ({"model": []}, "an object is expected"),
    "vocab list": ({"model": {"type": "WordPiece", "vocab": ["a"]}}, "is a list"),
    "no vocab": ({"model": {"type": "WordPiece"}}, "empty"),
    "prefix": ({"model": {"continuing_subword_prefix": "@@", "vocab": {"a": 0}}}, "'@@'"),
    "normalizer": ({"normalizer": {"type": "NFC"}}, "NFC"),
    "pre-tokenizer": ({"pre_tokenizer": {"type": "ByteLevel"}}, "ByteLevel"),
    "cleaning": (
        {"normalizer": {"type": "BertNormalizer", "clean_text": False}},
        "keeps control characters",
    ),
    "template": (
        {"post_processor": {"type": "TemplateProcessing", "pair": [{"Sequence": {"id": "A"}}]}},
        r"does not make \[CLS\]",
    ),
    "case": (
        {"normalizer": {"type": "BertNormalizer", "lowercase": "yes"}},
        "do_lower_case is 'yes'",
    ),
    "added": ({"added_tokens": [3]}, "no list of tokens"),
    "added gap": ({"added_tokens": [{"id": 40000, "content": "zzyzx"}]}, "where 30522 is next"),
    "added twice": (
        {"added_tokens": [{"id": 30522 + i, "content": "zzyzx"} for i in range(2)]},
        "several ids",
    ),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGES.values(), ids=DAMAGES.keys())
def test_damaged_tokenizer_json_raises_the_same_error_in_both(tmp_path, damage, message):
    path = write(tmp_path / "tokenizer.json", saved_json(MobileBertTokenizer, tmp_path) | damage)
    raised = []
    for kind in KINDS:
        with pytest.raises(TokenizerError, match=message) as caught:
            kind.from_pretrained(path)
        raised.append(str(caught.value))
    assert raised[0] == raised[1]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("vocab.txt", b"[PAD]\n\xff\n", "no UTF-8: byte 0xff in line 2"),
        ("vocab.txt", b"[PAD]\n[PAD]\n", "line 2 repeats"),
        ("vocab.txt", b"", "line 1 is empty"),
        ("tokenizer.json", b"{", "is no JSON"),
        ("tokenizer.json", b"[]", "an object is expected"),
        ("tokenizer.json", b"[" * 100_000, "is no JSON"),
        ("tokenizer.json", b"\x80\x04cos\nsystem\n", "no UTF-8"),
        ("tokenizer_config.json", b"3", "an object is expected"),
        ("tokenizer_config.json", b'{"added_tokens_decoder": 3}', "is no object"),
        ("tokenizer_config.json", b'{"added_tokens_decoder": {"a": "b"}}', "no id"),
        ("tokenizer_config.json", b'{"cls_token": 3}', "3 is no token"),
        ("tokenizer_config.json", b'{"never_split": 3}', "never_split is 3"),
        ("tokenizer_config.json", b'{"additional_special_tokens": 3}', "list of tokens"),
        ("special_tokens_map.json", b"3", "an object is expected"),
        ("added_tokens.json", b'{"x y": "z"}', "no id"),
    ],
)
def test_damaged_files_raise_the_same_error_in_both(tmp_path, name, content, message):
    MobileBertTokenizer().save_pretrained(tmp_path)
    if name == "vocab.txt":
        (tmp_path / "tokenizer.json").unlink()
    (tmp_path / name).write_bytes(content)
    for kind in KINDS:
        with pytest.raises(TokenizerError, match=message):
            kind.from_pretrained(tmp_path)


def test_truncated_tokenizer_json_is_refused_wherever_it_ends(tmp_path, kind):
    kind().save_pretrained(tmp_path)
    content = (tmp_path / "tokenizer.json").read_bytes()
    for length in range(0, len(content), len(content) // 20):
        (tmp_path / "tokenizer.json").write_bytes(content[:length])
        with pytest.raises(TokenizerError):
            kind.from_pretrained(tmp_path)


def test_oversized_file_is_refused_without_being_read(tmp_path, kind, monkeypatch):
    monkeypatch.setattr("mobilebert_core.tokenization.files.MAXIMUM_BYTES", 1000)
    with pytest.raises(TokenizerError, match="more than 1000"):
        kind.from_pretrained(VOCABULARY)


@pytest.mark.parametrize("source", [None, 3, b"folder"])
def test_source_that_is_no_path_is_refused(kind, source):
    with pytest.raises(TokenizerError, match="give a folder"):
        kind.from_pretrained(source)


def test_missing_folder_is_refused(tmp_path, kind):
    with pytest.raises(TokenizerError, match="does not exist"):
        kind.from_pretrained(tmp_path / "missing")


def test_folder_without_vocabulary_is_refused(tmp_path, kind):
    with pytest.raises(TokenizerError, match="neither"):
        kind.from_pretrained(tmp_path)


def test_saving_over_a_file_is_refused(tmp_path, kind):
    (tmp_path / "file").write_text("x")
    with pytest.raises(TokenizerError, match="no folder"):
        kind().save_pretrained(tmp_path / "file")


def test_interrupted_save_keeps_the_old_file(tmp_path, kind, monkeypatch):
    kind().save_pretrained(tmp_path)
    before = {name: (tmp_path / name).read_bytes() for name in FILES}

    def broken(self, target):
        raise OSError("disk is gone")

    monkeypatch.setattr(Path, "replace", broken)
    with pytest.raises(TokenizerError, match="disk is gone"):
        kind(do_lower_case=False).save_pretrained(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
