"""A WordPiece vocabulary of one's own, made from text by the `tokenizers` library."""

from collections.abc import Iterable
from pathlib import Path

from mobilebert_core.errors import ConfigError
from mobilebert_core.tokenization import MobileBertTokenizerFast
from mobilebert_training.corpus import read_lines

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def train_vocabulary(
    paths: Iterable[Path], folder: Path, *, vocab_size: int = 8000, lowercase: bool = True
) -> MobileBertTokenizerFast:
    """Learn a vocabulary and save the tokenizer's files; the same text gives the same vocabulary.

    Args:
        paths: text files, as `corpus.read_lines` reads them.
        folder: where `vocab.txt` and `tokenizer_config.json` go.
        vocab_size: pieces, the special tokens among them.
        lowercase: whether case and accents are dropped, as in the published model.

    Raises:
        ConfigError: fewer pieces than the text has characters, with the special tokens.
        InputError: a file cannot be read.
    """
    from tokenizers import BertWordPieceTokenizer

    learner = BertWordPieceTokenizer(lowercase=lowercase)
    # What is hidden already must not become a word of its own.
    lines = (line.replace("[UNK]", " ") for path in paths for line in read_lines(path))
    learner.train_from_iterator(
        lines,
        vocab_size=vocab_size,
        min_frequency=2,
        limit_alphabet=min(1000, vocab_size // 4),
        special_tokens=list(SPECIAL_TOKENS),
        show_progress=False,
    )
    vocabulary = learner.get_vocab()
    if len(vocabulary) != vocab_size:
        raise ConfigError(
            f"The text gives a vocabulary of {len(vocabulary)} pieces, expected {vocab_size}; "
            "give more text or another size"
        )
    folder.mkdir(parents=True, exist_ok=True)
    # The library gives pieces that are equally frequent other numbers each time: sort them.
    pieces = [*SPECIAL_TOKENS, *sorted(vocabulary.keys() - set(SPECIAL_TOKENS))]
    (folder / "vocab.txt").write_text("".join(f"{each}\n" for each in pieces), encoding="utf-8")
    tokenizer = MobileBertTokenizerFast(folder / "vocab.txt", do_lower_case=lowercase)
    tokenizer.save_pretrained(folder)
    return tokenizer
