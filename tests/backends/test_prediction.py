"""`predict` in every backend: each result is that of the text alone, whatever its neighbours."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metrics import absolute_error
from mobilebert_conformance.cases import small_config
from mobilebert_conformance.weights import random_weights
from mobilebert_core.backend import Feature
from mobilebert_core.heads import HEADS
from mobilebert_core.prediction import predict

LIMIT = 1e-11
LONGEST = small_config().max_position_embeddings
Array = np.ndarray[Any, np.dtype[Any]]


def build(backend: Any, head: str, dtype: str = "float64", **options: Any) -> Any:
    """A small model with random weights."""
    config = small_config(head)
    weights = random_weights(config, head)
    return backend.build(config, head, weights, dtype=dtype, device=None, **options)


def random_items(head: str, lengths: list[int], seed: int) -> list[dict[str, Array]]:
    """Texts of these lengths; for multiple choice examples of one to three of them."""
    random = np.random.default_rng(seed)
    items = []
    for length in lengths:
        choices = HEADS[head].choices
        shape = (int(random.integers(1, 4)), length) if choices else (length,)
        item = {
            "input_ids": random.integers(0, 61, shape),
            "token_type_ids": random.integers(0, 4, shape),
        }
        if choices:
            ends = random.choice([length, length // 2 + 1], (shape[0], 1))
            item["attention_mask"] = (np.arange(length) < ends).astype(np.int64)
        if HEADS[head].positions and random.random() < 0.5:
            item["prediction_positions"] = random.integers(0, length, random.integers(0, 4))
        items.append(item)
    return items


def alone(backend: Any, model: Any, item: Mapping[str, Array]) -> dict[str, Array]:
    """What the model itself gives for one text, or for one choice after the other."""
    if not HEADS[model.head].choices:
        given = {name: array[None] for name, array in item.items() if array.size}
        fields = {name: array[0] for name, array in backend.run(model, given).items()}
        if "prediction_positions" in item and not item["prediction_positions"].size:
            name = "logits" if model.head == "masked-lm" else "prediction_logits"
            fields[name] = fields[name][:0]
        return fields
    ends = item["attention_mask"].sum(axis=1)
    rows = [
        {name: item[name][row, :end][None, None] for name in ("input_ids", "token_type_ids")}
        for row, end in enumerate(ends)
    ]
    return {"logits": np.concatenate([backend.run(model, row).logits[0] for row in rows])}


def assert_each_is_as_alone(
    backend: Any, model: Any, items: list[dict[str, Array]], limit: float = LIMIT, **options: Any
) -> None:
    outputs = list(predict(model, items, **options))

    assert len(outputs) == len(items)
    for output, item in zip(outputs, items, strict=True):
        expected = alone(backend, model, item)
        assert type(output) is HEADS[model.head].output
        assert list(output) == list(expected)
        for name, values in expected.items():
            assert output[name].shape == values.shape
            scale = 1 + np.abs(values.astype(np.float64)).max(initial=0)
            assert values.size == 0 or absolute_error(output[name], values) <= limit * scale


QUICK = settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.mark.parametrize("optimize", [False, True])
@pytest.mark.parametrize("name", ["numpy", "torch"])
@pytest.mark.parametrize("head", HEADS)
@QUICK
@given(
    lengths=st.lists(st.integers(1, LONGEST), max_size=12),
    budget=st.integers(1, 90),
    window=st.integers(1, 14),
    seed=st.integers(0, 9),
)
def test_result_is_that_of_the_text_alone(
    head: str, name: str, optimize: bool, lengths: list[int], budget: int, window: int, seed: int
) -> None:
    backend, model = kept_model(name, head, optimize)
    items = random_items(head, lengths, seed)
    assert_each_is_as_alone(backend, model, items, token_budget=budget, window=window)


_KEPT: dict[Any, Any] = {}


def kept_model(name: str, head: str, optimize: bool) -> tuple[Any, Any]:
    """A backend and a model that serves all examples."""
    if name == "torch":
        pytest.importorskip("torch")
    from mobilebert_core import registry

    backend = registry.get(name)
    key = (name, head, optimize)
    if key not in _KEPT:
        _KEPT[key] = build(backend, head, **({"optimize": True} if optimize else {}))
    return backend, _KEPT[key]


@pytest.mark.parametrize("head", HEADS)
def test_result_is_that_of_the_text_alone_in_every_backend(
    head: str, backend: Any, uncompiled: Any
) -> None:
    items = random_items(head, [17, 16, 17], seed=5)
    with uncompiled(backend):
        assert_each_is_as_alone(backend, build(backend, head), items, token_budget=60)


@pytest.mark.parametrize("batching", ["lengths", "shapes", "unknown"])
@pytest.mark.parametrize("head", HEADS)
def test_result_is_that_of_the_text_alone_when_batches_are(
    head: str, batching: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend, model = kept_model("numpy", head, False)
    monkeypatch.setattr(type(model), "batching", batching)
    items = random_items(head, [1, 16, 15, 19, 17, 2, 16, 3], seed=4)

    assert_each_is_as_alone(backend, model, items, token_budget=70)


@pytest.mark.needs(Feature.OPTIMIZED)
def test_optimised_model_computes_texts_side_by_side(
    backend: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = build(backend, "base", optimize=True)
    if getattr(model, "batching", None) != "packed":
        pytest.skip("the backend's optimised models take rectangles")
    seen = []
    usual = type(backend).run_packed
    monkeypatch.setattr(
        type(backend),
        "run_packed",
        lambda self, model, batch: seen.append(batch.lengths) or usual(self, model, batch),
    )

    list(predict(model, random_items("base", [3, 9, 4, 9, 5], seed=1), token_budget=18))

    assert seen == [(9, 9), (5, 4, 3)]


@pytest.mark.needs(Feature.REPRODUCIBLE)
@pytest.mark.parametrize("optimize", [False, True])
def test_reproducible_model_gives_the_bits_of_the_text_alone(backend: Any, optimize: bool) -> None:
    if optimize and Feature.OPTIMIZED not in backend.features:
        pytest.skip("the backend has no optimised models")
    options = {"optimize": True} if optimize else {}
    model = build(backend, "base", precision="reproducible", **options)
    items = random_items("base", [3, 17, 16, 4], seed=2)

    outputs = list(predict(model, items))

    for output, item in zip(outputs, items, strict=True):
        expected = alone(backend, model, item)["last_hidden_state"]
        assert output.last_hidden_state.dtype == np.float32
        assert output.last_hidden_state.tobytes() == expected.tobytes()


@pytest.mark.needs(Feature.BFLOAT16)
def test_result_has_the_dtype_of_the_model_when_it_is_bfloat16(
    backend: Any, uncompiled: Any
) -> None:
    model = build(backend, "base", dtype="bfloat16")
    with uncompiled(backend):
        items = random_items("base", [17, 16], seed=2)
        assert_each_is_as_alone(backend, model, items, limit=0.1)
        output = next(predict(model, items))

    assert output.last_hidden_state.dtype.name == "bfloat16"


def test_torch_model_in_training_mode_predicts_without_dropout_and_stays_in_it() -> None:
    torch = pytest.importorskip("torch")
    from mobilebert_core import registry

    backend = registry.get("torch")
    config = small_config(hidden_dropout_prob=0.5)
    for options in ({}, {"optimize": True}):
        weights = random_weights(config, "base")
        model = backend.build(config, "base", weights, dtype="float64", device=None, **options)
        model.train()

        items = random_items("base", [5, 9, 9], seed=3)
        assert_each_is_as_alone(backend, model, items)

        assert model.training
        assert torch.is_grad_enabled()
