"""Law 1: in float64 every output is the oracle's. This is what "identical" means.

In float32 a dropped bias or an attention scale off by 1e-4 hides in the noise; in float64 it stands
out by orders of magnitude.
"""

from collections.abc import Iterator

import numpy as np

from mobilebert_conformance.cases import Case, make_case, small_config
from mobilebert_conformance.limits import LIMITS
from mobilebert_conformance.metrics import field_error
from mobilebert_conformance.records import Record
from mobilebert_conformance.subject import Subject

_SPECIAL = {
    "attentions": ("1.2", "attentions"),
    "logits": ("1.3", "logits"),
    "prediction_logits": ("1.3", "logits"),
    "seq_relationship_logits": ("1.3", "logits"),
    "start_logits": ("1.3", "logits"),
    "end_logits": ("1.3", "logits"),
    "loss": ("1.4", "loss"),
}


def check(subject: Subject, case: Case) -> Iterator[Record]:
    """Clauses 1.1 to 1.5: all fields of one case."""
    truth = subject.truth(case)
    output = subject.output(case, "float64")
    for name, expected in truth.items():
        clause, kind = _SPECIAL.get(name, ("1.1", "hidden_states"))
        yield subject.record(
            clause,
            field_error(name, output.get(name), expected),
            case=case,
            dtype="float64",
            quantity=name,
            limit=LIMITS["semantics"][kind],
        )
    missing, extra = sorted(truth.keys() - output.keys()), sorted(output.keys() - truth.keys())
    yield subject.record(
        "1.5",
        case=case,
        dtype="float64",
        quantity="fields",
        compared=len(truth),
        fault=f"missing {missing}, unexpected {extra}" if missing or extra else "",
    )


# What counts nothing, by head; for question answering a position beyond the text.
_NOTHING = {
    "pretraining": -100,
    "masked-lm": -100,
    "next-sentence-prediction": -100,
    "sequence-classification": -100,
    "token-classification": -100,
    "question-answering": 10_000,
}


def nothing_counts_cases() -> list[Case]:
    """Heads whose labels may all be ignored."""
    made = []
    for head, nothing in _NOTHING.items():
        case = make_case("small/nothing_counts", head, small_config(head))
        labels = {name: np.full_like(each, nothing) for name, each in case.labels.items()}
        made.append(make_case(case.name, head, case.config, inputs=case.inputs, labels=labels))
    return made


def check_nothing_counts(subject: Subject, case: Case) -> Iterator[Record]:
    """Clause 1.6: where no label counts, the mean of nothing is NaN; it is no zero."""
    loss = subject.output(case, subject.widest).get("loss")
    found = None if loss is None else float(np.asarray(loss))
    wrong = found is None or not np.isnan(found)
    yield subject.record(
        "1.6",
        case=case,
        dtype=subject.widest,
        quantity="loss",
        fault=f"the loss is {found}, expected NaN: no label counts" if wrong else "",
    )
