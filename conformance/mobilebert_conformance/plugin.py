"""The pytest plugin: which backend, which plan, and where the records go.

    pytest --pyargs mobilebert_conformance.suite -p mobilebert_conformance.plugin --backend tf

works from any folder for any installed backend. Each backend has an interpreter of its own;
`--together` names several for the one test that imports them all.
"""

import gc
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mobilebert_conformance.checkpoint import own_cases
from mobilebert_conformance.checks import CHECKS, Plan
from mobilebert_conformance.golden import golden_cases
from mobilebert_conformance.mutant_table import MUTANTS
from mobilebert_conformance.mutants import Mutant
from mobilebert_conformance.records import Record, Skip, to_json
from mobilebert_conformance.references import References
from mobilebert_conformance.subject import LOWER_DTYPES, Subject
from mobilebert_core import registry
from mobilebert_core.errors import MobileBertError
from mobilebert_core.heads import HEADS

_BROKEN = 3  # exit code: the backend cannot be used
_TOGETHER = "test_together.py"
_CASES_KEPT = 20  # small cases whose compiled code may stay in memory
_STATE: pytest.StashKey["State"] = pytest.StashKey()


class State:
    """One pytest session: the subject, the plan and the records."""

    def __init__(self, config: pytest.Config) -> None:
        self.path: Path | None = config.getoption("--records")
        self.together: tuple[str, ...] = _names(config.getoption("--together"))
        self.started = time.monotonic()
        self.finished = 0
        self.current, self.cases = "", 0
        self.subject: Subject | None = None
        self.plan = Plan()
        if not self.together:
            self._prepare(config)

    def _prepare(self, config: pytest.Config) -> None:
        backend = registry.get(config.getoption("--backend"))
        folder: Path | None = config.getoption("--references")
        dtypes = config.getoption("--dtype") or None
        self.subject = Subject(backend, References(folder), dtypes)
        heads = tuple(config.getoption("--head"))
        source: str | None = config.getoption("--source")
        self.plan = Plan(
            profile="quick" if config.getoption("--quick") else "full",
            heads=heads or tuple(HEADS),
            own=() if source is None else own_cases(source, heads),
        )

    def covers(self, mutant: Mutant) -> bool:
        """Whether a mutant is in the plan; quick leaves out those that take dozens of models."""
        costly = mutant.check in ("training", "sensitivity")
        return mutant.case[1] in self.plan.heads and not (self.plan.quick and costly)

    @property
    def name(self) -> str:
        """The backend's name, or `together`."""
        return self.subject.name if self.subject else "together"

    def write(self, kind: str, value: Any) -> None:
        """Append a line to the records file."""
        if self.path is not None:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(to_json(kind, value) + "\n")


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(name for name in (text or "").split(",") if name)


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of the suite."""
    group = parser.getgroup("mobilebert conformance")
    group.addoption("--backend", help="The backend under test; default: the default backend.")
    group.addoption("--together", metavar="NAMES", help="Backends to import in one process.")
    group.addoption("--quick", action="store_true", help="Every head, variant and input once.")
    group.addoption("--source", help="A checkpoint of yours: folder, file or hub id.")
    group.addoption(
        "--head", action="append", default=[], choices=list(HEADS), help="This head only."
    )
    group.addoption(
        "--dtype", action="append", default=[], choices=LOWER_DTYPES,
        help="Of the dtypes below float64, this one only.",
    )  # fmt: skip
    group.addoption("--records", type=Path, help="Append records to this file, as JSON Lines.")
    group.addoption("--references", type=Path, help="Folder that workers share the oracle by.")


def pytest_configure(config: pytest.Config) -> None:
    """Import the backend and say what will be run."""
    # JAX computes in float64 only if told so before it is imported; nothing else reads this.
    os.environ["JAX_ENABLE_X64"] = "1"
    try:
        config.stash[_STATE] = State(config)
    except MobileBertError as error:
        path: Path | None = config.getoption("--records")
        if path is not None:
            path.write_text(to_json("broken", {"message": str(error)}) + "\n", encoding="utf-8")
        pytest.exit(str(error), returncode=_BROKEN)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test for every check and case, every mutant, every golden vector."""
    state = metafunc.config.stash[_STATE]
    names = set(metafunc.fixturenames)
    if {"check", "case"} <= names:
        pairs = [(check, case) for check in CHECKS.values() for case in check.cases(state.plan)]
        pairs.sort(key=lambda pair: (pair[1].heavy, pair[1].key))  # a case's checks share its model
        ids = [f"{check.name}-{case.key}" for check, case in pairs]
        metafunc.parametrize(("check", "case"), pairs, ids=ids)
    elif "mutant" in names:
        chosen = [] if state.plan.own else [m for m in MUTANTS.values() if state.covers(m)]
        metafunc.parametrize("mutant", chosen, ids=[each.name.replace(" ", "-") for each in chosen])
    elif "golden_case" in names:
        cases = [] if state.plan.own else golden_cases()
        metafunc.parametrize("golden_case", cases, ids=[each.key for each in cases])


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The test of all backends together runs alone, for it imports every framework."""
    state = config.stash[_STATE]
    chosen = [item for item in items if (item.path.name == _TOGETHER) == bool(state.together)]
    empty = [item for item in chosen if "NOTSET" in item.nodeid]  # a plan without such cases
    kept = [item for item in chosen if item not in empty]
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept


def pytest_collection_finish(session: pytest.Session) -> None:
    """Tell the runner what it may expect."""
    state = session.config.stash[_STATE]
    features: list[str] = []
    versions: dict[str, str] = {}
    if state.subject is not None:
        features = sorted(each.value for each in state.subject.backend.features)
        status = registry.backends().get(state.name)
        versions = status.versions if status else {}
    state.write(
        "start",
        {
            "backend": state.name,
            "planned": len(session.items),
            "features": features,
            "versions": versions,
        },
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Tell the runner which test runs, and count those that ended."""
    state = item.config.stash[_STATE]
    state.write("test", {"finished": state.finished})
    _release_memory(state, item)
    result = yield
    state.finished += 1
    return result


def _release_memory(state: State, item: pytest.Item) -> None:
    """Forget models and compiled code now and then; between two cases, which share nothing.

    JAX keeps compiled code until it is told otherwise, and after some thousand compilations the
    operating system gives it no more mappings.
    """
    parameters = getattr(item, "callspec", None)
    case = None if parameters is None else parameters.params.get("case")
    key = case.key if case else item.name
    if key == state.current:
        return
    state.current, state.cases = key, state.cases + 1
    if state.cases % _CASES_KEPT and not (case and case.heavy):
        return
    if state.subject is not None:
        state.subject.forget()
    gc.collect()
    if "jax" in sys.modules:
        sys.modules["jax"].clear_caches()


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """The last line: without it the worker has crashed."""
    state = session.config.stash.get(_STATE, None)
    if state is not None:
        seconds = time.monotonic() - state.started
        values = {"finished": state.finished, "exit": int(exitstatus), "seconds": seconds}
        state.write("end", values)


@pytest.fixture
def subject(request: pytest.FixtureRequest) -> Subject:
    """The backend under test."""
    found = request.config.stash[_STATE].subject
    assert found is not None, "only the test of all backends together has no subject"
    return found


@pytest.fixture
def together(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """The backends to import in this process."""
    return request.config.stash[_STATE].together


@pytest.fixture
def judge(request: pytest.FixtureRequest) -> Callable[[Iterator[Record], str], None]:
    """Takes the records of a check as they come, and fails the test if one does not pass."""
    state = request.config.stash[_STATE]

    def take(records: Iterator[Record], clause: str) -> None:
        taken: list[Record] = []

        def add(record: Record) -> None:
            taken.append(record)
            state.write("record", record)

        try:
            for record in records:
                add(record)
        except Exception as error:
            reason = f"raises {type(error).__name__}: {error}"
            name = request.node.name
            add(Record(backend=state.name, clause=clause, quantity=name, fault=reason))
            raise
        if not taken:
            name = request.node.name
            reason = "the check made no comparison"
            add(Record(backend=state.name, clause=clause, quantity=name, fault=reason))
        failed = [str(record) for record in taken if not record.passed]
        if failed:
            pytest.fail("\n".join(failed), pytrace=False)

    return take


@pytest.fixture
def skip(request: pytest.FixtureRequest) -> Callable[[str, str, str, str], None]:
    """Records why a check does not apply, and skips the test."""
    state = request.config.stash[_STATE]

    def leave(clause: str, head: str, case: str, reason: str) -> None:
        state.write(
            "skip", Skip(backend=state.name, clause=clause, head=head, case=case, reason=reason)
        )
        pytest.skip(reason)

    return leave
