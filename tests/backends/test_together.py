"""All backends at hand: in one process, in any order, to the same numbers."""

import itertools
import subprocess
import sys
from typing import Any

import pytest

from metrics import gradient_errors, output_errors, relative_error
from mobilebert_conformance.cases import ALL_VARIANTS, small_config
from mobilebert_conformance.weights import random_weights, reordered_weights
from mobilebert_core import registry
from mobilebert_core.backend import Feature
from mobilebert_core.config import MobileBertConfig
from mobilebert_core.heads import HEADS
from mobilebert_core.initialization import initial_weights
from mobilebert_core.loading import create
from models import random_batch, random_labels

BACKENDS = sorted(registry.usable_names())
LIMIT = 1e-11
COLLECT = ("hidden_states", "attentions")


@pytest.mark.parametrize("head", HEADS)
def test_fresh_weights_are_bit_identical(head: str, backend: Any) -> None:
    config = small_config()

    found = backend.weights(create(config, head, backend.name, seed=0))

    expected = initial_weights(config, head, 0)
    assert list(found) == list(expected)
    assert all(found[name].tobytes() == expected[name].tobytes() for name in expected)


@pytest.fixture(scope="module")
def full_model() -> tuple[MobileBertConfig, dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Configuration, weights, inputs and labels of the default 24 layers."""
    config = MobileBertConfig()
    batch = random_batch(config, "pretraining")
    labels = random_labels(config, "pretraining", batch)
    return config, random_weights(config, "pretraining"), batch, labels


@pytest.fixture(scope="module")
def numpy_outputs(full_model: Any) -> Any:
    """The truth in float64, and four float32 runs that sum in different orders."""
    config, weights, batch, labels = full_model
    numpy = registry.get("numpy")

    def run(given: dict[str, Any], dtype: str) -> Any:
        model = numpy.build(config, "pretraining", given, dtype=dtype, device=None)
        return numpy.run(model, batch, labels=labels, collect=COLLECT)

    orders = [weights, *(reordered_weights(config, weights, seed) for seed in range(3))]
    return run(weights, "float64"), [run(each, "float32") for each in orders]


@pytest.mark.slow
def test_full_model_agrees_when_compiled(backend: Any, full_model: Any, numpy_outputs: Any) -> None:
    config, weights, batch, labels = full_model
    model = backend.build(config, "pretraining", weights, dtype="float64", device=None)

    output = backend.run(model, batch, labels=labels, collect=COLLECT)

    errors = output_errors(output, numpy_outputs[0])
    assert max(errors.values()) <= LIMIT, errors


@pytest.mark.slow
def test_float32_error_is_within_four_times_numpys(
    backend: Any, full_model: Any, numpy_outputs: Any
) -> None:
    config, weights, batch, labels = full_model
    truth, runs = numpy_outputs
    own = [output_errors(each, truth) for each in runs]
    allowed = {name: 4 * max(errors[name] for errors in own) for name in own[0]}
    model = backend.build(config, "pretraining", weights, dtype="float32", device=None)

    output = backend.run(model, batch, labels=labels, collect=COLLECT)

    errors = output_errors(output, truth)
    assert {name: each for name, each in errors.items() if each > allowed[name]} == {}
    assert min(allowed.values()) > 0


def gradient_cases() -> list[Any]:
    """Every head with labels and every variant; in each run, each of them at least once."""
    trained = [name for name, head in HEADS.items() if head.labels]
    return [
        pytest.param(
            head,
            variant,
            marks=() if "default" in variant or head == "pretraining" else pytest.mark.long,
        )
        for head in trained
        for variant in ALL_VARIANTS
    ]


@pytest.mark.needs(Feature.GRADIENTS)
@pytest.mark.parametrize(("head", "variant"), gradient_cases())
def test_gradients_agree(head: str, variant: str, backend: Any, uncompiled: Any) -> None:
    if backend.name == "torch":
        pytest.skip("the reference itself; test_torch.py compares it with transformers")
    pytest.importorskip("torch", reason="the reference of gradients")
    config = small_config(**ALL_VARIANTS[variant])
    weights = random_weights(config, head)
    batch = random_batch(config, head)
    labels = random_labels(config, head, batch)
    results = []
    for each in (registry.get("torch"), backend):
        model = each.build(config, head, weights, dtype="float64", device=None)
        with uncompiled(each):
            results.append(each.loss_and_gradients(model, batch, labels))

    (expected_loss, expected), (loss, found) = results
    assert relative_error(loss, expected_loss) <= LIMIT
    assert list(found) == list(expected)
    errors = gradient_errors(found, expected)
    assert max(errors.values()) <= LIMIT, errors


@pytest.mark.slow
@pytest.mark.needs(Feature.GRADIENTS)
def test_full_models_gradients_agree_with_each_other(backend: Any, full_model: Any) -> None:
    if backend.name == "torch":
        pytest.skip("the reference itself")
    pytest.importorskip("torch", reason="the reference of gradients")
    config, weights, batch, labels = full_model
    results = []
    for each in (registry.get("torch"), backend):
        model = each.build(config, "pretraining", weights, dtype="float64", device=None)
        results.append(each.loss_and_gradients(model, batch, labels))

    (expected_loss, expected), (loss, found) = results
    assert relative_error(loss, expected_loss) <= LIMIT
    errors = gradient_errors(found, expected)
    assert max(errors.values()) <= LIMIT, max(errors, key=errors.__getitem__)


ORDERS = [
    BACKENDS[start:] + BACKENDS[:start] for start in range(len(BACKENDS) if BACKENDS[1:] else 0)
]
ORDERS += [order[::-1] for order in ORDERS if len(order) > 2]

ALL_IN_ONE_PROCESS = """
import sys
import numpy as np
import mobilebert
config = mobilebert.Config(num_hidden_layers=1, vocab_size=97, num_labels=3)
logits = []
for name in sys.argv[1:]:
    model = mobilebert.create(config, "sequence-classification", name, seed=4)
    output = mobilebert.get_backend(name).run(model, {"input_ids": [[5, 6, 7]]})
    logits.append(np.asarray(output.logits))
print(max(float(abs(a - b).max() / abs(b).max()) for a in logits for b in logits))
"""


@pytest.mark.slow
@pytest.mark.parametrize("order", ORDERS, ids="-".join)
def test_backends_work_in_one_process_in_any_order(order: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ALL_IN_ONE_PROCESS, *order],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert float(done.stdout) <= 1e-5


def test_every_backend_can_come_first() -> None:
    assert {order[0] for order in ORDERS} == set(BACKENDS if BACKENDS[1:] else ())


def test_orders_differ() -> None:
    assert all(one != other for one, other in itertools.combinations(ORDERS, 2))
