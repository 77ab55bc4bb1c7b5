"""All backends at hand: in one process, in any order, to the same numbers."""

import itertools
import subprocess
import sys
from typing import Any

import pytest

from mobilebert_conformance.cases import small_config
from mobilebert_core import registry
from mobilebert_core.heads import HEADS
from mobilebert_core.initialization import initial_weights
from mobilebert_core.loading import create

BACKENDS = sorted(registry.usable_names())


@pytest.mark.parametrize("head", HEADS)
def test_fresh_weights_are_bit_identical(head: str, backend: Any) -> None:
    config = small_config()

    found = backend.weights(create(config, head, backend.name, seed=0))

    expected = initial_weights(config, head, 0)
    assert list(found) == list(expected)
    assert all(found[name].tobytes() == expected[name].tobytes() for name in expected)


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
