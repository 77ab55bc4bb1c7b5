"""How well does `mobilebert-nano` fill in masked words, next to counting?

Held-out text: WikiText-2's test part and one novel. The model and baselines, counted from the
model's own training text, see the same masked tokens; the first answers to twenty sentences are
judged by lists that were written before. `--backends` checks that all backends say the same. Exit
code 1: unigram or bigrams are not beaten, most sentences are not filled well, or backends differ.
Read next: `nano_text.py`, which has the protocol, `nano_baselines.py`, `nano_prompts.py`.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import nano_baselines as baselines
import numpy as np
import typer
from nano_prompts import PROMPTS, REQUIRED, TOP, judge
from nano_text import MaskedText, held_out_texts, mask_text, measure, shared_tokenizer
from rich.console import Console
from rich.table import Table
from typer import Option

import mobilebert
from mobilebert_training.corpus import read_corpus

DEFAULT = "mobilebert-nano"
BACKENDS = ("numpy", "torch", "tf", "jax")
SAME_LOSS = 1e-6
UNIGRAM, BIGRAM, BIGRAMS, TRIGRAMS = "unigram", "bigram, left", "bigrams, both sides", "trigrams"
STATUS = Console(stderr=True)


def named_sources(given: Sequence[str]) -> dict[str, str]:
    """Labels and sources of `label=source` or of a source alone."""
    pairs = [each.partition("=") for each in given]
    return {name: source if sign else name for name, sign, source in pairs}


def count_training_text(folder: Path, tokenizer: Any) -> dict[str, baselines.Counts]:
    """The baselines of a folder of training texts, each with weights of its own."""
    with STATUS.status("Counting the training text"):
        ids = read_corpus(sorted(folder.glob("*.txt")), tokenizer).ids
        special = sorted(tokenizer.all_special_ids)
        tuned = baselines.tune(ids, len(tokenizer), special)
        counts = baselines.count(ids, len(tokenizer), special)
    bigrams = replace(counts, joint=None)
    return {
        name: replace(counts if name == "trigrams" else bigrams, **weights)
        for name, weights in tuned.items()
    }


def baseline_rows(
    counts: dict[str, baselines.Counts], text: MaskedText, tokenizer: Any
) -> list[Any]:
    """What counting says of a text."""
    queries = baselines.queries_of(text, tokenizer)
    left = baselines.only_left(queries)
    found = {
        UNIGRAM: baselines.score_unigram(counts["trigrams"], queries),
        BIGRAM: baselines.score(counts["left"], left),
        BIGRAMS: baselines.score(counts["bigrams"], queries),
        TRIGRAMS: baselines.score(counts["trigrams"], queries),
    }
    return [{"text": text.name, "model": name, **each} for name, each in found.items()]


def model_rows(sources: dict[str, str], backend: str, texts: Sequence[MaskedText]) -> list[Any]:
    """What the models say of the texts."""
    rows = []
    for name, source in sources.items():
        model = mobilebert.load(source, "masked-lm", backend, dtype="float32")
        for text in texts:
            with STATUS.status(f"{name} reads {text.name} in {backend}"):
                rows.append({"text": text.name, "model": name, **measure(model, text)})
    return rows


def beats_baselines(rows: Sequence[Any], name: str) -> bool:
    """Whether a model is better than unigram and bigrams on every text, in loss and accuracy.

    Trigrams are more than is required.
    """
    found = {(row["text"], row["model"]): row for row in rows}
    return all(
        found[text, name]["loss"] < row["loss"] and found[text, name]["accuracy"] > row["accuracy"]
        for (text, model), row in found.items()
        if model in (UNIGRAM, BIGRAM, BIGRAMS)
    )


def fill_prompts(source: str, backend: str) -> list[Any]:
    """The answers to the twenty sentences, judged."""
    return [judge(each) for each in mobilebert.fill_mask(list(PROMPTS), source, None, backend, TOP)]


def compare_backends(source: str, texts: Sequence[MaskedText]) -> tuple[list[Any], bool]:
    """The same measurements and answers in each backend, and whether they are the same."""
    rows = [
        {"backend": backend, **row}
        for backend in BACKENDS
        for row in model_rows({DEFAULT: source}, backend, texts)
    ]
    answers = [[each["answers"] for each in fill_prompts(source, name)] for name in BACKENDS]
    same = all(each == answers[0] for each in answers)
    for text in texts:
        found = [row for row in rows if row["text"] == text.name]
        losses = [row["loss"] for row in found]
        same &= len({row["accuracy"] for row in found}) == 1
        same &= max(losses) - min(losses) <= SAME_LOSS
    return rows, same


def show_texts(title: str, rows: Sequence[Any], precise: bool = False) -> None:
    """Print losses, perplexities and accuracies."""
    first = "backend" if precise else "model"
    table = Table(title=title, title_justify="left")
    for column in ("text", first, "loss", "perplexity", "accuracy", "masked tokens"):
        table.add_column(column, justify="left" if column in ("text", first) else "right")
    for row in rows:
        loss = f"{row['loss']:.8f}" if precise else f"{row['loss']:.3f}"
        accuracy = f"{row['accuracy']:.6%}" if precise else f"{row['accuracy']:.1%}"
        figures = (loss, f"{row['perplexity']:,.1f}", accuracy, f"{row['masked']:,}")
        table.add_row(row["text"], row[first], *figures)
    Console(width=None if Console().is_terminal else 100).print(table)


def show_prompts(prompts: Sequence[Any]) -> None:
    """Print the sentences and their answers."""
    table = Table(title="An acceptable answer has a +", title_justify="left")
    table.add_column("sentence")
    table.add_column(f"{TOP} likeliest answers")
    for each in prompts:
        pairs = zip(each["answers"], each["acceptable"], strict=True)
        words = [f"+{word}" if good else word for word, good in pairs]
        table.add_row(each["prompt"].replace("[", "\\["), " ".join(words))
    Console(width=None if Console().is_terminal else 120).print(table)


def acceptable(prompts: Sequence[Any]) -> dict[str, int]:
    """For how many sentences the first answer, or one of all, is acceptable."""
    first = sum(each["acceptable"][0] for each in prompts)
    return {"first": first, "any": sum(any(each["acceptable"]) for each in prompts)}


def main(
    text: Annotated[Path, Option(help="The folder that prepare_corpus.py wrote.", exists=True)],
    model: Annotated[
        list[str] | None, Option(help="A source or label=source; the first one is judged.")
    ] = None,
    held_out: Annotated[
        list[Path] | None, Option(help="Another held-out text; may be repeated.", exists=True)
    ] = None,
    backend: Annotated[str, Option(help="Which one computes.")] = "torch",
    backends: Annotated[bool, Option("--backends", help="Compare all four.")] = False,
    rows: Annotated[int, Option(min=0, help="Of each text at most; 0: all.")] = 0,
    as_json: Annotated[bool, Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Masked tokens of held-out text, next to counting; twenty sentences; the four backends.

    Example: python benchmarks/nano.py --text TEXT --model nano=mobilebert-nano --backends
    """
    sources = named_sources(model or [DEFAULT])
    judged, source = next(iter(sources.items()))
    tokenizer = shared_tokenizer(sources)
    paths = held_out or held_out_texts(text)
    texts = [mask_text(path, tokenizer, rows or None) for path in paths]
    counts = count_training_text(text / "train", tokenizer)
    weights = {name: [each.pair_weight, each.both_weight] for name, each in counts.items()}
    result: dict[str, Any] = {"texts": [], "weights": weights}
    for each in texts:
        result["texts"] += baseline_rows(counts, each, tokenizer)
    result["texts"] += model_rows(sources, backend, texts)
    result["prompts"] = fill_prompts(source, backend)
    result["acceptable"] = acceptable(result["prompts"])
    met = beats_baselines(result["texts"], judged) and result["acceptable"]["first"] >= REQUIRED
    if backends:
        result["backends"], result["same"] = compare_backends(source, texts)
        met &= result["same"]
    report({**result, "met": bool(met)}, as_json)
    raise typer.Exit(0 if met else 1)


def report(result: dict[str, Any], as_json: bool) -> None:
    """Print everything."""
    if as_json:
        print(json.dumps(result, indent=2, default=float))
        return
    order = {name: place for place, name in enumerate(row["text"] for row in result["texts"])}
    by_text = sorted(result["texts"], key=lambda row: order[row["text"]])
    show_texts("Held-out text, 15 % of the tokens masked", by_text)
    show_prompts(result["prompts"])
    found = result["acceptable"]
    print(f"acceptable: first answer {found['first']} of {len(PROMPTS)} (required: {REQUIRED}),")
    print(f"one of {TOP} answers {found['any']} of {len(PROMPTS)}")
    if "backends" in result:
        show_texts("The backends", result["backends"], precise=True)
        print(f"Results are {'the same' if result['same'] else 'NOT the same'} in all backends.")
    print(f"Requirements {'met' if result['met'] else 'MISSED'}.")


if __name__ == "__main__":
    np.seterr(all="raise", under="ignore")
    typer.run(main)
