"""What `train` is told, sorted and completed: settings with their defaults, options of the task.

Read next: `training.py`.
"""

import difflib
import math
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from mobilebert_core.errors import ConfigError, InputError, raise_faults
from mobilebert_core.heads import get_head
from mobilebert_training.settings import TrainingSettings
from mobilebert_training.tasks.heads import OPENINGS
from mobilebert_training.transfer import TransferSettings

PRETRAINING_HEADS = ("masked-lm", "pretraining")
EPOCHS = {"fine-tuning": 5, "pretraining": 10}
LEARNING_RATES = {"adamw": 1e-4, "lamb": 2e-3}
MOST_STEPS_WITHOUT_SAVING = 500
_READING_OPTIONS = ("max_length", "validation_fraction", "format", "encoding")
_PRETRAINING_OPTIONS = ("max_length", "mask_fraction", "validation_rows")


def choose_settings(
    head: str,
    num_examples: int,
    epochs: float | None,
    steps: int | None,
    given: Mapping[str, Any],
    *,
    measured: bool,
) -> TrainingSettings:
    """Settings of a run: what is given, and for the rest what suits the head.

    Args:
        head: what is trained.
        num_examples: rows of an epoch.
        epochs: passes over them, or
        steps: updates.
        given: fields of `TrainingSettings`.
        measured: whether there is validation data.

    Raises:
        InputError: epochs and steps are given, or patience where nothing is measured.
        ConfigError: a setting is invalid.
    """
    if epochs is not None and steps is not None:
        raise InputError(f"epochs is {epochs} and steps is {steps}; give one of them")
    if epochs is not None and not 0 < epochs < math.inf:
        raise ConfigError(f"epochs is {epochs}, expected above 0")
    pretrains = head in PRETRAINING_HEADS
    values: dict[str, Any] = {
        "optimizer": "lamb" if pretrains else "adamw",
        "batch_size": 64 if pretrains else 32,
        **given,
    }
    values.setdefault("learning_rate", LEARNING_RATES.get(values["optimizer"], 1e-4))
    epoch = num_examples / max(1, values["batch_size"])
    passes = EPOCHS["pretraining" if pretrains else "fine-tuning"] if epochs is None else epochs
    values["steps"] = math.ceil(passes * epoch) if steps is None else steps
    often = MOST_STEPS_WITHOUT_SAVING if pretrains else math.ceil(epoch)
    values.setdefault("evaluate_every", often if measured else 0)
    if values.get("patience") is not None and not (measured and values["evaluate_every"]):
        needed = "evaluations: evaluate_every is 0" if measured else "validation data"
        raise InputError(f"patience is {values['patience']}, but there are no {needed}; give them")
    between = values["evaluate_every"] or MOST_STEPS_WITHOUT_SAVING
    values.setdefault("save_every", min(between, MOST_STEPS_WITHOUT_SAVING))
    return TrainingSettings(**values)


def check_head(head: str) -> None:
    """Refuse a head that nothing trains.

    Raises:
        ConfigError: there is no such head, or it has no labels.
    """
    get_head(head)
    known = (*PRETRAINING_HEADS, *OPENINGS)
    if head not in known:
        raise ConfigError(f"The head {head} is not trained; expected one of {', '.join(known)}")


def sort_options(head: str, options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Fields of the settings, and options of the task; None counts as not given.

    Raises:
        InputError: an option is neither.
    """
    settings = [each.name for each in fields(TrainingSettings) if each.name != "steps"]
    of_task = list(_PRETRAINING_OPTIONS)
    if head in OPENINGS:
        opening = OPENINGS[head]
        of_task = [*_READING_OPTIONS, *opening.reading_options, *opening.class_options]
    faults = []
    given = {name: value for name, value in options.items() if value is not None}
    for name in given.keys() - {*settings, *of_task}:
        close = difflib.get_close_matches(name, [*settings, *of_task], n=1)
        question = f"; did you mean {close[0]!r}?" if close else ""
        faults.append(f"{name!r} is no option{question}")
    if faults:
        faults.append(f"settings are {', '.join(settings)}; options are {', '.join(of_task)}")
    raise_faults(InputError, f"{head} cannot be trained so", sorted(faults))
    return (
        {name: value for name, value in given.items() if name in settings},
        {name: value for name, value in given.items() if name in of_task},
    )


def choose_transfer(
    head: str, teacher: str | Path | None, transfer: str | TransferSettings | None
) -> TransferSettings | None:
    """How a teacher is learnt from, if there is one.

    Raises:
        InputError: a strategy without a teacher, or a teacher for labelled examples.
    """
    if teacher is None:
        if transfer is not None:
            raise InputError("Knowledge transfer is asked for without a teacher; give one")
        return None
    if head not in PRETRAINING_HEADS:
        raise InputError(
            f"A teacher is given for {head}, expected one of {', '.join(PRETRAINING_HEADS)}: "
            "transfer is for pretraining; fine-tune what it gave without a teacher"
        )
    if isinstance(transfer, str):
        return TransferSettings(strategy=transfer)
    return transfer or TransferSettings()
