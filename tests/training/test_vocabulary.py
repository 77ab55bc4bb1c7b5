"""A vocabulary of one's own: the same from the same text, and of the size that was asked for."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mobilebert_core.errors import ConfigError
from mobilebert_core.tokenization import MobileBertTokenizerFast, load_tokenizer
from mobilebert_training.randomness import generator
from mobilebert_training.vocabulary import SPECIAL_TOKENS, train_vocabulary

AGAIN = """
import sys
from pathlib import Path
from mobilebert_training.vocabulary import train_vocabulary
train_vocabulary([Path(sys.argv[1])], Path(sys.argv[2]), vocab_size=int(sys.argv[3]))
"""


def write_text(path: Path, letters: str = "abcdefghij") -> Path:
    """Words that share many pieces, equally frequent ones among them."""
    draw = generator(11)
    words = ["".join(draw.choice(list(letters), draw.integers(2, 6))) for _ in range(300)]
    lines = [" ".join(draw.permutation(words)) for _ in range(3)]
    path.write_text("\n".join([*lines, "[UNK] [UNK]"]), encoding="utf-8")
    return path


GREEK = "".join(map(chr, range(0x3B1, 0x3FF)))


@pytest.mark.parametrize("letters", ["abcdefghij", GREEK], ids=["latin", "greek"])
def test_the_vocabulary_is_the_same_when_the_text_is(letters: str, tmp_path: Path) -> None:
    size = 120
    # Of the second text's letters, more than the vocabulary keeps, many are equally frequent.
    text = write_text(tmp_path / "a.txt", letters)
    train_vocabulary([text], tmp_path / "here", vocab_size=size)
    for seed in ("1", "2"):
        folder = tmp_path / f"there{seed}"
        subprocess.run(
            [sys.executable, "-c", AGAIN, str(text), str(folder), str(size)],
            check=True,
            env=os.environ | {"PYTHONHASHSEED": seed},
        )
        assert (folder / "vocab.txt").read_bytes() == (tmp_path / "here/vocab.txt").read_bytes()


def test_special_tokens_come_first_and_pieces_are_sorted(tmp_path: Path) -> None:
    train_vocabulary([write_text(tmp_path / "a.txt")], tmp_path / "v", vocab_size=100)
    pieces = (tmp_path / "v/vocab.txt").read_text(encoding="utf-8").splitlines()
    assert tuple(pieces[:5]) == SPECIAL_TOKENS
    assert pieces[5:] == sorted(set(pieces[5:]))
    assert len(pieces) == 100


def test_the_tokenizer_that_is_saved_is_the_one_that_is_given(tmp_path: Path) -> None:
    made = train_vocabulary([write_text(tmp_path / "a.txt")], tmp_path / "v", vocab_size=100)
    found = load_tokenizer(tmp_path / "v")
    text = "ABCab Äfbc zz"
    assert found(text)["input_ids"] == made(text)["input_ids"]
    assert found.get_vocab() == made.get_vocab()


def test_case_is_kept_when_it_is_wanted(tmp_path: Path) -> None:
    text = write_text(tmp_path / "a.txt", "abcABC")
    kept = train_vocabulary([text], tmp_path / "v", vocab_size=100, lowercase=False)
    assert {"A", "a"} <= kept.get_vocab().keys()
    assert kept.tokenize("A") != kept.tokenize("a")


def test_a_text_too_small_for_the_size_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"a vocabulary of \d+ pieces, expected 5000"):
        train_vocabulary([write_text(tmp_path / "a.txt")], tmp_path / "v", vocab_size=5000)
    assert not (tmp_path / "v").exists()


def test_nothing_is_left_when_saving_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: object, folder: Path) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(MobileBertTokenizerFast, "save_pretrained", fail)
    with pytest.raises(OSError, match="the disk is full"):
        train_vocabulary([write_text(tmp_path / "a.txt")], tmp_path / "v", vocab_size=100)
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
