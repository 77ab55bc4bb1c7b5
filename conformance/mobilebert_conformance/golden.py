"""Golden vectors: what the oracle said when it was last changed on purpose.

`golden/vectors.safetensors` holds outputs in float64; `golden/manifest.json` says for which
configuration, head, weights, inputs and labels. Weights and inputs are not stored: `generator.py`
makes them again in any language, and their SHA-256 proves that it did. To write them anew after a
change of the specification: `python -m mobilebert_conformance.golden`.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load, save_file

from mobilebert_conformance.cases import ALL_VARIANTS, Case, make_case, small_config
from mobilebert_conformance.limits import LIMITS
from mobilebert_conformance.metrics import Comparison, field_error, worst_of
from mobilebert_conformance.oracle_heads import Oracle
from mobilebert_conformance.records import Record
from mobilebert_conformance.references import flatten, unflatten
from mobilebert_conformance.subject import Subject
from mobilebert_conformance.weights import Array
from mobilebert_core.heads import HEADS

_VARIANTS = ("layer_norm", "teacher", "tiny", "bert_like", "gelu", "masked_trigram")
_STATES = ("hidden_states", "attentions")  # stored for the base model only


@cache
def golden_cases() -> list[Case]:
    """Every head on the default, and the base model of six variants."""
    heads = [make_case("golden/default", head, small_config(head)) for head in HEADS]
    return heads + [
        make_case(f"golden/{name}", "base", small_config(**ALL_VARIANTS[name]))
        for name in _VARIANTS
    ]


def digest(arrays: Mapping[str, Array]) -> str:
    """SHA-256 over name, shape and little-endian bytes of every array, in order of the names."""
    found = hashlib.sha256()
    for name in sorted(arrays):
        array = np.asarray(arrays[name])
        found.update(f"{name} {array.dtype.name} {list(array.shape)}\n".encode())
        found.update(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes())
    return found.hexdigest()


def identify(case: Case) -> dict[str, Any]:
    """What a case's vectors stand for."""
    return {
        "config": case.config.to_dict(),
        "head": case.head,
        "weights": digest(case.make_weights()),
        "inputs": digest(case.inputs),
        "labels": digest(case.labels),
    }


def expected_outputs(case: Case) -> dict[str, Any]:
    """The oracle's outputs that are stored for a case."""
    fields = Oracle(case.config, case.head, case.make_weights()).run(case.inputs, case.labels)
    kept = {name: each for name, each in fields.items() if name not in _STATES}
    return fields if case.head == "base" else kept


@cache
def manifest() -> dict[str, Any]:
    """What is stored.

    Raises:
        FileNotFoundError: the package is incomplete.
    """
    found: dict[str, Any] = json.loads(_read("manifest.json"))
    return found


@cache
def vectors() -> dict[str, dict[str, Any]]:
    """The stored outputs by case.

    Raises:
        FileNotFoundError: the package is incomplete.
    """
    found: dict[str, dict[str, Array]] = {}
    for name, array in load(_read("vectors.safetensors")).items():
        key, _, field = name.rpartition(":")
        found.setdefault(key, {})[field] = array
    return {key: unflatten(arrays) for key, arrays in found.items()}


def _read(name: str) -> bytes:
    return resources.files("mobilebert_conformance").joinpath("golden", name).read_bytes()


def check_backend(subject: Subject, case: Case) -> Iterator[Record]:
    """Clause 11.2: the backend gives the stored outputs."""
    output = subject.output(case, "float64")
    stored = vectors()[case.key]
    claimed = subject.truth(case).keys() & stored.keys()
    errors = {name: field_error(name, output.get(name), stored[name]) for name in sorted(claimed)}
    yield subject.record(
        "11.2",
        worst_of(errors),
        case=case,
        dtype="float64",
        quantity="stored outputs",
        limit=LIMITS["semantics"]["hidden_states"],
    )


def check_oracle(case: Case) -> dict[str, Comparison]:
    """Clause 11.1: the oracle still says what is stored, of the same weights and inputs."""
    stored, said = vectors()[case.key], expected_outputs(case)
    same = manifest()["cases"].get(case.key) == identify(case)
    fault = "" if same else "the stored vectors stand for other weights, inputs or settings"
    errors = {name: field_error(name, said.get(name), each) for name, each in stored.items()}
    errors |= {name: Comparison(np.inf, 0, "not stored") for name in said.keys() - stored.keys()}
    return errors | {"identity": Comparison(np.inf if fault else 0.0, 1, fault)}


def write(folder: Path) -> None:
    """Make both files anew."""
    folder.mkdir(exist_ok=True)
    arrays, cases = {}, {}
    for case in golden_cases():
        cases[case.key] = identify(case)
        for name, array in flatten(expected_outputs(case)).items():
            arrays[f"{case.key}:{name}"] = np.array(array, np.float64, order="C")
    save_file(arrays, folder / "vectors.safetensors")
    text = json.dumps({"version": 1, "cases": cases}, indent=1, sort_keys=True)
    (folder / "manifest.json").write_text(text + "\n")


if __name__ == "__main__":
    write(Path(__file__).parent / "golden")
