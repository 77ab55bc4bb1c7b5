"""Law 6: every tensor's gradient is the oracle's, and training takes the same way.

The oracle's gradients come from complex steps (`gradients.py`). The optimisers are the suite's own
and work on canonical weights, so that nothing but the backend's gradients is tested.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial

import numpy as np

from mobilebert_conformance.cases import Case
from mobilebert_conformance.gradients import Derivatives, direction
from mobilebert_conformance.laws.vacuity import against_schema
from mobilebert_conformance.limits import LIMITS
from mobilebert_conformance.metrics import Comparison, tensor_error, worst_of
from mobilebert_conformance.records import Record
from mobilebert_conformance.subject import Subject
from mobilebert_conformance.weights import Array

STEPS = 5
# The head whose tensors move one by one on 24 layers: it costs little and is well conditioned. A
# loss over positions does not see what all tokens have in common, and gradients cancel.
_HEAD_BY_TENSOR = "token-classification"
Weights = dict[str, Array]
Step = Callable[[int, Weights, Mapping[str, Array]], Weights]


def check_gradients(subject: Subject, case: Case) -> Iterator[Record]:
    """Clauses 6.1 and 8.2: the gradient of every tensor that the schema promises."""
    model = subject.model(case, "float64")
    loss, found = subject.backend.loss_and_gradients(model, case.inputs, case.labels)
    promised = against_schema(subject, "8.2", case, "float64", found)
    yield promised
    if not promised.passed:
        return
    groups = _groups(case)
    truth = subject.references.arrays(
        f"derivatives/{case.identity}", lambda: _derivatives(case, groups)
    )
    yield subject.record(
        "1.4",
        tensor_error(loss, truth["loss"]),
        case=case,
        dtype="float64",
        quantity="loss with gradients",
        limit=LIMITS["semantics"]["loss"],
    )
    errors = _errors(found, groups, truth["values"])
    yield subject.record(
        "6.1",
        worst_of(errors),
        case=case,
        dtype="float64",
        quantity="",
        limit=LIMITS["gradients"]["tensor"],
        note=f"{len(found)} tensors along {len(groups)} random directions",
    )


def _groups(case: Case) -> dict[str, list[str]]:
    """The tensors that move together: one by one, in layers where that would take minutes."""
    names = list(case.specs)
    if not case.heavy or case.head == _HEAD_BY_TENSOR:
        return {name: [name] for name in names}
    groups: dict[str, list[str]] = {}
    for name in names:
        stem, found, rest = name.partition(".encoder.layer.")
        part = f"{stem}{found}{rest.partition('.')[0]}" if found else name
        groups.setdefault(part, []).append(name)
    return groups


def _derivatives(case: Case, groups: Mapping[str, list[str]]) -> dict[str, Array]:
    derivatives = Derivatives(case.config, case.head, case.make_weights(), case.inputs, case.labels)
    values = [value for _, value in derivatives.along_random_directions(groups)]
    return {"loss": np.array(derivatives.loss), "values": np.array(values)}


def _errors(
    found: Mapping[str, Array], groups: Mapping[str, list[str]], expected: Array
) -> dict[str, Comparison]:
    """For each group, how far the gradient's component along the direction is off."""
    norms = {
        name: float(np.sqrt(np.square(each, dtype=np.float64).sum()))
        for name, each in found.items()
    }
    least = LIMITS["gradients"]["floor"] * max(norms.values())
    errors = {}
    for (group, names), value in zip(groups.items(), expected, strict=True):
        along = sum(
            float((found[name] * direction(name, found[name].shape)).sum()) for name in names
        )
        size = max(float(np.sqrt(sum(norms[name] ** 2 for name in names))), least)
        gap = abs(along - float(value))
        error = gap / size if size else (np.inf if gap else 0.0)  # a constant loss has no gradient
        count = sum(found[name].size for name in names)
        errors[group] = Comparison(error if np.isfinite(error) else np.inf, count)
    return errors


def sgd(number: int, weights: Weights, gradients: Mapping[str, Array]) -> Weights:
    """Stochastic gradient descent, learning rate 0.05."""
    del number
    return {name: each - 0.05 * gradients[name] for name, each in weights.items()}


def make_adamw() -> Step:
    """AdamW (Loshchilov and Hutter, 2019): rate 1e-2, betas 0.9 and 0.999, decay 0.01, eps 1e-6."""
    means: Weights = {}
    squares: Weights = {}

    def step(number: int, weights: Weights, gradients: Mapping[str, Array]) -> Weights:
        changed = {}
        for name, each in weights.items():
            gradient = gradients[name]
            means[name] = 0.9 * means.get(name, 0.0) + 0.1 * gradient
            squares[name] = 0.999 * squares.get(name, 0.0) + 0.001 * gradient**2
            mean = means[name] / (1 - 0.9**number)
            scale = np.sqrt(squares[name] / (1 - 0.999**number)) + 1e-6
            changed[name] = each - 1e-2 * (mean / scale + 0.01 * each)
        return changed

    return step


def trajectory(
    weights: Mapping[str, Array],
    step: Step,
    loss_and_gradients: Callable[[Weights], tuple[float, Mapping[str, Array]]],
) -> Array:
    """The loss before each of the steps and after the last; (STEPS + 1,)."""
    current, losses = dict(weights), []
    for number in range(1, STEPS + 1):
        loss, gradients = loss_and_gradients(current)
        losses.append(loss)
        current = step(number, current, gradients)
    losses.append(loss_and_gradients(current)[0])
    return np.array(losses)


def _losses(
    case: Case,
    make: Callable[[], Step],
    loss_and_gradients: Callable[[Weights], tuple[float, Mapping[str, Array]]],
) -> dict[str, Array]:
    return {"losses": trajectory(case.make_weights(), make(), loss_and_gradients)}


def check_training(subject: Subject, case: Case) -> Iterator[Record]:
    """Clauses 6.2 (SGD) and 6.3 (AdamW): the same losses, step by step."""

    def own(weights: Weights) -> tuple[float, Mapping[str, Array]]:
        model = subject.build(case, "float64", weights)
        return subject.backend.loss_and_gradients(model, case.inputs, case.labels)

    def oracles(weights: Weights) -> tuple[float, Mapping[str, Array]]:
        found = Derivatives(case.config, case.head, weights, case.inputs, case.labels)
        return found.loss, found.gradients()

    for clause, name, make in (("6.2", "SGD", lambda: sgd), ("6.3", "AdamW", make_adamw)):
        compute = partial(_losses, case, make, oracles)
        truth = subject.references.arrays(f"training/{name}/{case.identity}", compute)["losses"]
        found = trajectory(case.make_weights(), make(), own)
        losses = {
            f"loss before step {number + 1}": tensor_error(one, other)
            for number, (one, other) in enumerate(zip(found, truth, strict=True))
        }
        yield subject.record(
            clause,
            worst_of(losses),
            case=case,
            dtype="float64",
            quantity=name,
            limit=LIMITS["training"]["loss"],
            note=f"{name}: loss {truth[0]:.4f} to {truth[-1]:.4f}",
        )
