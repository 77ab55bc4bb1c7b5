"""Saving and loading: what was saved comes back, here and in transformers."""

import itertools
import json
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from mobilebert_core.tokenization import (
    AddedToken,
    MobileBertTokenizer,
    MobileBertTokenizerFast,
    load_tokenizer,
)

KINDS = (MobileBertTokenizer, MobileBertTokenizerFast)
VOCABULARY = Path(__file__).parents[2] / "mobilebert_core" / "tokenization" / "vocab.txt"
TEXTS = ["Ünaffable [MASK] Zed, <user> new-word", "中文 x", "NEW-WORD and zED"]
FILES = ["special_tokens_map.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt"]


@pytest.fixture(params=KINDS, ids=["slow", "fast"])
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def transformers():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("transformers", reason="the independent reference")


def furnished(kind, **settings):
    """A tokenizer with tokens of every sort."""
    tokenizer = kind(**settings)
    tokenizer.add_tokens(["new-word", AddedToken("Zed", single_word=True, normalized=False)])
    tokenizer.add_special_tokens({"additional_special_tokens": [AddedToken("<user>", rstrip=True)]})
    return tokenizer


def results(tokenizer) -> list:
    batch = tokenizer(TEXTS, return_offsets_mapping=True)
    return [
        batch["input_ids"],
        batch["offset_mapping"],
        len(tokenizer),
        tokenizer.decode(batch["input_ids"][0], skip_special_tokens=True),
    ]


@pytest.mark.parametrize(("saving", "loading"), list(itertools.product(KINDS, KINDS)))
@pytest.mark.parametrize("settings", [{}, {"do_lower_case": False}, {"do_basic_tokenize": False}])
def test_saved_tokenizer_comes_back_in_either_class(tmp_path, saving, loading, settings):
    original = furnished(saving, padding_side="left", model_max_length=99, **settings)
    original.save_pretrained(tmp_path)
    loaded = loading.from_pretrained(tmp_path)
    assert results(loaded) == results(original)
    assert loaded.settings == original.settings
    assert loaded.added_tokens_decoder == original.added_tokens_decoder


def test_both_classes_write_the_same_files(tmp_path):
    for kind in KINDS:
        furnished(kind).save_pretrained(tmp_path / kind.__name__)
    for name in FILES:
        first, second = ((tmp_path / kind.__name__ / name).read_bytes() for kind in KINDS)
        assert first == second


def test_saving_returns_the_paths_and_leaves_nothing_else(tmp_path, kind):
    paths = kind().save_pretrained(tmp_path / "new" / "folder")
    assert sorted(path.name for path in paths) == FILES
    assert sorted(path.name for path in (tmp_path / "new" / "folder").iterdir()) == FILES


@pytest.mark.parametrize("kept", [["vocab.txt"], ["tokenizer.json"], FILES])
def test_either_vocabulary_file_alone_is_enough(tmp_path, kind, kept):
    kind().save_pretrained(tmp_path)
    for name in set(FILES) - set(kept):
        (tmp_path / name).unlink()
    assert results(kind.from_pretrained(tmp_path)) == results(kind())
    if len(kept) == 1:
        assert results(kind.from_pretrained(tmp_path / kept[0])) == results(kind())


def test_added_tokens_survive_in_tokenizer_json_alone(tmp_path, kind):
    furnished(kind).save_pretrained(tmp_path)
    assert results(kind.from_pretrained(tmp_path / "tokenizer.json")) == results(furnished(kind))


def test_arguments_replace_what_files_say(tmp_path, kind):
    kind(do_lower_case=False).save_pretrained(tmp_path)
    loaded = kind.from_pretrained(tmp_path, do_lower_case=True)
    assert loaded.tokenize("THE") == ["the"]


@pytest.mark.parametrize("settings", [{}, {"do_lower_case": False}, {"strip_accents": False}])
def test_transformers_reads_what_we_save(tmp_path, kind, transformers, settings):
    furnished(kind, **settings).save_pretrained(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reference = transformers.BertTokenizer.from_pretrained(tmp_path)
    assert results(reference) == results(furnished(kind, **settings))
    assert reference.model_max_length == 512


def test_transformers_finds_the_class_of_what_we_save(tmp_path, kind, transformers):
    kind().save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "mobilebert"}')
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reference = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert results(reference) == results(kind())


@pytest.mark.parametrize("settings", [{}, {"do_lower_case": False}, {"strip_accents": False}])
def test_we_read_what_transformers_saves(tmp_path, kind, transformers, settings):
    reference = transformers.BertTokenizer(
        str(VOCABULARY), clean_up_tokenization_spaces=True, **settings
    )
    reference.add_tokens(["new-word"])
    reference.add_special_tokens({"extra_special_tokens": ["<user>"], "mask_token": "[MASK]"})
    reference.save_pretrained(tmp_path)
    assert results(kind.from_pretrained(tmp_path)) == results(reference)


def test_we_read_what_the_legacy_python_tokenizer_saves(tmp_path, kind, transformers):
    from transformers.models.bert.tokenization_bert_legacy import BertTokenizerLegacy

    legacy = BertTokenizerLegacy(str(VOCABULARY), never_split=["[unused1]"])
    legacy.add_tokens(["new-word"])
    legacy.save_pretrained(tmp_path)
    loaded = kind.from_pretrained(tmp_path)
    text = "new-word [unused1] here"
    assert loaded.tokenize(text) == legacy.tokenize(text)
    assert loaded.encode(text) == legacy.encode(text)


def test_old_files_of_added_and_special_tokens_are_read(tmp_path, kind):
    shutil.copy(VOCABULARY, tmp_path)
    (tmp_path / "added_tokens.json").write_text('{"<s>": 30522, "zed": 30523}')
    (tmp_path / "special_tokens_map.json").write_text(
        json.dumps({"cls_token": {"content": "<s>", "lstrip": True}, "mask_token": "[MASK]"})
    )
    loaded = kind.from_pretrained(tmp_path)
    assert loaded("zed")["input_ids"] == [30522, 30523, 102]
    assert loaded.added_tokens_decoder[30522].special
    assert loaded.added_tokens_decoder[30522].lstrip


def test_post_processor_names_the_tokens_around_texts(tmp_path, kind):
    kind(cls_token="[unused0]", sep_token="[unused1]").save_pretrained(tmp_path)
    (tmp_path / "tokenizer_config.json").unlink()
    (tmp_path / "special_tokens_map.json").unlink()
    assert kind.from_pretrained(tmp_path)("the")["input_ids"] == [1, 1996, 2]


def test_bert_processing_names_the_tokens_around_texts(tmp_path, kind):
    content = saved_json(kind, tmp_path)
    content["post_processor"] = {
        "type": "BertProcessing",
        "sep": ["[unused1]", 2],
        "cls": ["[unused0]", 1],
    }
    path = write(tmp_path / "tokenizer.json", content)
    assert kind.from_pretrained(path)("the")["input_ids"] == [1, 1996, 2]


def test_path_in_a_file_is_not_followed(tmp_path, kind):
    kind().save_pretrained(tmp_path)
    config = json.loads((tmp_path / "tokenizer_config.json").read_text(encoding="utf-8"))
    config |= {"vocab_file": "/etc/hostname", "tokenizer_file": "/etc/hostname", "auto_map": {}}
    write(tmp_path / "tokenizer_config.json", config)
    assert results(kind.from_pretrained(tmp_path)) == results(kind())


def saved_json(kind, folder: Path) -> dict:
    kind().save_pretrained(folder)
    return json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))


def write(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_windows_line_ends_and_byte_order_mark_are_read(tmp_path, kind):
    content = VOCABULARY.read_bytes().replace(b"\n", b"\r\n")
    (tmp_path / "vocab.txt").write_bytes(b"\xef\xbb\xbf" + content)
    assert results(kind.from_pretrained(tmp_path)) == results(kind())


def test_load_tokenizer_takes_the_class_that_is_asked_for(tmp_path):
    load_tokenizer().save_pretrained(tmp_path)
    assert type(load_tokenizer(tmp_path)) is MobileBertTokenizerFast
    assert type(load_tokenizer(tmp_path, fast=False)) is MobileBertTokenizer
    assert load_tokenizer(do_lower_case=False).tokenize("the") == ["the"]


def test_real_tokenizer_config_is_read(tmp_path, kind, shared_data):
    for name in ("vocab.txt", "tokenizer_config.json"):
        shutil.copy(shared_data / "vocab" / name, tmp_path)
    loaded = kind.from_pretrained(tmp_path)
    assert results(loaded) == results(kind())
    assert loaded.model_max_length == 512


def test_importing_the_package_imports_neither_numpy_nor_the_rust_library():
    code = (
        "import sys, mobilebert_core.tokenization as t; "
        "print([n for n in ('numpy', 'tokenizers') if n in sys.modules], sorted(dir(t)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("[] ['AddedToken', 'BatchEncoding', 'MobileBertTokenizer'")


def test_slow_tokenizer_does_without_the_rust_library():
    code = (
        "import sys; sys.modules['tokenizers'] = None; "
        "from mobilebert_core.tokenization import load_tokenizer; "
        "print(load_tokenizer('mobilebert-uncased', fast=False).encode('a'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[101, 1037, 102]"


def test_missing_rust_library_says_what_to_install():
    code = (
        "import sys; sys.modules['tokenizers'] = None\n"
        "from mobilebert_core.errors import MissingDependencyError\n"
        "from mobilebert_core.tokenization import load_tokenizer\n"
        "try:\n    load_tokenizer()\nexcept MissingDependencyError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install" in done.stdout
    assert "fast=False" in done.stdout
