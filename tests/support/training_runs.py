"""Tiny runs of PyTorch's trainer, in this process or in others, which may be killed on the way.

A `Run` says all of one and can be sent to another process. Processes are forked from a server that
has imported this module, so that a run that is killed and resumed costs no imports.

B batch  S sequence  P prediction positions  V vocabulary
"""

import json
import multiprocessing
import os
import signal
import socket
import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

import mobilebert
from mobilebert_core.errors import MobileBertWarning
from mobilebert_torch.training.processes import Processes
from mobilebert_torch.training.trainer import Trainer
from mobilebert_training.corpus import Corpus
from mobilebert_training.randomness import generator
from mobilebert_training.run_folder import RunFolder
from mobilebert_training.settings import TrainingSettings
from mobilebert_training.tasks.pretraining import PretrainingTask
from mobilebert_training.transfer import TransferSettings, copy_from_teacher

Array = np.ndarray[Any, np.dtype[Any]]

VOCABULARY, LENGTH, CLASSES = 61, 13, 3
TIMEOUT = 300  # seconds; on a machine with nothing else to do a run takes one
STUDENT: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 16,
    "embedding_size": 12,
    "intra_bottleneck_size": 8,
    "intermediate_size": 10,
    "num_attention_heads": 2,
    "num_hidden_layers": 2,
    "num_feedforward_networks": 2,
    "max_position_embeddings": 24,
    "num_labels": CLASSES,
    "attention_probs_dropout_prob": 0.0,
    "initializer_range": 0.1,
}
TEACHER = {
    "normalization_type": "layer_norm",
    "num_feedforward_networks": 1,
    "intra_bottleneck_size": 16,
    "key_query_shared_bottleneck": False,
}


@dataclass(frozen=True)
class Run:
    """All that a run is.

    Attributes:
        folder: where it is written.
        head: of model and task; `corpus` is pretraining on a corpus.
        settings: fields of `TrainingSettings`.
        strategy: of knowledge transfer, or None.
        dropout: probability, everywhere.
        style: of several processes.
    """

    folder: Path
    head: str = "masked-lm"
    settings: Mapping[str, Any] = field(default_factory=dict)
    strategy: str | None = None
    dropout: float = 0.0
    style: str = "ddp"


class RandomRows:
    """Random rows of a head: padded, with labels of which now some, now none count."""

    config_changes: Mapping[str, Any] = {}
    metric, higher_is_better = "loss", False

    def __init__(self, head: str, *, padded: bool = True) -> None:
        self.head, self.padded = head, padded

    def __len__(self) -> int:
        return 17

    def batch(self, indices: Array, key: tuple[int, ...]) -> dict[str, Array]:
        return self.rows(indices)

    def rows(self, indices: Array) -> dict[str, Array]:
        single = [self.row(int(index)) for index in indices]
        return {name: np.stack([each[name] for each in single]) for name in single[0]}

    def row(self, index: int) -> dict[str, Array]:
        draw = generator(7, index)
        length = int(draw.integers(4, LENGTH)) if self.padded else LENGTH
        row = {
            "input_ids": draw.integers(5, VOCABULARY, LENGTH),
            "token_type_ids": draw.integers(0, 2, LENGTH),
            "attention_mask": (np.arange(LENGTH) < length).astype(np.int64),
        }
        ignored = draw.random(LENGTH) < 0.25 * (index % 5)  # every fifth row: of all labels none
        if self.head == "token-classification":
            labels = draw.integers(0, CLASSES, LENGTH)
            return {
                **row,
                "labels": np.where(ignored | (np.arange(LENGTH) >= length), -100, labels),
            }
        if self.head == "question-answering":
            start, end = np.sort(draw.integers(0, length, 2))
            return {**row, "start_positions": start, "end_positions": end}
        if self.head == "sequence-classification":
            return {**row, "labels": draw.integers(0, CLASSES)}
        row["prediction_positions"] = draw.integers(0, length, 4)  # (P,)
        row["labels"] = np.where(ignored[:4], -100, draw.integers(5, VOCABULARY, 4))  # (P,)
        if self.head == "pretraining":
            row["next_sentence_label"] = draw.integers(0, 2)
        return row

    def evaluate(self, run: Any) -> dict[str, float]:
        return {"loss": float(run(self.rows(np.arange(100, 107))).loss)}


@dataclass(frozen=True)
class Numbers:
    """A tokenizer's numbers, which are all that pretraining asks of it."""

    pad_token_id: int = 0
    unk_token_id: int = 1
    cls_token_id: int = 2
    sep_token_id: int = 3
    mask_token_id: int = 4
    all_special_ids: tuple[int, ...] = (0, 1, 2, 3, 4)

    def __len__(self) -> int:
        return VOCABULARY


def random_corpus(seed: int, num_tokens: int = 400) -> Corpus:
    draw = generator(seed)
    ids = draw.integers(5, VOCABULARY, num_tokens).astype(np.int32)
    starts = np.flatnonzero(draw.random(num_tokens) < 0.2)
    return Corpus(ids, np.union1d([0], starts).astype(np.int64))


def make_task(run: Run) -> Any:
    if run.head == "corpus":
        texts = random_corpus(1), random_corpus(2)
        return PretrainingTask("pretraining", *texts, Numbers(), length=LENGTH, validation_rows=5)
    return RandomRows(run.head, padded=run.strategy is None)


def make_model(head: str, *, dropout: float = 0.0, seed: int = 0, **changes: Any) -> Any:
    probabilities = {
        "hidden_dropout_prob": dropout,
        "attention_probs_dropout_prob": dropout,
        "classifier_dropout": dropout,
    }
    labels = {"num_labels": 2} if head == "question-answering" else {}
    config = mobilebert.Config(**(STUDENT | labels | probabilities | changes))
    return mobilebert.create(config, head, "torch", seed=seed)


def make_pair(head: str, strategy: str, *, dropout: float = 0.0) -> tuple[Any, Any]:
    """A student, with the teacher's embeddings where the strategy copies them, and a teacher."""
    student, teacher = make_model(head, dropout=dropout), make_model(head, seed=1, **TEACHER)
    if TransferSettings(strategy=strategy).copies_embeddings:
        torch_backend = mobilebert.get_backend("torch")
        weights = [torch_backend.weights(each) for each in (student, teacher)]
        copied = copy_from_teacher(student.config, weights[0], teacher.config, weights[1])
        student = torch_backend.build(student.config, head, copied)
    return student, teacher


def make_trainer(run: Run, processes: Processes | None = None) -> Trainer:
    task, teacher, transfer = make_task(run), None, None
    if run.strategy is None:
        model = make_model(task.head, dropout=run.dropout)
    else:
        model, teacher = make_pair(task.head, run.strategy, dropout=run.dropout)
        transfer = TransferSettings(strategy=run.strategy)
    given = {"steps": 4, "batch_size": 7, "learning_rate": 5e-3, "log_every": 1} | dict(
        run.settings
    )
    return Trainer(
        model,
        task,
        TrainingSettings(**given),
        RunFolder(run.folder),
        teacher=teacher,
        transfer=transfer,
        processes=processes,
    )


def train_here(run: Run) -> Any:
    Path(run.folder).mkdir(parents=True, exist_ok=True)
    return make_trainer(run).train()


def train_elsewhere(run: Run, *, kill_at: int | None = None, only_saving: bool = False) -> int:
    """Train in another process, killed at its n-th call of a function, if it comes to that.

    Returns:
        How many calls there were, or the signal, negative.
    """
    context = _context()
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_counted, args=(run, kill_at, only_saving, sender))
    process.start()
    sender.close()
    process.join(TIMEOUT)
    assert process.exitcode in (0, -signal.SIGKILL), f"the process ended with {process.exitcode}"
    return int(receiver.recv()) if process.exitcode == 0 else process.exitcode


def train_in_processes(run: Run, size: int = 2) -> list[int | None]:
    """Train in several processes, as torchrun would start them; their exit codes."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    context = _context()
    processes = [
        context.Process(target=_member, args=(run, rank, size, port)) for rank in range(size)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(TIMEOUT)
    codes = [process.exitcode for process in processes]
    for process in processes:
        process.kill()
    return codes


def what_is_left(folder: Path) -> dict[str, Any]:
    """All that a finished run has written, but how fast it was."""
    found: dict[str, Any] = {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "mobilebert-staging" not in str(path) and path.name != "log.jsonl"
    }
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    found["log"] = [{key: row[key] for key in row if key != "steps_per_second"} for row in rows]
    return found


def is_rounding(name: str, head: str) -> bool:
    """Whether a parameter's gradient may be nothing but rounding.

    Softmax over positions cancels what is added to all alike: the bias of keys, and in question
    answering the last biases.
    """
    return name.endswith("key.bias") or (head == "question-answering" and "bias" in name)


def _context() -> Any:
    support = str(Path(__file__).parent)
    paths = os.environ.get("PYTHONPATH", "")
    if support not in paths.split(os.pathsep):  # the server of processes imports this module
        os.environ["PYTHONPATH"] = os.pathsep.join([support, paths]).rstrip(os.pathsep)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


def _prepare() -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("error")
    warnings.simplefilter("ignore", MobileBertWarning)


def _counted(run: Run, kill_at: int | None, only_saving: bool, sender: Any) -> None:
    _prepare()
    calls = 0
    depth = 0

    def count(frame: Any, event: str, argument: Any) -> None:
        nonlocal calls, depth
        if frame.f_code in savers and event in ("call", "return"):
            depth += 1 if event == "call" else -1
        if event in ("call", "c_call") and (depth or not only_saving):
            calls += 1
            if calls == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    savers = {Trainer.save.__code__, Trainer.save_model.__code__}
    trainer = make_trainer(run)
    Path(run.folder).mkdir(parents=True, exist_ok=True)
    sys.setprofile(count)
    trainer.train()
    sys.setprofile(None)
    sender.send(calls)


def _member(run: Run, rank: int, size: int, port: int) -> None:
    _prepare()
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(size),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "GLOO_SOCKET_IFNAME": "lo",
    }
    processes = Processes(run.style)
    Path(run.folder).mkdir(parents=True, exist_ok=True)
    try:
        make_trainer(run, processes).train()
    finally:
        processes.close()
