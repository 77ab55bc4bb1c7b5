"""The backend under test, as the checks see it: models, outputs and records."""

import tempfile
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mobilebert_conformance.cases import Case
from mobilebert_conformance.metrics import Comparison
from mobilebert_conformance.records import Record
from mobilebert_conformance.references import References
from mobilebert_core import loading
from mobilebert_core.backend import Backend, Feature
from mobilebert_core.errors import ConfigError
from mobilebert_core.inputs import COLLECTABLE

Array = np.ndarray[Any, np.dtype[Any]]

LOWER_DTYPES = ("float32", "bfloat16", "float16")
_KEPT_OUTPUTS = 6


class Subject:
    """A backend under test.

    Args:
        backend: any implementation of the protocol.
        references: what the oracle says.
        dtypes: restricts the lower dtypes that are looked at; None takes all that are claimed.
    """

    def __init__(
        self,
        backend: Backend,
        references: References | None = None,
        dtypes: Iterable[str] | None = None,
    ) -> None:
        self.backend = backend
        self.references = references or References()
        self.wanted_dtypes = None if dtypes is None else frozenset(dtypes)
        # What checks have against the backend itself, by check and case of a mutant.
        self.controls: dict[tuple[str, ...], tuple[Record, ...]] = {}
        self._model: tuple[Any, Any] | None = None
        self._outputs: OrderedDict[tuple[str, str, str | None], dict[str, Any]] = OrderedDict()

    @property
    def name(self) -> str:
        """The backend's name."""
        return self.backend.name

    def claims(self, *features: Feature) -> bool:
        """Whether the backend claims all of these."""
        return set(features) <= set(self.backend.features)

    @property
    def lower_dtypes(self) -> tuple[str, ...]:
        """The dtypes below float64 that are claimed, and wanted in this run."""
        wanted = self.wanted_dtypes or LOWER_DTYPES
        return tuple(name for name in LOWER_DTYPES if self.claims(Feature(name)) and name in wanted)

    @property
    def widest(self) -> str:
        """The dtype in which a property of the backend alone is looked at.

        Raises:
            ConfigError: it claims none.
        """
        for name in ("float64", *LOWER_DTYPES):
            if self.claims(Feature(name)):
                return name
        raise ConfigError(f"The {self.name} backend claims no dtype")

    @property
    def collect(self) -> tuple[str, ...]:
        """The additional outputs that the backend claims to give."""
        wanted = (Feature.HIDDEN_STATES, Feature.ATTENTIONS)
        pairs = zip(COLLECTABLE, wanted, strict=True)
        return tuple(name for name, feature in pairs if self.claims(feature))

    def can_run(self, case: Case) -> str:
        """Why the case's inputs are beyond what is claimed; empty when they are not."""
        needed = {
            "inputs_embeds": Feature.INPUTS_EMBEDS,
            "prediction_positions": Feature.PREDICTION_POSITIONS,
        }
        lacking = [
            feature.value
            for name, feature in needed.items()
            if name in case.inputs and not self.claims(feature)
        ]
        if case.optimize and not self.claims(Feature.OPTIMIZED):
            lacking.append(Feature.OPTIMIZED.value)
        return f"not claimed: {', '.join(lacking)}" if lacking else ""

    def build(
        self,
        case: Case,
        dtype: str,
        weights: Mapping[str, Array] | None = None,
        precision: str | None = None,
    ) -> Any:
        """A fresh model with the case's weights, or with others."""
        given = dict(case.make_weights() if weights is None else weights)
        options: dict[str, Any] = {} if precision is None else {"precision": precision}
        if case.optimize:
            options["optimize"] = True
        return self.backend.build(
            case.config, case.head, given, dtype=dtype, device=None, **options
        )

    def reloaded(self, model: Any) -> Any:
        """The same model, saved and loaded again."""
        with tempfile.TemporaryDirectory() as folder:
            path = loading.save(model, Path(folder) / "checkpoint")
            return loading.load(path, backend=self.name)

    def model(self, case: Case, dtype: str, precision: str | None = None) -> Any:
        """The model of a case; the last one is kept."""
        key = case.key, dtype, precision
        if self._model is None or self._model[0] != key:
            self._model = None  # two large models at a time are one too many
            self._model = key, self.build(case, dtype, precision=precision)
        return self._model[1]

    def forget(self) -> None:
        """Drop the models and outputs that are kept."""
        self._model = None
        self._outputs.clear()

    def labels(self, case: Case) -> dict[str, Any] | None:
        """The labels, if the head has a loss that the backend claims to give."""
        return dict(case.labels) if case.labels and self.claims(Feature.LOSSES) else None

    def run(self, model: Any, case: Case, **changes: Any) -> dict[str, Any]:
        """All claimed fields of one call, with some inputs replaced; None leaves one out."""
        inputs = {**case.inputs, **changes}
        given = {name: np.array(each) for name, each in inputs.items() if each is not None}
        output = self.backend.run(model, given, labels=self.labels(case), collect=self.collect)
        return dict(output.items())

    def output(self, case: Case, dtype: str, precision: str | None = None) -> dict[str, Any]:
        """All claimed fields for a case; the last few are kept."""
        key = case.key, dtype, precision
        if key not in self._outputs:
            self._outputs[key] = self.run(self.model(case, dtype, precision), case)
            while len(self._outputs) > _KEPT_OUTPUTS:
                self._outputs.popitem(last=False)
        return self._outputs[key]

    def truth(self, case: Case, dtype: str = "float64", order: int = 0) -> dict[str, Any]:
        """What the oracle says about the fields that the backend claims."""
        fields = self.references.outputs(case, dtype, order)
        absent = {name for name in COLLECTABLE if name not in self.collect}
        absent |= set() if self.claims(Feature.LOSSES) else {"loss"}
        return {name: each for name, each in fields.items() if name not in absent}

    def record(
        self,
        clause: str,
        comparison: Comparison | None = None,
        *,
        case: Case | None = None,
        dtype: str = "",
        quantity: str = "",
        limit: float | None = None,
        fault: str = "",
        note: str = "",
        compared: int = 1,
    ) -> Record:
        """A record of one comparison, or of a clause that is met or not without a number."""
        if comparison is not None:
            where = comparison.where or quantity
            quantity = where if where.startswith(quantity) else f"{quantity}: {where}"
            fault, compared = fault or comparison.fault, comparison.compared
        return Record(
            backend=self.name,
            clause=clause,
            head=case.head if case else "",
            case=case.name if case else "",
            dtype=dtype,
            quantity=quantity,
            error=None if comparison is None else comparison.error,
            limit=limit,
            compared=compared,
            fault=fault,
            note=note,
        )
