"""Reproducible models: float64 inside, every output rounded once to float32, in every backend."""

import copy
import pickle
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import mobilebert
from mobilebert_conformance.cases import small_config
from mobilebert_conformance.weights import random_weights
from mobilebert_core import registry
from mobilebert_core.backend import BackendInfo, Feature
from mobilebert_core.checkpoints import open_checkpoint, save_checkpoint
from mobilebert_core.errors import ConfigError
from mobilebert_core.heads import HEADS
from mobilebert_core.outputs import Output
from mobilebert_core.precision import SMALLEST_FLOAT32
from models import random_batch, random_labels

pytestmark = [
    pytest.mark.needs(Feature.REPRODUCIBLE),
    # Keras' own: it reads its variables without NumPy 2's copy keyword.
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]

WORDS = "mobilebert.embeddings.word_embeddings.weight"
SMALLEST = {"num_hidden_layers": 1, "num_feedforward_networks": 1}
COLLECT = ("hidden_states", "attentions")
TIES = 1e-4  # of all values, at most; see law 3 of the conformance suite


def build(
    backend: Any, head: str = "base", *, precision: str | None = "reproducible", **changes: Any
) -> Any:
    """A small model with random weights that computes in float64."""
    config = small_config(**changes)
    options = {} if precision is None else {"precision": precision}
    weights = random_weights(config, head)
    return backend.build(config, head, weights, dtype="float64", device=None, **options)


def run(backend: Any, model: Any) -> Output[Any]:
    """All outputs of a random batch, the loss included."""
    batch = random_batch(model.config, model.head)
    labels = random_labels(model.config, model.head, batch) or None
    return backend.run(model, batch, labels=labels, collect=COLLECT)


def flat(output: Output[Any]) -> list[Any]:
    """All arrays of an output, those in tuples too."""
    return [
        np.asarray(array)
        for value in output.values()
        for array in (value if isinstance(value, tuple) else (value,))
    ]


def to_array(native: Any) -> Any:
    """A native array, whose gradient is of no interest, in NumPy."""
    return np.asarray(native.detach() if hasattr(native, "detach") else native)


def rounded(output: Output[Any]) -> list[bytes]:
    """The bits of the arrays of an output in float64, rounded once."""
    arrays = flat(output)
    assert {array.dtype for array in arrays} == {np.dtype("float64")}
    flushed = [np.where(np.abs(array) < SMALLEST_FLOAT32, 0, array) for array in arrays]
    return [array.astype(np.float32).tobytes() for array in flushed]


def bits(output: Output[Any]) -> list[bytes]:
    """The bits of the arrays of an output in float32."""
    arrays = flat(output)
    assert {array.dtype for array in arrays} == {np.dtype("float32")}
    return [array.tobytes() for array in arrays]


# What it computes


@pytest.mark.parametrize("head", HEADS)
def test_outputs_are_those_of_float64_rounded_once(
    head: str, backend: Any, uncompiled: Any
) -> None:
    with uncompiled(backend):
        output = run(backend, build(backend, head))
        precise = run(backend, build(backend, head, precision=None))

    assert bits(output) == rounded(precise)


def test_compiled_outputs_are_those_of_float64_rounded_once(backend: Any) -> None:
    output = run(backend, build(backend, "pretraining"))

    assert bits(output) == rounded(run(backend, build(backend, "pretraining", precision=None)))


@pytest.mark.parametrize("head", HEADS)
def test_outputs_have_the_same_bits_as_in_numpy(head: str, backend: Any, uncompiled: Any) -> None:
    reference_backend = registry.get("numpy")
    reference = flat(run(reference_backend, build(reference_backend, head)))

    with uncompiled(backend):
        found = flat(run(backend, build(backend, head)))

    differing = sum(int((one != other).sum()) for one, other in zip(found, reference, strict=True))
    assert differing <= TIES * sum(array.size for array in reference)


def test_call_gives_float32(backend: Any) -> None:
    model = build(backend)

    output = model(**random_batch(model.config, "base"), output_hidden_states=True)

    native = [output.last_hidden_state, output.pooler_output, *output.hidden_states]
    assert {to_array(each).dtype for each in native} == {np.dtype("float32")}


def test_tuple_has_the_bits_of_the_output(backend: Any, uncompiled: Any) -> None:
    model = build(backend)
    batch = random_batch(model.config, "base")

    with uncompiled(backend):
        arrays = model(**batch, return_dict=False)

        assert [to_array(each).tobytes() for each in arrays] == bits(backend.run(model, batch))


def test_numbers_below_the_smallest_of_float32_become_zero(backend: Any) -> None:
    tiny = [1e-40, -1e-40, SMALLEST_FLOAT32 * (1 - 2**-50), SMALLEST_FLOAT32, -SMALLEST_FLOAT32]
    array = np.array(tiny * 1000)

    found = np.asarray(type(build(backend)).to_float32(backend.tensor(array)))

    expected = np.array([0, 0, 0, SMALLEST_FLOAT32, -SMALLEST_FLOAT32] * 1000, np.float32)
    assert found.tobytes() == expected.tobytes()


def test_embeddings_in_float64_are_not_rounded(backend: Any, uncompiled: Any) -> None:
    model = build(backend)
    table = backend.weights(model)[WORDS]
    ids = np.array([[7, 8, 9]])

    with uncompiled(backend):
        output = backend.run(model, {"inputs_embeds": table[ids]})

        assert bits(output) == bits(backend.run(model, {"input_ids": ids}))


@pytest.mark.needs(Feature.GRADIENTS)
def test_loss_with_gradients_is_that_of_the_output(backend: Any) -> None:
    model = build(backend, "masked-lm", **SMALLEST)
    batch = random_batch(model.config, "masked-lm")

    loss, _ = backend.loss_and_gradients(model, batch, batch["input_ids"])

    assert loss == float(backend.run(model, batch, labels=batch["input_ids"]).loss)


@pytest.mark.needs(Feature.GRADIENTS)
def test_gradients_are_those_of_float64(backend: Any) -> None:
    model = build(backend, "masked-lm", **SMALLEST)
    precise = build(backend, "masked-lm", precision=None, **SMALLEST)
    batch = random_batch(model.config, "masked-lm")

    _, gradients = backend.loss_and_gradients(model, batch, batch["input_ids"])

    _, expected = backend.loss_and_gradients(precise, batch, batch["input_ids"])
    assert {name: each.tobytes() for name, each in gradients.items()} == {
        name: each.tobytes() for name, each in expected.items()
    }


# How such a model is made, and what it survives


def load(folder: Path, backend: Any, **options: Any) -> Any:
    return mobilebert.load(folder, backend=backend.name, **options)


def from_pretrained(folder: Path, backend: Any, **options: Any) -> Any:
    return type(build(backend, "masked-lm", **SMALLEST)).from_pretrained(folder, **options)


def construct(folder: Path, backend: Any, **options: Any) -> Any:
    checkpoint = open_checkpoint(folder)
    kind = type(build(backend, "masked-lm", **SMALLEST))
    return kind(checkpoint.config, weights=dict(checkpoint.weights), **options)


@pytest.mark.parametrize("make", [load, from_pretrained, construct])
@pytest.mark.parametrize("options", [{}, {"dtype": "float64"}, {"dtype": np.float64}])
def test_every_way_to_a_model_takes_the_precision(
    options: dict[str, Any], make: Callable[..., Any], backend: Any, tmp_path: Path
) -> None:
    config = small_config(**SMALLEST)
    save_checkpoint(tmp_path, config, random_weights(config, "masked-lm"), "masked-lm")

    model = make(tmp_path, backend, precision="reproducible", **options)

    assert model.precision == "reproducible"
    assert bits(run(backend, model)) == bits(run(backend, build(backend, "masked-lm", **SMALLEST)))


def test_created_model_has_the_weights_of_float32(backend: Any) -> None:
    config = small_config(**SMALLEST)
    single = backend.weights(mobilebert.create(config, "masked-lm", backend.name, seed=4))

    model = mobilebert.create(config, "masked-lm", backend.name, seed=4, precision="reproducible")

    found = backend.weights(model)
    assert (model.precision, found[WORDS].dtype) == ("reproducible", np.float64)
    assert all((found[name] == single[name]).all() for name in single)


@pytest.mark.parametrize("dtype", [ml_dtypes.bfloat16, np.float32, np.float16])
def test_weights_of_a_lower_dtype_are_taken_exactly(
    dtype: Any, backend: Any, tmp_path: Path
) -> None:
    config = small_config(**SMALLEST)
    weights = {name: each.astype(dtype) for name, each in random_weights(config, "base").items()}
    save_checkpoint(tmp_path, config, weights, "base")

    model = mobilebert.load(tmp_path, backend=backend.name, precision="reproducible")

    found = backend.weights(model)
    assert all(found[name].tobytes() == weights[name].astype("float64").tobytes() for name in found)


def test_model_has_no_precision_unless_it_is_asked_for(backend: Any) -> None:
    assert mobilebert.create(small_config(**SMALLEST), backend=backend.name).precision is None


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda each: pickle.loads(pickle.dumps(each))])
def test_copy_keeps_the_precision(copied: Callable[[Any], Any], backend: Any) -> None:
    model = build(backend, **SMALLEST)

    again = copied(model)

    assert again.precision == "reproducible"
    assert bits(run(backend, again)) == bits(run(backend, model))


def test_resized_model_keeps_the_precision(backend: Any) -> None:
    resized = mobilebert.resize_token_embeddings(build(backend, "masked-lm", **SMALLEST), 70)

    assert resized.precision == "reproducible"
    assert {array.dtype for array in flat(run(backend, resized))} == {np.dtype("float32")}


def test_saved_model_loads_with_the_same_outputs(backend: Any, tmp_path: Path) -> None:
    model = build(backend, **SMALLEST)

    mobilebert.save(model, tmp_path / "saved")

    again = mobilebert.load(tmp_path / "saved", backend=backend.name, precision="reproducible")
    assert bits(run(backend, again)) == bits(run(backend, model))


def test_precision_is_no_part_of_a_checkpoint(backend: Any, tmp_path: Path) -> None:
    mobilebert.save(build(backend, **SMALLEST), tmp_path / "saved")

    again = mobilebert.load(tmp_path / "saved", backend=backend.name)

    assert (again.precision, backend.weights(again)[WORDS].dtype) == (None, np.float64)


# What is refused


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", np.float32, "float23"])
def test_dtype_that_contradicts_the_precision_is_refused(dtype: Any, backend: Any) -> None:
    with pytest.raises(ConfigError, match=r"float64.*leave dtype out"):
        mobilebert.create(
            small_config(**SMALLEST), backend=backend.name, dtype=dtype, precision="reproducible"
        )


@pytest.mark.parametrize("precision", ["exact", "float64", "", True, 64])
def test_unknown_precision_is_refused(precision: Any, backend: Any) -> None:
    with pytest.raises(ConfigError, match=r"expected None or 'reproducible'"):
        mobilebert.create(small_config(**SMALLEST), backend=backend.name, precision=precision)


def test_constructor_refuses_an_unknown_precision(backend: Any) -> None:
    with pytest.raises(ConfigError, match=r"'exact', expected None or 'reproducible'"):
        type(build(backend, **SMALLEST))(small_config(**SMALLEST), precision="exact")


@pytest.fixture
def foreign(monkeypatch: pytest.MonkeyPatch) -> str:
    """A backend of another distribution, written before there was a precision."""

    class Foreign:
        name = "foreign"
        features = frozenset({Feature.FLOAT64, Feature.FLOAT32})

        def build(self, config: Any, head: str, weights: Any, *, dtype: str, device: Any) -> Any:
            return dtype

    module = types.ModuleType("foreign_backend_of_a_test")
    module.Foreign = Foreign  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(registry, "_registered", {})
    monkeypatch.setattr(registry, "_instances", dict(registry._instances))
    implementation = f"{module.__name__}:Foreign"
    registry.register_backend(
        BackendInfo(name="foreign", implementation=implementation, requires=(), install="nothing")
    )
    return "foreign"


def test_backend_that_knows_no_precision_is_built_without(foreign: str) -> None:
    assert mobilebert.create(small_config(**SMALLEST), backend=foreign) == "float32"


def test_backend_that_claims_no_reproducibility_is_refused_and_others_are_named(
    foreign: str,
) -> None:
    with pytest.raises(ConfigError, match=r"foreign backend .*reproducible.*numpy"):
        mobilebert.create(small_config(**SMALLEST), backend=foreign, precision="reproducible")
