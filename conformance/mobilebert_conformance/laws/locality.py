"""Law 4: each part, given what the backend itself gives it, gives what the oracle gives.

A failure names the first faulty part: the embeddings, a layer, or the head.
"""

from collections.abc import Iterator
from typing import Any

from mobilebert_conformance.cases import Case
from mobilebert_conformance.limits import LIMITS
from mobilebert_conformance.metrics import Comparison, channel_error, field_error, worst_of
from mobilebert_conformance.oracle_heads import Oracle
from mobilebert_conformance.records import Record
from mobilebert_conformance.subject import Subject


def check(subject: Subject, case: Case) -> Iterator[Record]:
    """Clauses 4.1 (embeddings), 4.2 (every layer) and 4.3 (head)."""
    output = subject.output(case, "float64")
    states: tuple[Any, ...] = output.get("hidden_states") or ()
    layers = case.config.num_hidden_layers
    if len(states) != layers + 1:
        fault = f"{len(states)} hidden states, expected {layers + 1}"
        yield subject.record("4.1", case=case, dtype="float64", quantity="states", fault=fault)
        return
    oracle = Oracle(case.config, case.head, case.make_weights())
    inputs = {name: oracle.flatten_choices(name, each) for name, each in case.inputs.items()}
    found = channel_error(states[0], oracle.encoder.embeddings(inputs))
    yield _record(subject, case, "4.1", found, "embeddings")
    bias = oracle.encoder.attention_bias(inputs.get("attention_mask"))
    for index in range(layers):
        expected, _ = oracle.encoder.layer(index, states[index], bias)
        found = channel_error(states[index + 1], expected)
        yield _record(subject, case, "4.2", found, f"layer[{index}]")
    fields = oracle.fields(states[-1], case.inputs, subject.labels(case) or {})
    errors = {name: field_error(name, output.get(name), each) for name, each in fields.items()}
    yield _record(subject, case, "4.3", worst_of(errors), "head")


def _record(
    subject: Subject, case: Case, clause: str, comparison: Comparison, quantity: str
) -> Record:
    return subject.record(
        clause,
        comparison,
        case=case,
        dtype="float64",
        quantity=quantity,
        limit=LIMITS["locality"]["layer"],
    )
