"""Law 2: in a lower dtype a backend errs at most four times as much as the oracle itself does.

The oracle's error is the worst of several runs in that dtype whose sums are ordered differently. A
result cannot be nearer than its own rounding, so that counts as the least error. Where rounding
leaves no digits, as in bfloat16 after 24 layers, every part is judged alone, from the state that
the backend itself gives it.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import ml_dtypes
import numpy as np

from mobilebert_conformance.arithmetic import BY_DTYPE
from mobilebert_conformance.cases import Case
from mobilebert_conformance.limits import LIMITS
from mobilebert_conformance.metrics import Comparison, field_error
from mobilebert_conformance.oracle_heads import Oracle
from mobilebert_conformance.records import Record
from mobilebert_conformance.subject import Subject
from mobilebert_conformance.weights import reordered_weights
from mobilebert_core.backend import Feature

Parts = dict[tuple[str, str], Any]  # by part and field

_CLAUSES = {"float32": "2.1", "bfloat16": "2.2", "float16": "2.3"}


def check(subject: Subject, case: Case) -> Iterator[Record]:
    """Clauses 2.1 to 2.4: all fields of one case, in every lower dtype that is claimed."""
    truth = subject.truth(case)
    for dtype in subject.lower_dtypes:
        own = allowed_errors(subject, case, dtype)
        output = subject.output(case, dtype)
        readable = {
            name: limit for name, limit in own.items() if limit < LIMITS["precision"]["most"]
        }
        for name, limit in readable.items():
            yield subject.record(
                _CLAUSES[dtype],
                field_error(name, output.get(name), truth[name]),
                case=case,
                dtype=dtype,
                quantity=name,
                limit=limit,
            )
        if readable.keys() != own.keys():
            yield from check_parts(subject, case, dtype)


def allowed_errors(subject: Subject, case: Case, dtype: str) -> dict[str, float]:
    """Four times the worst error of the oracle in this dtype, by field."""
    truth = subject.truth(case)
    runs = [subject.truth(case, dtype, order) for order in _orders()]
    return {
        name: _allowed(dtype, [field_error(name, run[name], expected) for run in runs])
        for name, expected in truth.items()
    }


def _orders() -> range:
    return range(int(LIMITS["precision"]["runs"]))


def _allowed(dtype: str, found: list[Comparison]) -> float:
    rounding = float(ml_dtypes.finfo(dtype).eps) / 2  # type: ignore[no-untyped-call]
    return LIMITS["precision"]["factor"] * max(rounding, *(each.error for each in found))


def check_parts(subject: Subject, case: Case, dtype: str) -> Iterator[Record]:
    """Clause 2.4: embeddings, every layer and the head, each from the backend's own state."""
    if not subject.claims(Feature.HIDDEN_STATES):
        fault = f"{dtype} leaves no digits, and without hidden states no part can be judged alone"
        yield subject.record("2.4", case=case, dtype=dtype, quantity="parts", fault=fault)
        return
    output = subject.output(case, dtype)
    states = [np.asarray(each).astype(np.float64) for each in output["hidden_states"]]
    given = _given_parts(states, output)
    weights = case.make_weights()
    exact = _oracle_parts(Oracle(case.config, case.head, weights), case, states)
    allowed: dict[tuple[str, str], list[Comparison]] = {}
    for order in _orders():
        changed = reordered_weights(case.config, weights, order) if order else weights
        run = _oracle_parts(Oracle(case.config, case.head, changed, BY_DTYPE[dtype]), case, states)
        for key, value in run.items():
            allowed.setdefault(key, []).append(field_error(key[1], value, exact[key]))
    errors = {
        key: (field_error(key[1], given[key], exact[key]), _allowed(dtype, allowed[key]))
        for key in given
    }
    key = max(errors, key=lambda each: errors[each][0].error / errors[each][1])
    found, limit = errors[key]
    yield subject.record(
        "2.4",
        Comparison(found.error, sum(each.compared for each, _ in errors.values()), found.fault),
        case=case,
        dtype=dtype,
        quantity=": ".join(key),
        limit=limit,
        note=f"the worst of {len(errors)} parts",
    )


def _given_parts(states: list[Any], output: Mapping[str, Any]) -> Parts:
    """What the backend made of its own states."""
    parts: Parts = {("embeddings", "hidden_states"): states[0]}
    for index, state in enumerate(states[1:]):
        parts[f"layer[{index}]", "hidden_states"] = state
    for index, probabilities in enumerate(output.get("attentions", ())):
        parts[f"layer[{index}]", "attentions"] = probabilities
    rest = [name for name in output if name not in ("hidden_states", "attentions")]
    return parts | {("head", name): output[name] for name in rest}


def _oracle_parts(oracle: Oracle, case: Case, states: list[Any]) -> Parts:
    """What the oracle makes of the same states, in its own numbers."""
    encoder = oracle.encoder
    inputs = {name: oracle.flatten_choices(name, each) for name, each in case.inputs.items()}
    bias = encoder.attention_bias(inputs.get("attention_mask"))
    parts: Parts = {("embeddings", "hidden_states"): encoder.embeddings(inputs)}
    for index, state in enumerate(states[:-1]):
        hidden, probabilities = encoder.layer(index, encoder.keep(state), bias)
        parts[f"layer[{index}]", "hidden_states"] = hidden
        parts[f"layer[{index}]", "attentions"] = probabilities
    fields = oracle.fields(encoder.keep(states[-1]), case.inputs, case.labels)
    return parts | {("head", name): value for name, value in fields.items()}
