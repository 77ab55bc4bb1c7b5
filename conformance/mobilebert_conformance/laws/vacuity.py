"""Law 8: the checks look at everything. Every promised tensor is there, and every one matters."""

from collections.abc import Iterator, Mapping

from mobilebert_conformance import generator
from mobilebert_conformance.cases import Case
from mobilebert_conformance.limits import LIMITS
from mobilebert_conformance.metrics import output_errors
from mobilebert_conformance.records import Record
from mobilebert_conformance.subject import Subject
from mobilebert_conformance.weights import Array


def check_schema(subject: Subject, case: Case) -> Iterator[Record]:
    """Clause 8.1: a model has exactly the tensors that the schema promises."""
    found = subject.backend.weights(subject.model(case, subject.widest))
    yield against_schema(subject, "8.1", case, subject.widest, found)


def against_schema(
    subject: Subject, clause: str, case: Case, dtype: str, found: Mapping[str, Array]
) -> Record:
    """Whether tensors have exactly the names and shapes of the schema."""
    shapes = {name: spec.shape for name, spec in case.specs.items()}
    wrong = [name for name in shapes if name not in found or found[name].shape != shapes[name]]
    wrong += [name for name in found if name not in shapes]
    fault = f"absent, misshaped or unknown: {', '.join(wrong[:5])}" if wrong else ""
    kind = "weights" if clause == "8.1" else "gradients"
    return subject.record(
        clause, case=case, dtype=dtype, quantity=kind, compared=len(shapes), fault=fault
    )


def check_sensitivity(subject: Subject, case: Case) -> Iterator[Record]:
    """Clauses 8.3 and 8.4: any weight moves some output, but for the bias of a key.

    A key's bias adds the same to all scores of a query, which softmax does not see.
    """
    dtype = subject.widest
    weights = dict(case.make_weights())
    before = subject.output(case, dtype)
    names = list(weights)
    moved = {}
    for name in names:
        noise = 0.1 * generator.normal(6, name, weights[name].shape)
        model = subject.build(case, dtype, {**weights, name: weights[name] + noise})
        errors = output_errors(subject.run(model, case), before)
        moved[name] = max(each.error for each in errors.values())
    least = LIMITS["sensitivity"]["moved" if dtype == "float64" else "moved_float32"]
    keys = [name for name in names if name.endswith(".self.key.bias")]
    still = [name for name in names if name not in keys and not moved[name] > least]
    yield subject.record(
        "8.3",
        case=case,
        dtype=dtype,
        quantity="perturbed weights",
        compared=len(names) - len(keys),
        fault=f"no output moves with {', '.join(still[:5])}" if still else "",
    )
    seen = [name for name in keys if moved[name] > least]
    yield subject.record(
        "8.4",
        case=case,
        dtype=dtype,
        quantity="biases of keys",
        compared=len(keys),
        fault=f"outputs move with {', '.join(seen[:5])}" if seen else "",
    )
