"""Which law is checked on which cases: the table that the suite is made of.

A check applies to a backend that claims the features that it needs. Its cases depend on the plan:
`quick` for every change, `full` for a release, or the user's own checkpoint.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache

from mobilebert_conformance import cases as made
from mobilebert_conformance.cases import ALL_VARIANTS, Case, small_config, tiny_config
from mobilebert_conformance.golden import check_backend as check_golden
from mobilebert_conformance.golden import golden_cases
from mobilebert_conformance.laws import (
    claims,
    exactness,
    invariants,
    locality,
    precision,
    reproducible,
    semantics,
    training,
    vacuity,
)
from mobilebert_conformance.mutants import Mutant
from mobilebert_conformance.records import Record
from mobilebert_conformance.subject import Subject
from mobilebert_conformance.weights import random_inputs
from mobilebert_core.backend import Feature
from mobilebert_core.heads import HEADS

_CHEAPEST = "question-answering"  # of the heads, on 24 layers


@dataclass(frozen=True)
class Plan:
    """What a run covers.

    Attributes:
        profile: `quick` or `full`.
        heads: the heads that are looked at.
        own: the user's cases; not empty for a run on a checkpoint, which has no others.
    """

    profile: str = "full"
    heads: tuple[str, ...] = tuple(HEADS)
    own: tuple[Case, ...] = ()

    @property
    def quick(self) -> bool:
        """Whether every head, variant and input is taken once instead of in all combinations."""
        return self.profile == "quick"

    def prefer(self, *heads: str) -> tuple[str, ...]:
        """Those of some heads that are looked at; if none is, the first that is."""
        return tuple(head for head in heads if head in self.heads) or self.heads[:1]

    def select(self, cases: Iterable[Case]) -> list[Case]:
        """The cases whose head is looked at."""
        return [case for case in cases if case.head in self.heads]


@dataclass(frozen=True)
class Check:
    """One check.

    Attributes:
        name: of the check, and of the test that runs it.
        clauses: the clauses of `conformance/README.md` that its records cite.
        function: yields the records of one case.
        cases: what it runs on in a plan.
        needs: features without which it does not apply.
        below_float64: whether it looks at lower dtypes only, of which a backend may have none.
    """

    name: str
    clauses: tuple[str, ...]
    function: Callable[[Subject, Case], Iterator[Record]]
    cases: Callable[[Plan], list[Case]]
    needs: frozenset[Feature] = field(default_factory=frozenset)
    below_float64: bool = False

    def reason_to_skip(self, subject: Subject, case: Case) -> str:
        """Why it does not apply; empty when it does."""
        lacking = sorted(each.value for each in self.needs - set(subject.backend.features))
        if lacking:
            return f"not claimed: {', '.join(lacking)}"
        if self.below_float64 and not subject.lower_dtypes:
            return "no dtype below float64 is claimed and wanted"
        return subject.can_run(case)


@cache
def _variants(head: str) -> list[Case]:
    return made.variant_cases(head)


@cache
def _full(head: str) -> Case:
    return made.full_case(head)


@cache
def _extreme(head: str) -> Case:
    return made.extreme_case(head)


@cache
def _inputs() -> list[Case]:
    return made.input_cases()


@cache
def _problems() -> list[Case]:
    return made.problem_cases()


def default_cases(plan: Plan) -> list[Case]:
    """Every head on the small default model."""
    return [_variants(head)[0] for head in plan.heads]


def spread_cases(plan: Plan) -> list[Case]:
    """Every head on the default, and every other variant with one head, in turn."""
    heads = list(HEADS)
    others = [
        _variants(heads[number % len(heads)])[number] for number in range(1, len(ALL_VARIANTS))
    ]
    return default_cases(plan) + plan.select(others)


def variant_cases(plan: Plan) -> list[Case]:
    """Every head with every variant; quick, the spread."""
    if plan.quick:
        return spread_cases(plan)
    return [case for head in plan.heads for case in _variants(head)]


def full_cases(plan: Plan) -> list[Case]:
    """The default 24 layers: every head, or one."""
    heads = plan.prefer(_CHEAPEST) if plan.quick else plan.heads
    return [_full(head) for head in heads]


def optimized_cases(plan: Plan) -> list[Case]:
    """Every head on the small default model, what else can be folded with one; full, 24 layers."""
    extreme = [_extreme(head) for head in plan.prefer("token-classification")]
    spread = spread_cases(plan) if plan.quick else variant_cases(plan)
    full = [] if plan.quick else [_full(head) for head in plan.prefer(_CHEAPEST)]
    return made.optimized([*spread, *extreme, *plan.select(_inputs()), *full])


def semantic_cases(plan: Plan) -> list[Case]:
    """All there is."""
    if plan.own:
        return [*plan.own, *made.optimized(plan.own)]
    inputs = plan.select(_inputs() + _problems())
    return variant_cases(plan) + inputs + full_cases(plan) + optimized_cases(plan)


def _own_or(cases: Callable[[Plan], list[Case]]) -> Callable[[Plan], list[Case]]:
    """The user's cases where there are any."""
    return lambda plan: list(plan.own) or cases(plan)


def _suites(cases: Callable[[Plan], list[Case]]) -> Callable[[Plan], list[Case]]:
    """The suite's own cases only."""
    return lambda plan: [] if plan.own else cases(plan)


def _precision_cases(plan: Plan) -> list[Case]:
    plain = (default_cases(plan) if plan.quick else spread_cases(plan)) + full_cases(plan)
    return plain + made.optimized(plain)


def _reproducible_cases(plan: Plan) -> list[Case]:
    return default_cases(plan) + full_cases(plan) + made.optimized(default_cases(plan)[:1])


def _locality_cases(plan: Plan) -> list[Case]:
    plain = spread_cases(plan) + full_cases(plan)
    return plain + made.optimized(plain)


def _exactness_cases(plan: Plan) -> list[Case]:
    return default_cases(plan) if plan.quick else spread_cases(plan) + full_cases(plan)[:1]


def _conversion_cases(plan: Plan) -> list[Case]:
    return [
        _variants(head)[0] for head in (plan.prefer("pretraining") if plan.quick else plan.heads)
    ]


def _gradient_cases(plan: Plan) -> list[Case]:
    problems = [] if plan.quick else plan.select(_problems())
    cases = plan.own or (*variant_cases(plan), *problems, *full_cases(plan))
    return [case for case in cases if case.labels]


def _training_cases(plan: Plan) -> list[Case]:
    heads = plan.prefer("masked-lm") if plan.quick else plan.heads
    return [_tiny(head, "default") for head in heads if HEADS[head].labels]


@cache
def _tiny(head: str, variant: str) -> Case:
    changes = {
        name: value
        for name, value in ALL_VARIANTS[variant].items()
        if name not in ("embedding_size", "intra_bottleneck_size", "num_feedforward_networks")
    }
    if variant in ("no_transformation", "full_width_embeddings", "bert_like"):
        changes["embedding_size"] = 8
    config = tiny_config(**changes)
    inputs = random_inputs(config, head, length=5)
    return made.make_case(f"tiny/{variant}", head, config, inputs=inputs)


def _sensitivity_cases(plan: Plan) -> list[Case]:
    heads = plan.prefer("pretraining") if plan.quick else plan.heads
    cases = [_tiny(head, "default") for head in heads]
    if plan.quick:
        return cases
    return cases + plan.select([_tiny("base", name) for name in ALL_VARIANTS if name != "default"])


def _invariant_cases(plan: Plan) -> list[Case]:
    if plan.quick:
        heads = plan.prefer("base", "masked-lm", "multiple-choice")
        return [_variants(head)[0] for head in heads]
    return spread_cases(plan) + [_full(head) for head in plan.prefer(_CHEAPEST)]


def _with_optimized(cases: list[Case], plan: Plan) -> list[Case]:
    """The cases, and the same for optimised models; quick, the last one."""
    return cases + made.optimized(cases[-1:] if plan.quick else cases)


def _claim_cases(plan: Plan) -> list[Case]:
    """A head with a loss and with prediction positions, whatever heads are asked for."""
    return [made.make_case("small/claims", "masked-lm", small_config())]


_FLOAT64 = frozenset({Feature.FLOAT64})

CHECKS: dict[str, Check] = {
    check.name: check
    for check in (
        Check(
            "semantics",
            ("1.1", "1.2", "1.3", "1.4", "1.5"),
            semantics.check,
            semantic_cases,
            _FLOAT64,
        ),
        Check(
            "nothing_counts",
            ("1.6",),
            semantics.check_nothing_counts,
            _suites(lambda plan: plan.select(semantics.nothing_counts_cases())),
            frozenset({Feature.LOSSES}),
        ),
        Check(
            "precision",
            ("2.1", "2.2", "2.3", "2.4"),
            precision.check,
            _own_or(_precision_cases),
            below_float64=True,
        ),
        Check(
            "reproducible",
            ("3.1", "3.2"),
            reproducible.check,
            _own_or(_reproducible_cases),
            frozenset({Feature.REPRODUCIBLE}),
        ),
        Check(
            "locality",
            ("4.1", "4.2", "4.3"),
            locality.check,
            _own_or(_locality_cases),
            _FLOAT64 | {Feature.HIDDEN_STATES},
        ),
        Check("weights", ("5.1",), exactness.check_weights, _own_or(_exactness_cases)),
        Check("saved", ("5.2",), exactness.check_saved, _own_or(_exactness_cases)),
        Check("converted", ("5.4",), exactness.check_converted, _suites(_conversion_cases)),
        Check(
            "fresh",
            ("5.3",),
            exactness.check_fresh,
            _suites(spread_cases),
            frozenset({Feature.FLOAT32}),
        ),
        Check(
            "gradients",
            ("6.1", "8.2", "1.4"),
            training.check_gradients,
            _gradient_cases,
            _FLOAT64 | {Feature.GRADIENTS},
        ),
        Check(
            "training",
            ("6.2", "6.3"),
            training.check_training,
            _suites(_training_cases),
            _FLOAT64 | {Feature.GRADIENTS},
        ),
        Check(
            "invariants",
            tuple(invariants.PROPERTIES),
            invariants.check,
            _own_or(lambda plan: _with_optimized(_invariant_cases(plan), plan)),
        ),
        Check("reloaded", ("7.8",), invariants.check_reloaded, _own_or(_invariant_cases)),
        Check("schema", ("8.1",), vacuity.check_schema, _own_or(spread_cases)),
        Check(
            "sensitivity",
            ("8.3", "8.4"),
            vacuity.check_sensitivity,
            _suites(_sensitivity_cases),
        ),
        Check("features", ("10.1", "10.2"), claims.check_features, _suites(_claim_cases)),
        Check("errors", ("10.3",), claims.check_errors, _suites(_claim_cases)),
        Check(
            "golden",
            ("11.2",),
            check_golden,
            _suites(lambda plan: plan.select(golden_cases())),
            _FLOAT64,
        ),
    )
}


def mutant_case(mutant: Mutant) -> Case:
    """The case where a mutant shows."""
    name, head = mutant.case
    check, plan = CHECKS[mutant.check], Plan(heads=(head,))
    variant = name.partition("/")[2]
    if name.startswith("small/") and variant in ALL_VARIANTS:
        return _variants(head)[list(ALL_VARIANTS).index(variant)]
    (found,) = (case for case in check.cases(plan) if (case.name, case.head) == mutant.case)
    return found
