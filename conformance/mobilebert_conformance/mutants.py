"""Mutants: broken models that the suite must reject, each by the clause that should catch it.

A mutant is a correct backend with something done to it on the way in or out: to the configuration,
the weights, the inputs, the labels, the outputs or the gradients. So the same mutants break any
backend, whatever its framework. The table is in `mutant_table.py`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mobilebert_conformance.laws.exactness import as_dtype
from mobilebert_conformance.metrics import Comparison
from mobilebert_conformance.records import Record
from mobilebert_conformance.references import References
from mobilebert_conformance.subject import Subject
from mobilebert_core.backend import Backend, Feature
from mobilebert_core.config import MobileBertConfig
from mobilebert_core.schema import owned_tensors

Array = np.ndarray[Any, np.dtype[Any]]
Weights = dict[str, Array]
Fields = dict[str, Any]


@dataclass(frozen=True)
class Mutant:
    """One defect.

    Attributes:
        name: what is wrong, in two or three words.
        violates: the clause of the function that it breaks, e.g. `F6`.
        clause: the clause of the laws that must reject it.
        check: name of the check that has this clause.
        case: where it shows: the case's name and head.
        config: changes the configuration that is built.
        weights: changes the weights that are built.
        inputs: changes a call's inputs.
        labels: changes a call's labels; given the inputs too.
        outputs: changes the fields that come out; given inputs and labels too.
        stored: changes the weights that the backend says it has.
        gradients: changes the gradients.
        dtype: changes the dtype that is computed in; given the precision too.
        claims: features that it claims besides the backend's own.
        needs: features without which the defect cannot be.
        optimizes: whether `optimize=` reaches the backend.
    """

    name: str
    violates: str
    clause: str
    check: str
    case: tuple[str, str]
    config: Callable[[MobileBertConfig], MobileBertConfig] | None = None
    weights: Callable[[MobileBertConfig, Weights, str], Weights] | None = None
    inputs: Callable[[Fields], Fields] | None = None
    labels: Callable[[Fields, Fields], Fields] | None = None
    outputs: Callable[[Fields, Fields, Fields], Fields] | None = None
    stored: Callable[[Weights], Weights] | None = None
    gradients: Callable[[Weights], Weights] | None = None
    dtype: Callable[[str, str | None], tuple[str, str | None]] | None = None
    claims: frozenset[Feature] = frozenset()
    needs: frozenset[Feature] = frozenset()
    optimizes: bool = True


@dataclass
class MutantModel:
    """A native model, and what it pretends to be."""

    native: Any
    config: MobileBertConfig
    head: str
    backend_name: str
    weights: Weights
    optimized: bool = False

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The native model, without the defects of a call."""
        return self.native(*args, **kwargs)


class MutantOutput(dict[str, Any]):
    """Output fields of a mutant: a mapping, like every output."""

    def __getattr__(self, name: str) -> Any:
        return self.get(name)

    def to_tuple(self) -> tuple[Any, ...]:
        """The fields' values."""
        return tuple(self.values())


class MutantBackend:
    """A correct backend with a defect.

    Args:
        inner: the backend.
        mutant: the defect.
    """

    def __init__(self, inner: Backend, mutant: Mutant) -> None:
        self.inner, self.mutant = inner, mutant
        self.name = inner.name
        self.features = inner.features | mutant.claims

    def build(
        self,
        config: MobileBertConfig,
        head: str,
        weights: Mapping[str, Array],
        *,
        dtype: str,
        device: str | None,
        precision: str | None = None,
        optimize: bool | str = False,
    ) -> MutantModel:
        """A model with the defect in its configuration, its weights or its dtype."""
        mutant, given = self.mutant, dict(weights)
        changed = given if mutant.weights is None else mutant.weights(config, dict(given), dtype)
        native_config = config if mutant.config is None else mutant.config(config)
        own = {name: each for name, each in changed.items() if _fits(native_config, head, name)}
        kept = {name: as_dtype(each, dtype) for name, each in given.items()}
        if mutant.dtype is not None:
            dtype, precision = mutant.dtype(dtype, precision)
        options: dict[str, Any] = {} if precision is None else {"precision": precision}
        if optimize and mutant.optimizes:
            options["optimize"] = optimize
        native = self.inner.build(native_config, head, own, dtype=dtype, device=device, **options)
        optimized = getattr(native, "optimized", False)
        return MutantModel(native, config, head, self.name, kept, optimized)

    def weights(self, model: MutantModel) -> Weights:
        """What the model was built from, for only `stored` defects are to be seen here."""
        stored = self.mutant.stored
        return dict(model.weights) if stored is None else stored(dict(model.weights))

    def run(
        self,
        model: MutantModel,
        batch: Mapping[str, Any],
        *,
        labels: Any = None,
        collect: Iterable[str] = (),
    ) -> Any:
        """One call with the defect in its inputs, its labels or its outputs."""
        inputs, targets = self._given(batch, labels)
        output = self.inner.run(model.native, inputs, labels=targets or None, collect=collect)
        fields = dict(output.items())
        if self.mutant.outputs is not None:
            fields = self.mutant.outputs(fields, dict(batch), dict(labels or {}))
        return MutantOutput(fields)

    def loss_and_gradients(
        self, model: MutantModel, batch: Mapping[str, Any], labels: Any
    ) -> tuple[float, Weights]:
        """The loss, and gradients with the defect."""
        inputs, targets = self._given(batch, labels)
        loss, found = self.inner.loss_and_gradients(model.native, inputs, targets)
        change = self.mutant.gradients
        return loss, found if change is None else change(dict(found))

    def tensor(self, array: Array) -> Any:
        """The backend's own."""
        return self.inner.tensor(array)

    def _given(self, batch: Mapping[str, Any], labels: Any) -> tuple[Fields, Fields]:
        inputs, targets = dict(batch), dict(labels or {})
        if self.mutant.labels is not None and targets:
            targets = self.mutant.labels(targets, inputs)
        if self.mutant.inputs is not None:
            inputs = self.mutant.inputs(inputs)
        return inputs, targets


def _fits(config: MobileBertConfig, head: str, name: str) -> bool:
    return name in owned_tensors(config, head)


def lacking(mutant: Mutant, subject: Subject) -> tuple[str, ...]:
    """Features without which a backend cannot have the defect, or a check cannot see it."""
    from mobilebert_conformance.checks import CHECKS

    seen_by = {"1.2": {Feature.ATTENTIONS}, "1.4": {Feature.LOSSES}, "1.5": {Feature.ATTENTIONS}}
    needed = mutant.needs | CHECKS[mutant.check].needs | seen_by.get(mutant.clause, set())
    found = {each.value for each in needed if not subject.claims(each)}
    if mutant.claims and subject.claims(*mutant.claims):
        found.add("nothing to lie about")
    return tuple(sorted(found))


def failures(backend: Backend, mutant: Mutant, references: References) -> tuple[Record, ...]:
    """What the check that should catch a mutant has against it; empty when it survives."""
    from mobilebert_conformance.checks import CHECKS, mutant_case

    subject = Subject(MutantBackend(backend, mutant), references)
    records = CHECKS[mutant.check].function(subject, mutant_case(mutant))
    return tuple(record for record in records if not record.passed)


def _control(subject: Subject, mutant: Mutant) -> tuple[Record, ...]:
    """What the check has against the backend itself; found out once for a check and a case."""
    key = (mutant.check, *mutant.case)
    if key not in subject.controls:
        subject.controls[key] = failures(
            subject.backend, without_defect(mutant), subject.references
        )
    return subject.controls[key]


def without_defect(mutant: Mutant) -> Mutant:
    """The same mutant with nothing wrong: what the check must not reject."""
    kept = ("name", "violates", "clause", "check", "case", "needs")
    return Mutant(**{name: getattr(mutant, name) for name in kept})


def check_mutant(subject: Subject, mutant: Mutant) -> Iterator[Record]:
    """Clause 9.1: the suite rejects this mutant, by the clause that should, and for its defect."""
    control = _control(subject, mutant)
    found = failures(subject.backend, mutant, subject.references)
    by_clause = {record.clause: record for record in reversed(found)}
    killer = by_clause.get(mutant.clause)
    note = fault = ""
    if control:
        fault = f"rejected without its defect too: {control[0]}"
    elif killer is not None:
        note = f"clause {killer.clause} ({mutant.violates}): {killer.quantity}: {killer.reason}"
    elif found:
        fault = f"rejected by {', '.join(sorted(by_clause))}, expected clause {mutant.clause}"
    else:
        fault = f"survives; clause {mutant.clause} should reject it"
    record = subject.record("9.1", Comparison(0.0, 1), quantity=mutant.name, fault=fault, note=note)
    yield replace(record, error=None, head="", case="/".join(mutant.case))
