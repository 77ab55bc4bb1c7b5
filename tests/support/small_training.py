"""A tiny model with its tokenizer, and files that teach it something trivial."""

from pathlib import Path

from mobilebert_core.checkpoints import save_checkpoint
from mobilebert_core.config import MobileBertConfig
from mobilebert_core.initialization import initial_weights
from mobilebert_core.tokenization import MobileBertTokenizerFast

WORDS = ("good", "bad", "the", "film", "was", "a", "very", "long", "and", "night", ".")
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
CONFIG = MobileBertConfig(
    vocab_size=len(SPECIAL) + len(WORDS),
    hidden_size=24,
    embedding_size=12,
    intra_bottleneck_size=16,
    intermediate_size=20,
    num_attention_heads=4,
    num_hidden_layers=2,
    num_feedforward_networks=2,
    max_position_embeddings=32,
    attention_probs_dropout_prob=0.0,
    initializer_range=0.2,
)


def tiny_tokenizer(folder: Path, words: tuple[str, ...] = WORDS) -> MobileBertTokenizerFast:
    """A tokenizer of a few words, saved in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("".join(f"{each}\n" for each in (*SPECIAL, *words)))
    tokenizer = MobileBertTokenizerFast(folder / "vocab.txt")
    tokenizer.save_pretrained(folder)
    return tokenizer


def tiny_model(folder: Path, head: str = "base", *, seed: int = 0) -> Path:
    """A checkpoint with fresh weights and a tokenizer; no framework is needed."""
    save_checkpoint(folder, CONFIG, initial_weights(CONFIG, head, seed), head)
    tiny_tokenizer(folder)
    return folder


def opinions(folder: Path, count: int = 40) -> Path:
    """A table whose label is said by one word of the text."""
    rows = ["text\tlabel"]
    for number in range(count):
        word = WORDS[number % 2]
        rows.append(f"the film was {' '.join(['very'] * (number % 5))} {word}\t{word}")
    file = folder / "opinions.tsv"
    file.write_text("\n".join(rows) + "\n")
    return file


def running_text(folder: Path, name: str = "text.txt", lines: int = 60) -> Path:
    """Sentences of the tokenizer's words."""
    file = folder / name
    sentences = [
        " ".join(WORDS[(line * 3 + place * 7) % (len(WORDS) - 1)] for place in range(9)) + " ."
        for line in range(lines)
    ]
    file.write_text("\n".join(sentences) + "\n")
    return file
