"""What `mobilebert demo` measures, on a small model with the real vocabulary."""

import math
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mobilebert_core import registry
from mobilebert_core.backend import BackendInfo
from mobilebert_core.checkpoints import open_checkpoint
from mobilebert_core.config import MobileBertConfig
from mobilebert_core.demonstration import (
    LIMITS,
    Measurement,
    demonstrate,
    demonstration_config,
    deviation,
    example_batches,
    make_checkpoint,
    participants,
)
from mobilebert_core.errors import ConfigError, MissingDependencyError, MobileBertError
from mobilebert_core.heads import HEADS
from mobilebert_core.outputs import BaseModelOutput, MaskedLMOutput, map_arrays
from mobilebert_numpy.backend import NumpyBackend

SMALL = MobileBertConfig(
    hidden_size=24,
    num_hidden_layers=2,
    num_attention_heads=3,
    intermediate_size=20,
    embedding_size=10,
    intra_bottleneck_size=12,
    max_position_embeddings=80,
    num_labels=3,
    initializer_range=0.2,
)

Register = Callable[..., str]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("demo") / "checkpoint", SMALL, 0)


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Iterator[Register]:
    """Registers a NumPy backend whose outputs are changed by a function."""
    names = []

    def add(change: Callable[[Any], Any], requires: str = "numpy") -> str:
        class Changed(NumpyBackend):
            name = "changed"

            def run(self, *args: Any, **kwargs: Any) -> Any:
                return map_arrays(super().run(*args, **kwargs), change)

        module = types.ModuleType("changed_backend")
        module.Changed = Changed  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "changed_backend", module)
        info = BackendInfo(
            name="changed",
            implementation="changed_backend:Changed",
            requires=(requires,),
            install='pip install "somewhere[changed]"',
        )
        registry.register_backend(info)
        names.append(info.name)
        return info.name

    yield add
    for name in names:
        registry.unregister_backend(name)


def measured(folder: Path, *backends: str, dtype: str = "float32") -> list[Measurement]:
    return list(demonstrate(folder, backends, dtype=dtype, calls=1))


def test_checkpoint_has_no_zero_bias_and_no_plain_norm_when_made(folder: Path) -> None:
    for name, values in open_checkpoint(folder).weights.items():
        assert values.std() > 0, name


def test_checkpoint_has_the_same_values_when_the_seed_is_the_same(
    folder: Path, tmp_path: Path
) -> None:
    first = open_checkpoint(folder).weights
    again = open_checkpoint(make_checkpoint(tmp_path / "again", SMALL, 0)).weights
    other = open_checkpoint(make_checkpoint(tmp_path / "other", SMALL, 1)).weights
    assert all(first[name].tobytes() == again[name].tobytes() for name in first)
    assert all(first[name].tobytes() != other[name].tobytes() for name in first)


def test_signals_grow_moderately_when_the_model_has_full_size(tmp_path: Path) -> None:
    config = demonstration_config(layers=6)
    folder = make_checkpoint(tmp_path / "full", config, 0)
    backend = registry.get("numpy")
    from mobilebert_core.loading import load

    batch = example_batches(folder)["base"]
    states = backend.run(load(folder, "base", "numpy"), batch, collect=("hidden_states",))
    first, last = states.hidden_states[0], states.hidden_states[-1]
    growth = np.sqrt(np.square(last).mean() / np.square(first).mean())
    assert 1.5 < growth < 20


def test_every_head_has_texts_when_batches_are_made(folder: Path) -> None:
    batches = example_batches(folder)
    assert list(batches) == list(HEADS)
    assert all((batch["input_ids"] > 999).any() for batch in batches.values())


def test_texts_are_what_the_heads_are_for_when_batches_are_made(folder: Path) -> None:
    batches = example_batches(folder)
    mask_id = 103
    assert (batches["masked-lm"]["input_ids"] == mask_id).any(axis=1).all()
    assert batches["multiple-choice"]["input_ids"].ndim == 3
    for head in ("pretraining", "next-sentence-prediction", "question-answering"):
        assert (batches[head]["token_type_ids"] == 1).any(axis=1).all()
    assert all((batch["attention_mask"] == 0).any() for batch in batches.values())


def test_all_heads_agree_when_run_in_every_installed_backend(folder: Path) -> None:
    names = registry.usable_names()
    results = measured(folder, *names)
    assert [(each.head, each.backend) for each in results] == [
        (head, name) for head in HEADS for name in names
    ]
    assert [each.fault for each in results] == [""] * len(results)
    assert all(0 < (each.deviation or 0) < LIMITS["float32"] for each in results)
    assert all((each.milliseconds or 0) > 0 for each in results)


def test_numpy_has_no_deviation_when_it_computes_like_the_reference(folder: Path) -> None:
    assert {each.deviation for each in measured(folder, "numpy", dtype="float64")} == {0.0}


def test_result_is_a_fault_when_the_deviation_is_too_large(
    folder: Path, register: Register
) -> None:
    results = measured(folder, register(lambda array: array * np.float32(1.001)))
    assert all("deviation is 1.0e-03, expected at most 1e-04" in each.fault for each in results)


def test_result_is_a_fault_when_values_are_not_finite(folder: Path, register: Register) -> None:
    results = measured(
        folder, register(lambda array: np.where(array == array.max(), np.nan, array))
    )
    assert all(each.deviation == math.inf and "not finite" in each.fault for each in results)


def test_result_is_a_fault_when_a_backend_raises(folder: Path, register: Register) -> None:
    def fail(array: Any) -> Any:
        raise ZeroDivisionError("no such luck")

    results = measured(folder, register(fail), "numpy")
    faults = {(each.backend, each.fault) for each in results}
    assert faults == {("changed", "ZeroDivisionError: no such luck"), ("numpy", "")}


def test_steps_are_announced_when_they_begin(folder: Path) -> None:
    steps: list[str] = []
    list(demonstrate(folder, ["numpy"], calls=1, announce=steps.append))
    assert len(steps) == 2 * len(HEADS)
    assert steps[1] == "base: numpy in float32"


def hidden(values: Any) -> BaseModelOutput[Any]:
    return BaseModelOutput(last_hidden_state=np.asarray(values, np.float64))


def test_deviation_is_that_of_the_worst_channel_when_it_is_a_hidden_state() -> None:
    reference = hidden([[[1e6, 1.0], [1e6, 1.0]]])
    assert deviation(hidden([[[1e6, 1.5], [1e6, 1.5]]]), reference) == pytest.approx(0.5)


def test_deviation_is_that_of_the_worst_row_when_it_is_of_logits() -> None:
    reference = MaskedLMOutput(logits=np.array([[[300.0, 400.0], [3.0, 4.0]]]))
    test = MaskedLMOutput(logits=np.array([[[300.0, 400.0], [3.0, 5.0]]]))
    assert deviation(test, reference) == pytest.approx(0.2)


def test_deviation_is_infinite_when_the_reference_is_zero_and_the_value_is_not() -> None:
    assert deviation(hidden([[[1.0, 1e-30]]]), hidden([[[1.0, 0.0]]])) == math.inf


def test_deviation_is_infinite_when_both_are_not_finite() -> None:
    assert deviation(hidden([[[math.nan]]]), hidden([[[math.nan]]])) == math.inf


@pytest.mark.parametrize(
    "other", [hidden([[[1.0], [1.0]]]), MaskedLMOutput(logits=np.ones((1, 1, 1)))]
)
def test_deviation_raises_when_fields_or_shapes_differ(other: Any) -> None:
    with pytest.raises(MobileBertError, match="expected"):
        deviation(other, hidden([[[1.0]]]))


def test_backend_is_absent_with_its_install_line_when_something_is_missing(
    register: Register,
) -> None:
    register(lambda array: array, requires="no_such_module")
    absent = {each.name: each for each in participants((), "float32") if each.absence}
    assert absent["changed"].absence == 'pip install "somewhere[changed]"'
    assert not absent["changed"].broken


def test_backend_is_broken_when_it_does_not_import(
    register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(lambda array: array)
    monkeypatch.delattr(sys.modules["changed_backend"], "Changed")
    broken = [each for each in participants((), "float32") if each.broken]
    assert [each.name for each in broken] == ["changed"]


def test_backend_is_absent_when_it_does_not_offer_the_dtype() -> None:
    pytest.importorskip("torch")
    found = {each.name: each.absence for each in participants((), "bfloat16")}
    assert found["numpy"] == "does not offer bfloat16"
    assert found["torch"] == ""


def test_named_backend_raises_when_something_is_missing(register: Register) -> None:
    name = register(lambda array: array, requires="no_such_module")
    with pytest.raises(MissingDependencyError, match="no_such_module"):
        participants([name], "float32")


def test_named_backend_raises_when_it_does_not_offer_the_dtype() -> None:
    with pytest.raises(ConfigError, match="bfloat16"):
        participants(["numpy"], "bfloat16")


def test_named_backend_takes_part_once_when_named_twice() -> None:
    assert [each.name for each in participants(["np", "numpy"], "float32")] == ["numpy"]


@pytest.mark.parametrize("layers", [2, pytest.param(24, marks=pytest.mark.long)])
@pytest.mark.parametrize("dtype", list(LIMITS))
def test_all_heads_agree_in_every_backend(tmp_path: Path, dtype: str, layers: int) -> None:
    if dtype == "bfloat16":
        pytest.importorskip("torch", reason="NumPy does not compute in bfloat16")
    folder = make_checkpoint(tmp_path / "full", demonstration_config(layers), 0)
    names = [each.name for each in participants((), dtype) if not each.absence]
    results = measured(folder, *names, dtype=dtype)
    assert [each.fault for each in results] == [""] * (len(HEADS) * len(names))
