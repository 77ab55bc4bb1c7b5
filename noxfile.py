"""What a person or CI runs: `nox -s demo`, `nox -s tests`, ... each in a fresh environment.

Needs nothing but Python 3.11 and nox. `constraints.txt` pins the tested versions; with the pinned
torch in place no CUDA build is pulled in.
"""

from pathlib import Path

import nox

nox.options.default_venv_backend = "venv"
nox.options.reuse_existing_virtualenvs = True
nox.options.error_on_missing_interpreters = True
nox.options.sessions = ["tests"]

ROOT = Path(__file__).parent
QUIET = {
    "OMP_NUM_THREADS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}  # one thread; TensorFlow's faults only
BACKENDS = ("numpy", "torch", "tf", "jax")
CONSTRAINTS = ROOT / "constraints.txt"


def install(session: nox.Session, *what: str) -> None:
    """Install under the constraints, quietly and without asking for a newer pip."""
    session.install("--constraint", str(CONSTRAINTS), "--disable-pip-version-check", *what)


def install_groups(session: nox.Session, *groups: str) -> None:
    """Install dependency groups of pyproject.toml."""
    wanted = nox.project.dependency_groups(nox.project.load_toml("pyproject.toml"), *groups)
    install(session, *wanted)


@nox.session
def demo(session: nox.Session) -> None:
    """Every head in every backend on real sentences: `nox -s demo`."""
    install(session, "-e", ".[torch,tf,jax]")
    session.run("mobilebert", "demo", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """What CI runs: all tests, then `core`, `wheel`, `conformance`. Arguments go to pytest."""
    install(session, "-e", ".[all]")
    install_groups(session, "test", "examples", "reference", "lint", "types")
    if not session.posargs:
        check_style(session)
        check_types(session)
        session.notify("core")
        session.notify("wheel")
        session.notify("conformance", ["--quick"])
    run_pytest(session)


@nox.session(name="long")
def long_tests(session: nox.Session) -> None:
    """What takes too long for every change: the demonstration on 24 layers."""
    install(session, "-e", ".[all]")
    install_groups(session, "test")
    run_pytest(session, "-m", "long")


@nox.session
def conformance(session: nox.Session) -> None:
    """The four backends held to the specification; `-- --quick` for minutes instead of more."""
    install(session, "-e", ".[all]")
    required = [part for name in BACKENDS for part in ("--require", name)]
    session.run("mobilebert", "conformance", *required, *session.posargs)


@nox.session
def fuzz(session: nox.Session) -> None:
    """Coverage-guided fuzzing of the checkpoint readers: `-- --seconds 600`."""
    install(session, "-e", ".[torch,h5]")
    install_groups(session, "fuzz")
    session.run("python", "tests/fuzz/fuzz_readers.py", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Formatting and style."""
    install_groups(session, "lint")
    check_style(session)


@nox.session
def types(session: nox.Session) -> None:
    """Static types of core and facade."""
    install(session, "-e", ".")
    install_groups(session, "types")
    check_types(session)


@nox.session
def core(session: nox.Session) -> None:
    """What must work with no framework installed: core, tokenizers, formats, NumPy, the command."""
    install(session, "-e", ".[h5,train]")
    install_groups(session, "test")
    session.run("python", "-c", ABSENT.format(others=("torch", "tensorflow", "keras", "jax")))
    run_pytest(session)


def alone(name: str, others: tuple[str, ...]) -> None:
    """Define the session `backend-NAME`: one framework, the others absent."""

    @nox.session(name=f"backend-{name}")
    def backend(session: nox.Session) -> None:
        install(session, "-e", f".[{name}]")
        install_groups(session, "test")
        session.run("python", "-c", ABSENT.format(others=others))
        run_pytest(session, "tests/backends", "tests/core/test_facade.py", "tests/test_docs.py")

    backend.__doc__ = f"The {name} backend in an environment without the other frameworks."


alone("torch", ("tensorflow", "keras", "jax", "flax"))
alone("tf", ("torch", "jax", "flax"))
alone("jax", ("torch", "tensorflow", "keras"))


@nox.session
def reference_tf(session: nox.Session) -> None:
    """Against the last TensorFlow models of transformers (4.57), on versions of their own."""
    folder = ROOT / "tests" / "reference_tf"
    pinned = ["--constraint", str(folder / "constraints.txt"), "--disable-pip-version-check"]
    wanted = nox.project.dependency_groups(nox.project.load_toml("pyproject.toml"), "test")
    session.install(
        *pinned, "transformers", "tf-keras", *wanted
    )  # TensorFlow and Keras 3 with them
    # Without what it asks for: transformers 4.57 needs an older tokenizers, and no test here any.
    session.install(*pinned, "--no-deps", "-e", ".")
    run_pytest(session, str(folder))


@nox.session
def benchmarks(session: nox.Session) -> None:
    """Inference next to other runtimes, a quiet quarter of an hour: tables and plot in docs/."""
    install(session, "-e", ".[torch,tf,jax,h5]")
    install_groups(session, "reference", "benchmarks")
    # transformers 4.57 in an environment of its own, on the versions of `reference_tf`.
    other = Path(session.virtualenv.location).resolve() / "transformers_tf"
    python = str(other / "bin" / "python")
    if not other.exists():
        session.run("python", "-m", "venv", str(other))
    pinned = ["--constraint", str(ROOT / "tests" / "reference_tf" / "constraints.txt")]
    wanted = ["transformers", "tf-keras", "tensorflow", "h5py", "ml-dtypes", "safetensors"]
    session.run(
        python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *pinned, *wanted,
        external=True,
    )  # fmt: skip
    given = session.posargs or ["--output", str(ROOT / "docs")]
    script = str(ROOT / "benchmarks" / "inference.py")
    session.run("python", script, "--transformers-tf", python, *given)


@nox.session
def wheel(session: nox.Session) -> None:
    """The built wheel in a fresh environment outside the repository, and a fifth backend on it."""
    install_groups(session, "wheel")
    dist = Path(session.create_tmp()).resolve() / "dist"
    session.run("python", "-m", "build", "--outdir", str(dist), str(ROOT), silent=True)
    (built,) = dist.glob("*.whl")
    install(session, "--force-reinstall", "--no-deps", str(built))
    install(session, str(built))
    session.chdir(session.create_tmp())  # outside the sources: nothing there may be imported
    session.run("python", str(ROOT / "tests" / "wheel_check.py"), str(built))
    install(session, f"{built}[conformance]")
    # One head: it shows that the wheel has all that the suite needs; `conformance` runs the rest.
    session.run("mobilebert", "conformance", "--quick", "--require", "numpy", "--head", "base")
    fifth = ROOT / "examples" / "onnxruntime_backend"
    install(session, str(fifth))
    session.run("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", str(fifth / "tests"))
    session.run("mobilebert", "conformance", "--quick", "--backend", "onnxruntime")


ABSENT = """
import importlib.util
found = [name for name in {others} if importlib.util.find_spec(name)]
assert not found, f"this session is for an environment without them, found {{found}}"
"""


def check_style(session: nox.Session) -> None:
    """Ruff, both ways."""
    session.run("ruff", "format", "--check", ".")
    session.run("ruff", "check", ".")


def check_types(session: nox.Session) -> None:
    """Mypy --strict, as pyproject.toml says."""
    session.run("mypy")


def run_pytest(session: nox.Session, *paths: str) -> None:
    """Pytest with a process for each core, so each may use one thread."""
    arguments = session.posargs or ["--numprocesses", "auto", "--dist", "worksteal"]
    session.run("python", "-m", "pytest", *paths, *arguments, env=QUIET)
