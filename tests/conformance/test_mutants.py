"""Mutants of backends that claim less, and the control that nothing but the defect is rejected."""

from typing import Any

import pytest

from mobilebert_conformance import mutants
from mobilebert_conformance.mutant_table import MUTANTS
from mobilebert_conformance.subject import Subject
from mobilebert_core import registry
from mobilebert_core.backend import Feature

OPTIONAL = (
    Feature.FLOAT64, Feature.FLOAT32, Feature.LOSSES, Feature.HIDDEN_STATES, Feature.ATTENTIONS,
)  # fmt: skip


def modest(feature: Feature) -> Any:
    """The NumPy backend without a claim."""
    kept = type(registry.get("numpy"))
    features = kept.features - {feature}
    if feature is Feature.FLOAT64:
        features -= {Feature.REPRODUCIBLE}
    return type("Modest", (kept,), {"features": features})()


@pytest.mark.parametrize("feature", OPTIONAL, ids=lambda feature: feature.value)
def test_mutants_that_apply_are_rejected_when_a_backend_claims_less(feature: Feature) -> None:
    subject = Subject(modest(feature))
    applying = [
        each
        for each in MUTANTS.values()
        if not mutants.lacking(each, subject)
        and each.check != "features"  # it refuses nothing: that is what clause 10.2 rejects
    ]

    records = [record for each in applying for record in mutants.check_mutant(subject, each)]

    assert len(records) >= 5
    assert [record.fault for record in records if not record.passed] == []


def test_mutant_is_a_fault_when_the_check_rejects_the_backend_itself() -> None:
    class Wrong(type(registry.get("numpy"))):
        def run(self, *arguments: Any, **options: Any) -> Any:
            output = super().run(*arguments, **options)
            return mutants.MutantOutput({name: 2 * each for name, each in output.items()})

    (record,) = mutants.check_mutant(Subject(Wrong()), MUTANTS["mask ignored"])

    assert "without its defect too" in record.fault


def test_mutant_that_cannot_be_run_is_no_rejection() -> None:
    mutant = MUTANTS["positions from one"]

    def broken(inputs: dict[str, Any]) -> dict[str, Any]:
        raise RuntimeError("a defect of the defect")

    changed = mutants.replace(mutant, inputs=broken)

    with pytest.raises(RuntimeError, match="defect of the defect"):
        list(mutants.check_mutant(Subject(registry.get("numpy")), changed))
