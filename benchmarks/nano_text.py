"""Held-out text as rows with masked tokens, the same for every model and baseline.

A text is cut into rows of [CLS], 126 tokens and [SEP], end to end; 15 % of a row's tokens are
chosen, never special ones or [UNK], and all of them become [MASK]: the model is asked, not also
whether it notices replaced words. What counts is a token, a piece of a word.
Read next: `nano_baselines.py`.

R rows  S sequence  P prediction positions  V vocabulary
"""

import importlib.util
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import typer

from mobilebert import load_tokenizer, predict
from mobilebert_core.input_checks import IGNORED_LABEL
from mobilebert_training.corpus import read_corpus
from mobilebert_training.masking import mask_tokens

Array = np.ndarray[Any, np.dtype[Any]]

LENGTH = 128  # what nano was trained on
SEED = 7  # of the masks
PREPARE = Path(__file__).parents[1] / "examples" / "nano" / "prepare_corpus.py"


@dataclass(frozen=True)
class MaskedText:
    """A text with [MASK]s.

    Attributes:
        name: of the file.
        input_ids: (R, S).
        positions: (R, P), where the masks are.
        labels: (R, P), what was there; -100 where a row has fewer masks.
        num_tokens: of the text.
    """

    name: str
    input_ids: Array
    positions: Array
    labels: Array
    num_tokens: int

    @property
    def counted(self) -> Array:
        """(R, P) bool."""
        return np.asarray(self.labels != IGNORED_LABEL)


def load_preparation() -> Any:
    """The module `examples/nano/prepare_corpus.py`."""
    spec = importlib.util.spec_from_file_location("prepare_corpus", PREPARE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def held_out_texts(folder: Path) -> list[Path]:
    """The held-out files of a folder that `prepare_corpus.py` wrote.

    Raises:
        typer.BadParameter: there are none.
    """
    paths = sorted((folder / "held_out").glob("*.txt"))
    if not paths:
        raise typer.BadParameter(
            f"{folder} has no held_out/*.txt; give what examples/nano/prepare_corpus.py wrote",
            param_hint="--text",
        )
    return paths


def mask_text(path: Path, tokenizer: Any, rows: int | None = None) -> MaskedText:
    """A text as rows, with masks that are a function of the text and the seed.

    Args:
        path: a paragraph a line.
        tokenizer: of the model.
        rows: at most so many, spread over the text.
    """
    corpus = read_corpus([path], tokenizer)
    window = LENGTH - 2
    whole = len(corpus.ids) // window
    chosen = np.linspace(0, whole - 1, min(whole, rows or whole)).astype(int)  # (R,)
    ids = np.full((len(chosen), LENGTH), tokenizer.sep_token_id, np.int64)  # (R, S)
    ids[:, 0] = tokenizer.cls_token_id
    ids[:, 1:-1] = corpus.ids[chosen[:, None] * window + np.arange(window)]
    special = np.isin(ids, tokenizer.all_special_ids)
    masked = mask_tokens(
        ids,
        ~special,
        np.random.default_rng(SEED),
        mask_token_id=tokenizer.mask_token_id,
        vocab_size=len(tokenizer),
    )
    positions, labels = masked["prediction_positions"], masked["labels"]  # (R, P)
    row, column = np.nonzero(labels != IGNORED_LABEL)
    ids[row, positions[row, column]] = tokenizer.mask_token_id
    return MaskedText(path.stem, ids, positions, labels, len(corpus.ids))


def measure(model: Any, text: MaskedText) -> dict[str, float]:
    """Loss, perplexity and accuracy of a masked-lm model of any backend."""
    items = (
        {"input_ids": ids, "prediction_positions": positions}
        for ids, positions in zip(text.input_ids, text.positions, strict=True)
    )
    losses, right = [], []
    outputs = predict(model, items, progress=False)
    for output, labels in zip(outputs, text.labels, strict=True):
        counted = labels != IGNORED_LABEL
        logits = output["logits"][counted].astype(np.float64)  # (P, V)
        losses.append(cross_entropies(logits, labels[counted]))
        right.append(logits.argmax(axis=-1) == labels[counted])
    return summarise(np.concatenate(losses), np.concatenate(right))


def cross_entropies(logits: Array, labels: Array) -> Array:
    """(P, V) and (P,) -> (P,), in float64."""
    logits = logits - logits.max(axis=-1, keepdims=True)
    found: Array = np.log(np.exp(logits).sum(axis=-1)) - logits[np.arange(len(labels)), labels]
    return found


def summarise(losses: Array, right: Array) -> dict[str, float]:
    """Means over the masked tokens."""
    loss = float(losses.mean())
    return {
        "loss": loss,
        "perplexity": math.exp(min(loss, 700.0)),
        "accuracy": float(right.mean()),
        "masked": len(losses),
    }


def shared_tokenizer(sources: dict[str, str]) -> Any:
    """The tokenizer of the models, which must have one vocabulary."""
    tokenizers = [load_tokenizer(source) for source in sources.values()]
    if any(each.get_vocab() != tokenizers[0].get_vocab() for each in tokenizers):
        raise typer.BadParameter(
            "the models have different vocabularies, whose perplexities do not compare; measure "
            "them one by one",
            param_hint="models",
        )
    return tokenizers[0]
