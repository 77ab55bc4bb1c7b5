"""Complex-step derivatives: the whole gradient of tiny models, and what moves together."""

from typing import Any

import numpy as np
import pytest

from metrics import gradient_errors, relative_error
from mobilebert_conformance.cases import Case, make_case, small_config, tiny_config
from mobilebert_conformance.gradients import Derivatives, direction
from mobilebert_conformance.oracle_heads import Oracle
from mobilebert_core import registry
from mobilebert_core.heads import HEADS

LIMIT = 1e-11
TRAINED_HEADS = [name for name, head in HEADS.items() if head.labels]


def derivatives_of(case: Case) -> Derivatives:
    """The derivatives of a case's loss."""
    return Derivatives(case.config, case.head, case.make_weights(), case.inputs, case.labels)


@pytest.fixture(scope="module")
def small() -> Derivatives:
    """Of a small model with two layers."""
    return derivatives_of(make_case("small", "pretraining", small_config()))


@pytest.mark.parametrize("head", TRAINED_HEADS)
@pytest.mark.parametrize("variant", ["default", "gelu"])
def test_gradients_are_those_of_autograd(head: str, variant: str) -> None:
    pytest.importorskip("torch", reason="its autograd is the independent truth")
    backend = registry.get("torch")
    changes = {"hidden_act": "gelu", "normalization_type": "layer_norm"}
    case = make_case("tiny", head, tiny_config(**changes if variant == "gelu" else {}))

    derivatives = derivatives_of(case)
    found = derivatives.gradients()

    model = backend.build(case.config, head, case.make_weights(), dtype="float64", device=None)
    loss, expected = backend.loss_and_gradients(model, case.inputs, case.labels)
    assert relative_error(derivatives.loss, loss) <= LIMIT
    errors = gradient_errors(found, expected)
    assert max(errors.values()) <= LIMIT, errors


def test_loss_is_the_oracles(small: Derivatives) -> None:
    case = make_case("small", "pretraining", small_config())
    oracle = Oracle(case.config, case.head, case.make_weights())

    expected = oracle.run(case.inputs, case.labels)["loss"]

    assert relative_error(small.loss, expected) <= 1e-14


def test_derivative_is_a_difference_quotient(small: Derivatives) -> None:
    case, step = make_case("small", "pretraining", small_config()), 1e-5
    name = "mobilebert.encoder.layer.1.attention.self.value.weight"
    weights = case.make_weights()
    move = direction(name, weights[name].shape)

    def loss(sign: int) -> Any:
        moved = {**weights, name: weights[name] + sign * step * move}
        return Oracle(case.config, case.head, moved).run(case.inputs, case.labels)["loss"]

    quotient = (loss(1) - loss(-1)) / (2 * step)

    assert small.along({name: move}) == pytest.approx(float(quotient), rel=1e-6)


def test_tensors_that_move_together_add_their_derivatives(small: Derivatives) -> None:
    weights = small.oracle.encoder.weights
    names = [*list(weights)[:4], *list(weights)[-4:]]
    moves = {name: direction(name, weights[name].shape) for name in names}

    alone = [small.along({name: move}) for name, move in moves.items()]

    assert small.along(moves) == pytest.approx(sum(alone), rel=1e-12)


def test_groups_move_along_the_direction_of_each_tensor(small: Derivatives) -> None:
    names = list(small.oracle.encoder.weights)[5:8]
    shapes = {name: small.oracle.encoder.weights[name].shape for name in names}

    found = dict(small.along_random_directions({"group": names}))

    expected = small.along({name: direction(name, shape) for name, shape in shapes.items()})
    assert found == {"group": expected}


def test_weights_are_as_before_when_a_derivative_was_taken(small: Derivatives) -> None:
    before = {name: each.tobytes() for name, each in small.oracle.encoder.weights.items()}

    list(small.along_random_directions({name: [name] for name in list(before)[::20]}))

    after = {name: each.tobytes() for name, each in small.oracle.encoder.weights.items()}
    assert after == before


def test_derivative_of_a_key_bias_is_zero(small: Derivatives) -> None:
    name = "mobilebert.encoder.layer.0.attention.self.key.bias"

    assert abs(small.along({name: np.ones(12)})) <= 1e-14


def test_directions_differ_when_names_do() -> None:
    one, other = direction("a", (3, 4)), direction("b", (3, 4))

    assert not (one == other).any()
