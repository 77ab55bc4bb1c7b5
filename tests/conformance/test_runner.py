"""The suite says no: broken, lying, absent and crashing backends, and what compares nothing.

Each test puts a distribution with a backend of its own on the path of the workers.
"""

import os
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mobilebert
from mobilebert_conformance import runner
from mobilebert_conformance.cases import tiny_config
from mobilebert_conformance.checks import CHECKS, Plan
from mobilebert_conformance.records import Participant, Record, Run
from mobilebert_conformance.runner import Options
from mobilebert_conformance.subject import Subject
from mobilebert_conformance.weights import random_weights
from mobilebert_core import registry
from mobilebert_core.errors import MobileBertError, UnknownBackendError

QUICK = Options(backends=("fake",), heads=("masked-lm",), quick=True, jobs=1)

DESCRIPTION = """
from mobilebert_core.backend import BackendInfo
BACKEND = BackendInfo(name="fake", implementation="mobilebert_fake.backend:Fake",
                      requires={requires!r}, install="pip install what-is-missing")
"""
BACKEND = """
from mobilebert_core.backend import Feature
from mobilebert_numpy.backend import NumpyBackend

class Fake(NumpyBackend):
    name = "fake"
{body}
"""

Install = Callable[..., None]


@contextmanager
def installed(site: Path, body: str = "", **options: Any) -> Iterator[None]:
    """A backend `fake` out of the body of a class; found by this process and by workers."""
    package, metadata = site / "mobilebert_fake", site / "mobilebert_fake-1.0.dist-info"
    package.mkdir(parents=True)
    metadata.mkdir()
    requires = options.get("requires", ("numpy",))
    (package / "__init__.py").write_text(DESCRIPTION.format(requires=requires))
    code = BACKEND.format(body=textwrap.indent(textwrap.dedent(body), "    "))
    (package / "backend.py").write_text(options.get("source", code))
    (metadata / "METADATA").write_text("Name: mobilebert-fake\nVersion: 1.0\n")
    entry_points = "[mobilebert.backends]\nfake = mobilebert_fake:BACKEND\n"
    (metadata / "entry_points.txt").write_text(entry_points)
    path = os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH", "")]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", path)
        patch.syspath_prepend(site)
        registry._entry_points.cache_clear()
        yield
    registry._entry_points.cache_clear()
    registry._instances.pop("fake", None)
    for name in [each for each in sys.modules if each.startswith("mobilebert_fake")]:
        del sys.modules[name]


@pytest.fixture
def install(tmp_path: Path) -> Iterator[Install]:
    """Installs a backend for one test."""
    with ExitStack() as stack:
        yield lambda body="", **options: stack.enter_context(
            installed(tmp_path / "site", body, **options)
        )


class Watcher:
    """Keeps what it sees."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.states: dict[str, list[str]] = {}

    def update(self, participant: Participant) -> None:
        self.states.setdefault(participant.backend, []).append(participant.state)

    def add(self, record: Record) -> None:
        self.records.append(record)


@pytest.fixture(scope="module")
def conforming(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Watcher]:
    """A run of two correct backends, and what its watcher saw."""
    watcher = Watcher()
    with installed(tmp_path_factory.mktemp("conforming") / "site"):
        return runner.run(replace(QUICK, backends=("fake", "numpy"), jobs=2), watcher), watcher


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A small checkpoint of the user's."""
    model = mobilebert.create(tiny_config(), "token-classification", "numpy")
    return str(mobilebert.save(model, tmp_path_factory.mktemp("user") / "model"))


def failed_clauses(run: Run) -> set[str]:
    return {record.clause for record in run.failures}


def only(run: Run) -> Any:
    """The only participant."""
    (participant,) = run.participants
    return participant


def test_correct_backend_conforms(conforming: Any) -> None:
    run, _ = conforming

    assert run.exit_code == 0, (run.participants, run.failures)
    assert {each.state for each in run.participants} == {"conforms"}
    assert all(each.finished == each.planned > 0 for each in run.participants)


def test_every_law_is_checked(conforming: Any) -> None:
    laws = {record.clause.partition(".")[0] for record in conforming[0].records}

    assert laws == {str(number) for number in (1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 12)}  # no gradients


def test_several_backends_run_together_in_one_interpreter(conforming: Any) -> None:
    together = [record for record in conforming[0].records if record.clause == "12.1"]

    assert {record.backend for record in together} == {"fake", "numpy"}


def test_watcher_sees_every_record_and_the_end(conforming: Any) -> None:
    run, watcher = conforming

    assert sorted(map(str, watcher.records)) == sorted(map(str, run.records))
    assert {states[-1] for states in watcher.states.values()} == {"conforms"}


def test_backend_that_does_not_import_fails(install: Install) -> None:
    install(source="raise ImportError('libfake.so: cannot open shared object file')")

    run = runner.run(QUICK)

    assert (run.exit_code, only(run).state) == (1, "broken")
    assert "libfake.so" in only(run).message


def test_backend_whose_worker_dies_fails_with_the_end_of_its_log(install: Install) -> None:
    install("""
        def run(self, *args, **kwargs):
            import os
            os.write(2, b"the last words")
            os._exit(0)
    """)

    run = runner.run(QUICK)

    assert (run.exit_code, only(run).state) == (1, "broken")
    assert "ended with code 0" in only(run).message


def test_crash_of_the_interpreter_is_told_from_its_beginning(install: Install) -> None:
    install("""
        def run(self, *args, **kwargs):
            import faulthandler
            faulthandler._sigabrt()
    """)

    run = runner.run(QUICK)

    assert (run.exit_code, only(run).state) == (1, "broken")
    assert "Fatal Python error: Aborted" in only(run).message


def test_absent_backend_is_told_and_does_not_fail(install: Install) -> None:
    install(requires=("what_is_missing",))

    found = {each.backend: each for each in runner.participants(Options())}

    assert (found["fake"].state, found["fake"].required) == ("absent", False)
    assert found["fake"].message == "pip install what-is-missing"
    conforming = Participant(backend="numpy", state="conforms")
    record = Record(backend="numpy", clause="1.1", error=0.0, limit=1.0, compared=1)
    assert runner._exit_code([found["fake"], conforming], [record]) == 0


@pytest.mark.parametrize("how", ["backends", "required"])
def test_backend_that_is_asked_for_and_absent_fails_with_its_own_code(
    how: str, install: Install, checkpoint: str
) -> None:
    install(requires=("what_is_missing",))
    names = {"backends": ("numpy", "fake")} if how == "backends" else {
        "backends": ("numpy",), "required": ("fake",),
    }  # fmt: skip

    run = runner.run(Options(source=checkpoint, **names))

    assert run.exit_code == 2


def test_required_backend_that_lost_float64_fails(install: Install, checkpoint: str) -> None:
    install("features = NumpyBackend.features - {Feature.FLOAT64, Feature.REPRODUCIBLE}")

    run = runner.run(Options(source=checkpoint, backends=("fake",)))

    assert (run.exit_code, only(run).state) == (1, "broken")
    assert "law 1 was not checked" in only(run).message


def test_settings_of_the_callers_pytest_select_nothing(
    checkpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTEST_ADDOPTS", "-k no_such_test")

    run = runner.run(Options(source=checkpoint, backends=("numpy",)))

    assert run.exit_code == 0


def test_unknown_backend_is_refused_before_anything_runs() -> None:
    with pytest.raises(UnknownBackendError, match="no-such"):
        runner.run(Options(backends=("no-such",)))


LIES = {
    "gradients": ("features = NumpyBackend.features | {Feature.GRADIENTS}", {"6.1", "10.1"}),
    "bfloat16": ("features = NumpyBackend.features | {Feature.BFLOAT16}", {"5.1", "10.1"}),
    "embeddings": (
        """
        def run(self, model, batch, **options):
            if "inputs_embeds" in batch:
                raise ValueError("never heard of it")
            return super().run(model, batch, **options)
        """,
        {"10.1"},
    ),
    "float64": (
        """
        def build(self, config, head, weights, *, dtype=None, precision=None, **options):
            dtype = "float32" if dtype == "float64" and precision is None else dtype
            return super().build(config, head, weights, dtype=dtype, precision=precision, **options)
        """,
        {"1.1", "5.1"},
    ),
    "attentions": (
        """
        def run(self, model, batch, *, labels=None, collect=()):
            collect = [name for name in collect if name != "attentions"]
            return super().run(model, batch, labels=labels, collect=collect)
        """,
        {"1.2", "10.1"},
    ),
    "no claim but no error": (
        "features = NumpyBackend.features - {Feature.PREDICTION_POSITIONS}",
        {"10.2"},
    ),
    "errors of its own": (
        """
        def run(self, model, batch, **options):
            try:
                return super().run(model, batch, **options)
            except Exception as error:
                raise type(error)(f"fake: {error}") from error
        """,
        {"10.3"},
    ),
    "outputs without fields": (
        """
        def run(self, model, batch, **options):
            return type(super().run(model, batch, **options))(logits=None)
        """,
        {"1.3", "1.5"},
    ),
    "weights of the caller": (
        """
        def build(self, config, head, weights, **options):
            model = super().build(config, head, weights, **options)
            if not model.optimized:
                model.parameters = dict(weights)
            return model
        """,
        {"5.1"},
    ),
    "weights that are not its own": (
        """
        def weights(self, model):
            found = super().weights(model)
            return {name: array + 0 * array if array.ndim == 2 else -array
                    for name, array in found.items()}
        """,
        {"5.1", "5.3"},
    ),
}


@pytest.mark.parametrize("lie", LIES)
def test_lie_is_found_by_its_clauses(lie: str, install: Install) -> None:
    body, clauses = LIES[lie]
    install(body)
    subject, plan = Subject(registry.get("fake")), Plan("quick", heads=("masked-lm",))
    failed = set()

    for check in CHECKS.values():
        for case in check.cases(plan):
            if case.heavy or check.reason_to_skip(subject, case):
                continue
            try:
                records = list(check.function(subject, case))
            except (MobileBertError, ValueError, RuntimeError):
                failed |= set(check.clauses)
            else:
                failed |= {record.clause for record in records if not record.passed}

    assert clauses <= failed


def test_backend_that_lies_does_not_conform(install: Install) -> None:
    install(LIES["gradients"][0])

    run = runner.run(QUICK)

    assert (run.exit_code, only(run).state) == (1, "deviates")
    assert LIES["gradients"][1] <= failed_clauses(run)


def test_checkpoint_of_the_user_is_run_with_its_own_head(checkpoint: str) -> None:
    run = runner.run(Options(source=checkpoint, backends=("numpy",)))

    assert run.exit_code == 0
    assert {record.head for record in run.records} == {"token-classification"}
    assert {record.case for record in run.records} == {"checkpoint", "optimized/checkpoint"}


def test_nan_on_both_sides_fails(tmp_path: Path) -> None:
    config = tiny_config()
    weights = random_weights(config, "base")
    name = "mobilebert.embeddings.LayerNorm.weight"
    weights[name] = weights[name] * np.nan
    backend = registry.get("numpy")
    model = backend.build(config, "base", weights, dtype="float32", device=None)
    folder = mobilebert.save(model, tmp_path / "model")

    run = runner.run(Options(source=str(folder), backends=("numpy",), jobs=1))

    assert run.exit_code == 1
    assert any("NaN" in record.fault for record in run.failures)


def test_base_model_without_pooler_conforms(tmp_path: Path) -> None:
    config = tiny_config()
    weights = {
        name: each
        for name, each in random_weights(config, "base").items()
        if ".pooler." not in name
    }
    model = registry.get("numpy").build(config, "base", weights, dtype="float32", device=None)
    folder = mobilebert.save(model, tmp_path / "model")

    run = runner.run(Options(source=str(folder), backends=("numpy",)))

    assert run.exit_code == 0, run.failures


def test_question_answering_on_a_checkpoint_of_many_labels_conforms(checkpoint: str) -> None:
    options = Options(source=checkpoint, backends=("numpy",), heads=("question-answering",))

    run = runner.run(options)

    assert run.exit_code == 0, run.failures


def test_source_that_is_absent_breaks_the_run_with_the_reason(tmp_path: Path) -> None:
    run = runner.run(Options(source=str(tmp_path / "nothing"), backends=("numpy",), jobs=1))

    assert run.exit_code == 1
    assert "nothing" in only(run).message


def test_missing_golden_vectors_fail(install: Install) -> None:
    install("""
        from mobilebert_conformance import golden
        def missing(name):
            raise FileNotFoundError(name)
        golden._read = missing
    """)

    run = runner.run(QUICK)

    assert run.exit_code == 1
    assert "11.2" in failed_clauses(run)
