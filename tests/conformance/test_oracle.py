"""The oracle against transformers' PyTorch MobileBERT, in float64: outputs, losses, gradients.

Without this the suite could only confirm our own misreadings: the oracle is what every backend is
held against, and it was written by the hands that wrote them.
"""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from metrics import output_errors, relative_error, token_error
from mobilebert_conformance.cases import (
    SMALL,
    VARIANTS,
    Case,
    full_case,
    input_cases,
    make_case,
    problem_cases,
    small_config,
)
from mobilebert_conformance.gradients import Derivatives, direction
from mobilebert_conformance.limits import LIMITS
from mobilebert_conformance.oracle_heads import Oracle
from mobilebert_core.heads import HEADS
from mobilebert_core.schema import owned_tensors, unused_tensors
from reference import Reference, make_reference, torch

# Measured: outputs 1.3e-14 on the small models and 1.9e-13 on 24 layers, losses 4.9e-16, gradients
# 4.9e-13 and 1.7e-12.
LIMIT = 1e-11
# Measured: 9.1e-16, of the largest gradient, in tensors that hold rounding alone; and 5.7e-15 on a
# processor that rounds otherwise, in a gradient 2,000 times smaller, whose own limit is half of it.
ZERO_LIMIT = 1e-14
TRAINED_HEADS = [name for name, head in HEADS.items() if head.labels]
Groups = Mapping[str, list[str]]


@pytest.fixture(scope="module")
def references() -> Any:
    """Makes each reference once."""
    made: dict[tuple[str, str], Reference] = {}

    def get(head: str, variant: str = "default") -> Reference:
        key = head, variant
        if key not in made:
            made[key] = make_reference(head, **(SMALL | VARIANTS[variant]))
        return made[key]

    return get


def variant_case(head: str, variant: str) -> Case:
    """A case of the suite: a full row, a padded row and one that is masked altogether."""
    return make_case(f"small/{variant}", head, small_config(head, **VARIANTS[variant]))


def check_outputs(case: Case, reference: Reference) -> None:
    """Every field of the output, loss, hidden states and attentions among them."""
    oracle = Oracle(case.config, case.head, case.make_weights())

    output = oracle.run(case.inputs, case.labels)

    errors = output_errors(output, reference.run(case.inputs, case.labels))
    assert max(errors.values()) <= LIMIT, errors


def check_gradients(case: Case, reference: Reference, groups: Groups | None = None) -> None:
    """The gradient of every tensor or group of tensors along a random direction.

    The error is relative to the gradient's norm. Some gradients are zero by cancellation, and
    rounding is all they hold: what the largest gradient's rounding explains is no error.
    """
    weights = case.make_weights()
    groups = groups or {name: [name] for name in weights}
    assert {name for names in groups.values() for name in names} == weights.keys()
    derivatives = Derivatives(case.config, case.head, weights, case.inputs, case.labels)

    found = dict(derivatives.along_random_directions(groups))

    gradients = reference.gradients(case.inputs, case.labels)
    norms = {
        group: float(np.sqrt(sum(np.square(gradients[name]).sum() for name in names)))
        for group, names in groups.items()
    }
    largest = max(norms.values())
    least = LIMITS["gradients"]["floor"] * largest
    wrong = {}
    for group, names in groups.items():
        moves = {name: direction(name, weights[name].shape) for name in names}
        expected = sum(float((gradients[name] * each).sum()) for name, each in moves.items())
        error, norm = abs(found[group] - expected), norms[group]
        if not error <= max(LIMIT * norm if norm >= least else 0.0, ZERO_LIMIT * largest):
            wrong[group] = error, norm, largest
    assert wrong == {}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("head", HEADS)
def test_outputs_agree(head: str, variant: str, references: Any) -> None:
    check_outputs(variant_case(head, variant), references(head, variant))


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("head", TRAINED_HEADS)
def test_gradients_agree(head: str, variant: str, references: Any) -> None:
    check_gradients(variant_case(head, variant), references(head, variant))


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("head", HEADS)
def test_weights_are_those_of_the_reference(head: str, variant: str, references: Any) -> None:
    config = small_config(head, **VARIANTS[variant])
    promised = owned_tensors(config, head).keys() | unused_tensors(config, head).keys()
    weights = variant_case(head, variant).make_weights()

    parameters = references(head, variant).parameters()

    assert parameters.keys() == promised
    assert all((weights[name] == parameters[name].detach().numpy()).all() for name in weights)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("head", TRAINED_HEADS)
def test_every_tensor_of_the_reference_without_gradient_is_unused(
    head: str, variant: str, references: Any
) -> None:
    case = variant_case(head, variant)

    gradients = references(head, variant).gradients(case.inputs, case.labels)

    without = {name for name, each in gradients.items() if each is None or not each.size}
    assert without == unused_tensors(case.config, head).keys()


@pytest.mark.parametrize("head", TRAINED_HEADS)
def test_gradients_agree_when_nothing_is_masked(head: str, references: Any) -> None:
    masked = variant_case(head, "default")
    inputs = {name: each for name, each in masked.inputs.items() if name != "attention_mask"}
    case = make_case("small/unpadded", head, masked.config, inputs=inputs)

    check_outputs(case, references(head))
    check_gradients(case, references(head))


INPUT_CASES = {
    case.key: case for case in input_cases() if "prediction_positions" not in case.inputs
}


@pytest.mark.parametrize("key", INPUT_CASES)
def test_outputs_agree_for_every_kind_of_input(key: str) -> None:
    case = INPUT_CASES[key]

    check_outputs(case, make_reference(case.head, **SMALL))


PROBLEM_CASES = {case.name: case for case in problem_cases()}


@pytest.mark.parametrize("name", PROBLEM_CASES)
def test_outputs_and_gradients_agree_for_every_problem_type(name: str) -> None:
    case = PROBLEM_CASES[name]
    problem = {"num_labels": case.config.num_labels, "problem_type": case.config.problem_type}
    reference = make_reference(case.head, **(SMALL | problem))

    check_outputs(case, reference)
    check_gradients(case, reference)


@pytest.mark.parametrize("head", [name for name, head in HEADS.items() if head.positions])
def test_logits_and_loss_are_those_of_the_positions(head: str, references: Any) -> None:
    (case,) = (
        case
        for case in input_cases()
        if case.head == head and "prediction_positions" in case.inputs
    )
    inputs = dict(case.inputs)
    rows, positions = np.arange(3)[:, None], inputs.pop("prediction_positions")
    name = "prediction_logits" if head == "pretraining" else "logits"

    output = Oracle(case.config, head, case.make_weights()).run(case.inputs, case.labels)

    everywhere = references(head).run(inputs, {})
    expected = torch.as_tensor(everywhere[name][rows, positions])
    assert token_error(output[name], expected) <= LIMIT
    loss = torch.nn.functional.cross_entropy(
        expected.flatten(0, 1), torch.as_tensor(case.labels["labels"]).flatten()
    )
    if head == "pretraining":
        relationship = torch.as_tensor(everywhere["seq_relationship_logits"])
        second = torch.as_tensor(case.labels["next_sentence_label"])
        loss += torch.nn.functional.cross_entropy(relationship, second)
    assert relative_error(output["loss"], loss) <= LIMIT


@pytest.mark.parametrize("head", ["masked-lm", "next-sentence-prediction", "token-classification"])
def test_loss_is_nan_when_every_label_is_ignored(head: str, references: Any) -> None:
    case = variant_case(head, "default")
    labels = {"labels": np.full_like(case.labels["labels"], -100)}

    output = Oracle(case.config, head, case.make_weights()).run(case.inputs, labels)

    assert np.isnan(output["loss"])
    assert np.isnan(references(head).run(case.inputs, labels)["loss"])


@pytest.mark.slow
@pytest.mark.parametrize("head", HEADS)
def test_outputs_agree_when_the_model_has_24_layers(head: str) -> None:
    case = full_case(head)

    check_outputs(case, make_reference(head, num_labels=case.config.num_labels))


@pytest.mark.slow
@pytest.mark.parametrize("head", ["token-classification", "question-answering"])
def test_gradients_agree_when_the_model_has_24_layers(head: str) -> None:
    case = full_case(head)
    groups: dict[str, list[str]] = {}  # layer by layer: a derivative for each tensor takes minutes
    for name in case.make_weights():
        layer = re.match(r"mobilebert\.encoder\.layer\.\d+", name)
        alone = layer is None or (head == "token-classification" and ".layer.23." in name)
        groups.setdefault(name if alone else layer[0], []).append(name)

    check_gradients(case, make_reference(head, num_labels=case.config.num_labels), groups)
