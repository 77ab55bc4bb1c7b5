"""A WordPiece vocabulary of one's own, made from text by the `tokenizers` library."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mobilebert_core.checkpoints.atomic import replace_folder
from mobilebert_core.errors import ConfigError
from mobilebert_core.tokenization import MobileBertTokenizerFast
from mobilebert_training.corpus import read_lines

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def train_vocabulary(
    paths: Iterable[Path], folder: Path, *, vocab_size: int = 8000, lowercase: bool = True
) -> MobileBertTokenizerFast:
    """Learn a vocabulary and save the tokenizer's files; the same text gives the same vocabulary.

    The files appear all together, or none does.

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
    words = _count_words(learner, paths)
    first, following = _alphabets(words, min(1000, vocab_size // 4))
    learner.train_from_iterator(
        (" ".join([word] * count) for word, count in sorted(words.items())),
        vocab_size=vocab_size,
        min_frequency=2,
        limit_alphabet=len(first),
        initial_alphabet=first,
        # The library prefers, of pieces equally frequent, those made of pieces that it met first,
        # and meets words in another order each time: so it meets all single letters here.
        special_tokens=[*SPECIAL_TOKENS, *(f"##{letter}" for letter in following)],
        show_progress=False,
    )
    vocabulary = learner.get_vocab()
    if len(vocabulary) != vocab_size:
        raise ConfigError(
            f"The text gives a vocabulary of {len(vocabulary)} pieces, expected {vocab_size}; "
            "give more text or another size"
        )
    pieces = [*SPECIAL_TOKENS, *sorted(vocabulary.keys() - set(SPECIAL_TOKENS))]

    def fill(staging: Path) -> None:
        text = "".join(f"{each}\n" for each in pieces)
        (staging / "vocab.txt").write_text(text, encoding="utf-8")
        made = MobileBertTokenizerFast(staging / "vocab.txt", do_lower_case=lowercase)
        made.save_pretrained(staging)

    replace_folder(folder, fill, lambda _: False)
    return MobileBertTokenizerFast(folder / "vocab.txt", do_lower_case=lowercase)


def _count_words(learner: Any, paths: Iterable[Path]) -> Counter[str]:
    """The words of texts as the learner sees them."""
    words: Counter[str] = Counter()
    for path in paths:
        for line in read_lines(path):
            # What is hidden already must not become a word of its own.
            text = learner.normalizer.normalize_str(line.replace("[UNK]", " "))
            words.update(word for word, _ in learner.pre_tokenizer.pre_tokenize_str(text))
    return words


def _alphabets(words: Counter[str], limit: int) -> tuple[list[str], list[str]]:
    """The most frequent letters, sorted, and those of them that follow others in a word."""
    letters: Counter[str] = Counter()
    for word, count in words.items():
        for letter in word:
            letters[letter] += count
    kept = sorted(sorted(letters, key=lambda letter: (-letters[letter], letter))[:limit])
    following = {letter for word in words for letter in word[1:]}
    return kept, [letter for letter in kept if letter in following]
