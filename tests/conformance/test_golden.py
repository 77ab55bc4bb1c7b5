"""The golden vectors: complete, small, and not to be tampered with unnoticed."""

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load

from mobilebert_conformance import golden
from mobilebert_conformance.golden import check_oracle, digest, golden_cases
from mobilebert_conformance.limits import LIMITS
from mobilebert_conformance.metrics import worst_of
from mobilebert_conformance.references import flatten
from mobilebert_core.heads import HEADS

FOLDER = Path(golden.__file__).parent / "golden"
LIMIT = LIMITS["golden"]["oracle"]


@pytest.fixture
def stored(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The stored vectors, in copies to tamper with."""
    vectors, manifest = copy.deepcopy(golden.vectors()), copy.deepcopy(golden.manifest())
    monkeypatch.setattr(golden, "vectors", lambda: vectors)
    monkeypatch.setattr(golden, "manifest", lambda: manifest)
    return vectors, manifest


@pytest.mark.parametrize("case", golden_cases(), ids=lambda case: case.key)
def test_oracle_gives_what_is_stored(case: Any) -> None:
    found = worst_of(check_oracle(case))

    assert found.fault == ""
    assert found.error <= LIMIT


def test_every_head_is_stored() -> None:
    assert {f"golden/default/{head}" for head in HEADS} <= golden.vectors().keys()


def test_stored_cases_are_the_golden_ones() -> None:
    keys = {case.key for case in golden_cases()}

    assert golden.vectors().keys() == golden.manifest()["cases"].keys() == keys


def test_vectors_are_finite_float64() -> None:
    arrays = load((FOLDER / "vectors.safetensors").read_bytes())

    assert {each.dtype for each in arrays.values()} == {np.dtype(np.float64)}
    assert all(each.size and np.isfinite(each).all() for each in arrays.values())


def test_files_are_below_one_megabyte() -> None:
    assert 0 < sum(each.stat().st_size for each in FOLDER.iterdir()) < 1_000_000


@pytest.mark.parametrize("name", ["vectors.safetensors", "manifest.json"])
def test_missing_file_is_an_error(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(wanted: str) -> bytes:
        return (tmp_path if wanted == name else FOLDER).joinpath(wanted).read_bytes()

    monkeypatch.setattr(golden, "_read", read)
    for each in (golden.vectors, golden.manifest):  # what is cached would hide it
        monkeypatch.setattr(golden, each.__name__, each.__wrapped__)

    with pytest.raises(FileNotFoundError, match=name):
        check_oracle(golden_cases()[0])


@pytest.mark.parametrize("part", ["weights", "inputs", "labels", "config", "head"])
def test_identity_is_a_fault_when_the_manifest_was_tampered_with(part: str, stored: Any) -> None:
    case = golden_cases()[1]
    entry = stored[1]["cases"][case.key]
    entry[part] = {} if part == "config" else entry[part][::-1]

    found = worst_of(check_oracle(case))

    assert found.where == "identity"
    assert found.fault


def test_identity_is_a_fault_when_the_case_is_not_in_the_manifest(stored: Any) -> None:
    case = golden_cases()[0]
    del stored[1]["cases"][case.key]

    assert check_oracle(case)["identity"].fault


def test_error_is_above_its_limit_when_a_vector_was_tampered_with(stored: Any) -> None:
    case = golden_cases()[0]
    stored[0][case.key]["hidden_states"][1][0, 0, 0] *= 1 + 1e-9

    found = worst_of(check_oracle(case))

    assert found.where == "hidden_states"
    assert found.error > LIMIT


@pytest.mark.parametrize("field", ["loss", "prediction_logits"])
def test_field_is_a_fault_when_it_is_not_stored(field: str, stored: Any) -> None:
    (case,) = (each for each in golden_cases() if each.key == "golden/default/pretraining")
    del stored[0][case.key][field]

    assert check_oracle(case)[field].fault == "not stored"


def test_field_is_a_fault_when_the_oracle_does_not_give_it(stored: Any) -> None:
    case = golden_cases()[0]
    stored[0][case.key]["extra"] = np.ones(3)

    assert check_oracle(case)["extra"].fault


@pytest.mark.parametrize(
    "changed",
    [
        {"a": np.array([1.0, 3.0])},
        {"a": np.array([[1.0, 2.0]])},
        {"a": np.array([1.0, 2.0], np.float32)},
        {"b": np.array([1.0, 2.0])},
        {"a": np.array([1.0, 2.0]), "b": np.array([])},
    ],
    ids=["value", "shape", "dtype", "name", "another"],
)
def test_digest_changes_when_anything_does(changed: dict[str, Any]) -> None:
    assert digest(changed) != digest({"a": np.array([1.0, 2.0])})


def test_digest_depends_on_neither_order_nor_layout() -> None:
    array = np.arange(6.0).reshape(2, 3)

    one = digest({"a": array, "b": array})

    assert one == digest({"b": np.asfortranarray(array), "a": array.astype(">f8")})


def test_written_files_are_the_stored_ones(tmp_path: Path) -> None:
    golden.write(tmp_path)

    written = load((tmp_path / "vectors.safetensors").read_bytes())
    assert written.keys() == load((FOLDER / "vectors.safetensors").read_bytes()).keys()
    assert json.loads((tmp_path / "manifest.json").read_text()) == golden.manifest()
    case = golden_cases()[0]
    expected = flatten(golden.expected_outputs(case))
    assert {f"{case.key}:{name}" for name in expected} <= written.keys()
