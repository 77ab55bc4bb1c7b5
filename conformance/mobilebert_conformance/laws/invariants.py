"""Law 7: what holds for every input, whatever the weights: inputs are drawn by hypothesis.

In continuous integration draws are the same each time; nothing is stored between runs.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mobilebert_conformance.cases import Case
from mobilebert_conformance.limits import LIMITS
from mobilebert_conformance.metrics import (
    Comparison,
    bits_differ,
    output_errors,
    worst_of,
)
from mobilebert_conformance.records import Record
from mobilebert_conformance.references import flatten
from mobilebert_conformance.subject import Subject

Array = np.ndarray[Any, np.dtype[Any]]
Fields = dict[str, Any]
Property = Callable[["Call", st.DataObject], Comparison]

ROWS, LENGTH = 3, 8
_EXAMPLES, _EXAMPLES_HEAVY = 12, 2
_BATCH_FIELDS = (
    "last_hidden_state",
    "pooler_output",
    "logits",
    "prediction_logits",
    "seq_relationship_logits",
    "start_logits",
    "end_logits",
)


class Call:
    """One model, and what it gives for drawn inputs. No labels: a loss mixes the rows."""

    def __init__(self, subject: Subject, case: Case) -> None:
        self.subject, self.case = subject, case
        self.model = subject.model(case, subject.widest)
        choices = case.shape[1:-1]
        length = min(LENGTH, case.config.max_position_embeddings)
        self.shape = (ROWS, *choices, length)
        self.drawn: list[int] = []

    def run(self, **inputs: Any) -> Fields:
        """The head's own fields."""
        given = {name: each for name, each in inputs.items() if each is not None}
        output = self.subject.backend.run(self.model, given)
        return {name: np.asarray(output[name]) for name in _BATCH_FIELDS if name in output}

    def draw_ids(self, data: st.DataObject, name: str, limit: int) -> Array:
        """Ids of the call's shape, uniform on 0 ... limit - 1."""
        seed = data.draw(st.integers(0, 2**32 - 1), label=f"seed of {name}")
        self.drawn.append(seed)
        return np.random.default_rng(seed).integers(0, limit, self.shape)

    def draw(self, data: st.DataObject) -> dict[str, Array]:
        """Ids, token types and a mask of rows that end somewhere."""
        config = self.case.config
        count = int(np.prod(self.shape[:-1]))
        ends = data.draw(st.lists(st.integers(0, self.shape[-1]), min_size=count, max_size=count))
        mask = np.arange(self.shape[-1]) < np.reshape(ends, (*self.shape[:-1], 1))
        return {
            "input_ids": self.draw_ids(data, "ids", config.vocab_size),
            "token_type_ids": self.draw_ids(data, "token types", config.type_vocab_size),
            "attention_mask": mask.astype(np.int64),
        }


def rows_are_independent(call: Call, data: st.DataObject) -> Comparison:
    """7.1: a row alone gives what it gives beside others."""
    inputs = call.draw(data)
    row = data.draw(st.integers(0, ROWS - 1), label="row")
    alone = call.run(**{name: each[row : row + 1] for name, each in inputs.items()})
    together = {name: each[row : row + 1] for name, each in call.run(**inputs).items()}
    return worst_of(output_errors(alone, together))


def rows_may_change_places(call: Call, data: st.DataObject) -> Comparison:
    """7.2: rows in another order give the same in that order."""
    inputs = call.draw(data)
    order = data.draw(st.permutations(range(ROWS)), label="order")
    changed = call.run(**{name: each[order] for name, each in inputs.items()})
    expected = {name: each[order] for name, each in call.run(**inputs).items()}
    return worst_of(output_errors(changed, expected))


def integers_may_be_narrow(call: Call, data: st.DataObject) -> Comparison:
    """7.3: int32 means what int64 means."""
    inputs = call.draw(data)
    narrow = call.run(**{name: each.astype(np.int32) for name, each in inputs.items()})
    return worst_of(output_errors(narrow, call.run(**inputs)))


def token_types_default_to_zero(call: Call, data: st.DataObject) -> Comparison:
    """7.4: no token types are zeros."""
    inputs = call.draw(data)
    zeros = inputs | {"token_type_ids": np.zeros(call.shape, np.int64)}
    del inputs["token_type_ids"]
    return worst_of(output_errors(call.run(**inputs), call.run(**zeros)))


def mask_and_positions_have_defaults(call: Call, data: st.DataObject) -> Comparison:
    """7.5: no mask attends everywhere, no positions count from zero."""
    inputs = call.draw(data)
    counted = np.broadcast_to(np.arange(call.shape[-1]), call.shape)
    full = inputs | {"attention_mask": np.ones(call.shape, np.int64), "position_ids": counted}
    del inputs["attention_mask"]
    return worst_of(output_errors(call.run(**inputs), call.run(**full)))


def masked_keys_have_no_influence(call: Call, data: st.DataObject) -> Comparison:
    """7.6: other ids where masked change nothing before; the first masked token is a neighbour.

    Through the trigram it reaches the last attended token, as the checkpoints were trained.
    """
    inputs = call.draw(data)
    end = data.draw(st.integers(1, call.shape[-1] - 2), label="attended tokens")
    mask = np.broadcast_to(np.arange(call.shape[-1]) < end, call.shape).astype(np.int64)
    others = call.draw_ids(data, "other ids", call.case.config.vocab_size)
    far = np.arange(call.shape[-1]) > end
    before = inputs | {"attention_mask": mask}
    after = before | {
        "input_ids": np.where(far, others, inputs["input_ids"]),
        "token_type_ids": np.where(far, 0, inputs["token_type_ids"]),
    }
    results = [_attended(call.run(**each), end) for each in (after, before)]
    return worst_of(output_errors(*results))


def _attended(fields: Fields, end: int) -> Fields:
    """What belongs to attended tokens: of fields with a sequence axis, the first `end`."""
    by_token = ("last_hidden_state", "prediction_logits", "start_logits", "end_logits")
    return {
        name: each[:, :end] if name in by_token or each.ndim == 3 else each
        for name, each in fields.items()
    }


def calls_are_deterministic(call: Call, data: st.DataObject) -> Comparison:
    """7.7: the same call twice gives the same bits."""
    inputs = call.draw(data)
    first, second = call.run(**inputs), call.run(**inputs)
    return worst_of({name: bits_differ(each, first[name]) for name, each in second.items()})


PROPERTIES: dict[str, Property] = {
    "7.1": rows_are_independent,
    "7.2": rows_may_change_places,
    "7.3": integers_may_be_narrow,
    "7.4": token_types_default_to_zero,
    "7.5": mask_and_positions_have_defaults,
    "7.6": masked_keys_have_no_influence,
    "7.7": calls_are_deterministic,
}


def check(subject: Subject, case: Case) -> Iterator[Record]:
    """Clauses 7.1 to 7.7: every property for drawn inputs."""
    call = Call(subject, case)
    for clause, holds in PROPERTIES.items():
        found = worst_of(_examples(call, holds))
        exact = 0.0 if clause == "7.7" else LIMITS["invariants"][_kind(subject)]
        quantity = holds.__name__.replace("_", " ")
        yield subject.record(
            clause, found, case=case, dtype=subject.widest, quantity=quantity, limit=exact
        )


def _kind(subject: Subject) -> str:
    return "same_function" if subject.widest == "float64" else "same_function_float32"


def _examples(call: Call, holds: Property) -> dict[str, Comparison]:
    """What a property found, by example."""
    found: dict[str, Comparison] = {}

    @settings(
        max_examples=_EXAMPLES_HEAVY if call.case.heavy else _EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def draw(data: st.DataObject) -> None:
        call.drawn.clear()
        comparison = holds(call, data)
        found[f"example {len(found)} (seeds {', '.join(map(str, call.drawn))})"] = comparison

    draw()
    return found


def check_reloaded(subject: Subject, case: Case) -> Iterator[Record]:
    """Clause 7.8: a saved model gives the same bits when it is loaded again."""
    model = subject.model(case, subject.widest)
    loaded = subject.reloaded(model)
    before, after = subject.run(model, case), subject.run(loaded, case)
    one, other = flatten(after), flatten(before)
    comparisons = {name: bits_differ(one.get(name), each) for name, each in other.items()}
    yield subject.record(
        "7.8",
        worst_of(comparisons),
        case=case,
        dtype=subject.widest,
        quantity="outputs",
        limit=0.0,
    )
