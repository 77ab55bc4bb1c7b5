"""The models of a run: the one that learns, from a checkpoint or fresh, and its teacher.

Rules: what does not fit is told before any weight is read. Read next: `training.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mobilebert_core import registry
from mobilebert_core.config import MobileBertConfig
from mobilebert_core.errors import ConfigError, InputError, MobileBertError
from mobilebert_core.loading import create, load, open_source
from mobilebert_core.packaged import DEFAULT
from mobilebert_core.tokenization import load_tokenizer
from mobilebert_training.run_description import describe_tokenizer, describe_weights
from mobilebert_training.task import Task
from mobilebert_training.tasks.pretraining import PretrainingTask
from mobilebert_training.transfer import TransferSettings, check_pair, copy_from_teacher


@dataclass(frozen=True)
class Start:
    """What a run starts from, with no weight read yet.

    Attributes:
        source: a checkpoint, as of `mobilebert.load`; None for fresh weights.
        config: of the checkpoint, or of the fresh model.
        tokenizer: of the model.
        seed: of fresh weights.
    """

    source: str | Path | None
    config: MobileBertConfig
    tokenizer: Any
    seed: int


@dataclass(frozen=True)
class Models:
    """The models of a run.

    Attributes:
        student: what learns, in a framework.
        teacher: what it learns from, or None.
        description: where both come from, with digests of their weights.
    """

    student: Any
    teacher: Any
    description: Mapping[str, Any]


def open_start(
    model: str | Path | None,
    config: str | Path | MobileBertConfig | None,
    tokenizer: Any,
    seed: int = 0,
) -> Start:
    """Configuration and tokenizer of the model that will learn.

    Args:
        model: a checkpoint; None is the packaged one, unless there is a
        config: name of a preset, JSON file or configuration, for fresh weights.
        tokenizer: itself, a source for it, or None for the checkpoint's own.
        seed: of fresh weights.

    Raises:
        InputError: both or too little is given.
        ConfigError: the vocabulary does not fit the model.
        CheckpointError: the checkpoint is absent or damaged.
        TokenizerError: as of `load_tokenizer`.
    """
    if config is None:
        source = DEFAULT if model is None else model
        opened = _open_tokenizer(source if tokenizer is None else tokenizer)
        start = Start(source, open_source(source).config, opened, seed)
    else:
        if model is not None:
            raise InputError(
                f"model is {str(model)!r} and config is given too; a model has a configuration of "
                "its own: give the model, or the configuration for fresh weights"
            )
        if tokenizer is None:
            raise InputError(
                "config is given without a tokenizer, expected both for fresh weights; make one "
                "with `mobilebert train-tokenizer`, or give a source, e.g. mobilebert-nano"
            )
        opened = _open_tokenizer(tokenizer)
        start = Start(None, _read_config(config, len(opened)), opened, seed)
    if len(opened) > start.config.vocab_size or (config and len(opened) < start.config.vocab_size):
        raise ConfigError(
            f"vocab_size is {start.config.vocab_size}, the tokenizer has {len(opened)} pieces; "
            "give the tokenizer that belongs to the model"
            + f", or vocab_size={len(opened)} in the configuration"
            * (config is not None)
        )
    # Saved beside the model, it cuts texts where the model's positions end.
    if tokenizer is not opened:
        positions = start.config.max_position_embeddings
        opened.model_max_length = min(opened.model_max_length, positions)
    return start


def _open_tokenizer(tokenizer: Any) -> Any:
    return load_tokenizer(tokenizer) if isinstance(tokenizer, str | Path) else tokenizer


def _read_config(config: str | Path | MobileBertConfig, vocab_size: int) -> MobileBertConfig:
    """A configuration by whatever names it; presets take the tokenizer's vocabulary size."""
    if isinstance(config, MobileBertConfig):
        return config
    if Path(config).is_file() or str(config).endswith(".json"):
        return MobileBertConfig.from_json_file(config)
    return MobileBertConfig.preset(str(config), vocab_size=vocab_size)


def make_models(
    start: Start,
    task: Task,
    teacher: str | Path | None,
    transfer: TransferSettings | None,
    *,
    backend: str,
    device: str | None,
) -> Models:
    """Load or create the model of a run, and its teacher.

    Args:
        start: what it starts from.
        task: says the head of both, and what its labels ask of the configuration.
        teacher: a source, or None.
        transfer: how the teacher is learnt from.
        backend: of both.
        device: of both.

    Raises:
        CheckpointError: a checkpoint is absent, damaged or lacks parts of the encoder.
        ConfigError: the student does not fit its teacher.
    """
    head, changes, chosen = task.head, task.config_changes, registry.get(backend)
    places: dict[str, Any] = {"backend": backend, "dtype": "float32", "device": device}
    if start.source is None:
        config = start.config.replace(**changes)
        student = create(config, head, seed=start.seed, **places)
    else:
        student = load(
            start.source,
            head,
            seed=start.seed,
            ignore_mismatched_sizes=True,
            **places,
            **changes,
        )
    description = {"model": _describe(start.source, chosen.weights(student)), "teacher": None}
    if teacher is None or transfer is None:
        return Models(student, None, description)
    _check_teacher(start, task, teacher, transfer)
    expert = load(teacher, head, **places)
    weights = chosen.weights(expert)
    description["teacher"] = _describe(teacher, weights)
    if transfer.copies_embeddings:
        copied = copy_from_teacher(student.config, chosen.weights(student), expert.config, weights)
        student = chosen.build(student.config, head, copied, dtype="float32", device=device)
    return Models(student, expert, description)


def _check_teacher(
    start: Start, task: Task, teacher: str | Path, transfer: TransferSettings
) -> None:
    """Refuse a teacher that cannot read the rows, or has nothing to say of masked tokens."""
    checkpoint = open_source(teacher)
    length = task.length if isinstance(task, PretrainingTask) else 0
    check_pair(start.config, checkpoint.config, transfer, length)
    if not any(name.startswith("cls.predictions.") for name in checkpoint.weights):
        raise ConfigError(
            f"{teacher} has no masked-lm head, expected one: a student learns what its teacher "
            "predicts. Give a model that was trained for masked-lm or pretraining"
        )
    try:
        pieces = load_tokenizer(teacher)
    except MobileBertError:
        return  # weights without a tokenizer: nothing to compare
    if describe_tokenizer(pieces) != describe_tokenizer(start.tokenizer):
        raise ConfigError(
            f"The tokenizer of the teacher {teacher} has other pieces than the student's, though "
            "as many: the same ids mean other words. Give tokenizer=... that of the teacher"
        )


def _describe(source: str | Path | None, weights: Mapping[str, Any]) -> str:
    name = "fresh" if source is None else Path(source).name
    return f"{name} {describe_weights(weights)}"
