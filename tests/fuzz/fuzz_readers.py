"""Coverage-guided fuzzing of the checkpoint readers: `nox -s fuzz -- --seconds 300`.

Each reader gets inputs that grow from valid files, guided by the branches that they reach in our
code (libFuzzer, through atheris). Rule: an input is read as tensors of the promised shapes and
dtypes, or refused with a `CheckpointError`; anything else stops the reader's run and keeps the
input. Ends with exit code 1 then, and prints how many inputs each reader was given.
"""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from unittest.mock import ANY

import typer
from rich.console import Console
from rich.table import Table

EXECUTED = re.compile(r"stat::number_of_executed_units:\s*(\d+)")
COVERED = re.compile(r"cov: (\d+)")
MAX_BYTES = 1 << 14

# Reader -> its format, and the file that is fuzzed; the other files of the checkpoint stay valid.
READERS = {
    "safetensors": ("safetensors", "model.safetensors"),
    "safetensors index": ("safetensors", "model.safetensors.index.json"),
    "torch-bin": ("torch-bin", "pytorch_model.bin"),
    "torch-bin legacy": ("torch-bin", "pytorch_model.bin"),
    "google-tf1": ("google-tf1", "mobilebert_variables.ckpt.index"),
    "flax-msgpack": ("flax-msgpack", "flax_model.msgpack"),
    "npz": ("npz", "weights.npz"),
    "hf-tf-h5": ("hf-tf-h5", "tf_model.h5"),
    "keras-weights": ("keras-weights", "model.weights.h5"),
}


@dataclass(frozen=True)
class Outcome:
    """How one reader's run ended."""

    reader: str
    inputs: int
    covered: int
    log: str
    passed: bool


def valid_files(reader: str, folder: Path) -> Path:
    """A small checkpoint's files; returns the one that is fuzzed."""
    import numpy as np

    from mobilebert_core.checkpoints.formats import get_format
    from mobilebert_core.checkpoints.store import stored_tensors

    format, file = READERS[reader]
    separator = {"safetensors": ".", "torch-bin": ".", "npz": "."}.get(format, "/")
    numbers = np.arange(12, dtype=np.float32)
    # Levels as h5 files of TensorFlow have them: layer, model, layer, weight.
    names = [separator.join(("a", "model", "a", leaf)) for leaf in ("kernel", "bias")]
    tensors = stored_tensors(
        {names[0]: numbers.reshape(3, 4), names[1]: numbers[:5].astype("float16")}
    )
    if format == "flax-msgpack":
        tensors = {name.replace("/", "."): tensor for name, tensor in tensors.items()}
    limit = 30 if reader.endswith("index") else None
    get_format(format).write(folder, tensors, limit)
    if reader.endswith("legacy"):
        write_legacy(folder / file)
    return folder / file


def write_legacy(path: Path) -> None:
    """A file as PyTorch wrote it before 1.6."""
    import torch

    torch.save({"a": torch.arange(12.0).reshape(3, 4)}, path, _use_new_zipfile_serialization=False)


def fuzz(reader: str, arguments: list[str]) -> None:
    """Fuzz one reader in this process; libFuzzer ends it."""
    import atheris

    with atheris.instrument_imports(include=["mobilebert_core.checkpoints"]):
        from mobilebert_core.checkpoints import sorted_table, tensor_bundle, zip_archives
        from mobilebert_core.checkpoints.formats import get_format
        from mobilebert_core.checkpoints.store import DTYPES
        from mobilebert_core.errors import CheckpointError
    with tempfile.TemporaryDirectory() as temporary:
        corpus, folder = Path(temporary) / "corpus", Path(temporary) / "checkpoint"
        corpus.mkdir()
        folder.mkdir()
        path = valid_files(reader, folder)
        (corpus / "valid").write_bytes(path.read_bytes())
        for module in (sorted_table, tensor_bundle):
            module.masked_crc32c = any_checksum
        zip_archives.crc32 = any_checksum
        read = get_format(READERS[reader][0]).read

        def one_input(data: bytes) -> None:
            path.unlink()  # a file that is still mapped must not change
            path.write_bytes(data)
            try:
                for tensor in read(path).values():
                    if tensor.dtype in DTYPES:
                        values = tensor.read()
                        assert values.shape == tensor.shape
                        assert values.dtype == DTYPES[tensor.dtype]
            except CheckpointError:
                pass

        atheris.Setup([sys.argv[0], str(corpus), *arguments], one_input)
        atheris.Fuzz()


def any_checksum(*_: Any) -> Any:
    """In place of a checksum: equal to every number, so that changed bytes get past it."""
    return ANY


def run_reader(reader: str, seconds: int, findings: Path, seed: int) -> Outcome:
    """Fuzz one reader in a process of its own."""
    options = [
        f"-max_total_time={seconds}",
        f"-max_len={MAX_BYTES}",
        f"-seed={seed}",
        "-use_value_profile=1",
        "-print_final_stats=1",
        "-timeout=10",
        "-rss_limit_mb=4096",
        f"-artifact_prefix={findings}/{reader.replace(' ', '-')}-",
    ]
    command = [sys.executable, __file__, "--reader", reader, "--", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
    log = done.stdout + done.stderr
    executed, covered = EXECUTED.search(log), COVERED.findall(log)
    inputs = int(executed[1]) if executed else 0
    passed = done.returncode == 0 and inputs > 0
    return Outcome(reader, inputs, int(covered[-1]) if covered else 0, log, passed)


def run_all(
    readers: list[str], seconds: int, findings: Path, seed: int, show: Callable[[Outcome], None]
) -> bool:
    """Fuzz several readers, as many at a time as there are processors."""
    findings.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        jobs = [pool.submit(run_reader, each, seconds, findings, seed) for each in readers]
        outcomes = [job.result() for job in jobs]
    for outcome in outcomes:
        show(outcome)
    return all(outcome.passed for outcome in outcomes)


def main(
    arguments: Annotated[list[str] | None, typer.Argument(hidden=True)] = None,
    reader: Annotated[str | None, typer.Option(help=f"One of {', '.join(READERS)}.")] = None,
    seconds: Annotated[int, typer.Option(min=1, help="Time for each reader.")] = 60,
    seed: Annotated[int, typer.Option(help="Of the inputs that are tried.")] = 1,
    findings: Annotated[
        Path, typer.Option(help="Where inputs go that a reader did not survive.")
    ] = Path("fuzz-findings"),
) -> None:
    """Fuzz the readers of checkpoints, all of them or one.

    Example: nox -s fuzz -- --reader torch-bin --seconds 600
    """
    if arguments and reader:
        fuzz(reader, arguments)
        return
    table = Table("reader", "inputs tried", "branches reached", "", title="Fuzzed readers")
    total = 0
    console = Console()

    def show(outcome: Outcome) -> None:
        nonlocal total
        total += outcome.inputs
        verdict = "survived" if outcome.passed else "FAILED"
        table.add_row(outcome.reader, f"{outcome.inputs:,}", str(outcome.covered), verdict)
        if not outcome.passed:
            console.print(outcome.log[-6000:], markup=False)

    passed = run_all([reader] if reader else list(READERS), seconds, findings, seed, show)
    console.print(table)
    console.print(f"{total:,} inputs; what was not survived is in {findings}")
    raise typer.Exit(0 if passed else 1)


if __name__ == "__main__":
    typer.run(main)
