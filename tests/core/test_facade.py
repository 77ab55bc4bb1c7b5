"""The name that users type: what it exports, and that importing it imports nothing heavy."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import mobilebert
from mobilebert_core import config, errors, loading, registry

HEAVY = ("torch", "tensorflow", "jax", "flax", "keras", "transformers", "huggingface_hub")


def _loaded_after(code: str) -> set[str]:
    """The heavy modules that a fresh interpreter holds after running some code."""
    report = f"import sys\n{code}\nprint(*[name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", report], capture_output=True, text=True, check=True
    )
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    "code",
    [
        "import mobilebert",
        "import mobilebert; mobilebert.backends()",
        "import mobilebert; dir(mobilebert); mobilebert.__version__",
        "import mobilebert; mobilebert.Config(); mobilebert.HEADS; mobilebert.load",
        "import mobilebert; mobilebert.get_backend('numpy')",
        "import mobilebert; mobilebert.NumpyMobileBertModel",
        "import mobilebert; mobilebert.load_tokenizer; mobilebert.MobileBertTokenizerFast",
        "from mobilebert import *",
        "import mobilebert_numpy, mobilebert_torch, mobilebert_tf, mobilebert_jax",
    ],
)
def test_no_framework_is_imported_when(code: str) -> None:
    assert _loaded_after(code) == set()


def test_framework_is_imported_when_its_class_is_asked_for() -> None:
    pytest.importorskip("torch")
    assert "torch" in _loaded_after("from mobilebert import MobileBertForMaskedLM")


def test_running_the_numpy_backend_imports_no_framework() -> None:
    code = (
        "import mobilebert\n"
        "config = mobilebert.Config(num_hidden_layers=1, vocab_size=9)\n"
        "model = mobilebert.create(config, backend='numpy')\n"
        "model(input_ids=[[1, 2]])"
    )
    assert _loaded_after(code) == set()


@pytest.mark.parametrize("name", mobilebert.__all__)
def test_export_exists(name: str) -> None:
    assert getattr(mobilebert, name) is not None


def test_exports_are_the_real_objects() -> None:
    assert mobilebert.Config is mobilebert.MobileBertConfig is config.MobileBertConfig
    assert mobilebert.load is loading.load
    assert mobilebert.get_backend is registry.get
    assert mobilebert.InputError is errors.InputError


def test_every_error_of_the_library_is_exported() -> None:
    own = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and value.__module__ == errors.__name__
    }
    assert own <= set(mobilebert.__all__)


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse(Path(str(mobilebert.__file__)).read_text(encoding="utf-8"))
    guarded = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {
        alias.asname or alias.name: f"{node.module}:{alias.name}"
        for node in guarded.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    expected = {
        name: where if where.startswith("mobilebert_") else f"mobilebert_core.{where}"
        for name, where in mobilebert._EXPORTS.items()
    }
    assert seen == expected


def test_dir_lists_exports_and_model_classes() -> None:
    listed = dir(mobilebert)
    assert set(mobilebert.__all__) <= set(listed)
    assert {"MobileBertForMaskedLM", "NumpyMobileBertForQuestionAnswering"} <= set(listed)


def test_model_class_is_the_backends_own() -> None:
    from mobilebert_numpy import heads

    assert mobilebert.NumpyMobileBertForMaskedLM is heads.NumpyMobileBertForMaskedLM


def test_unknown_model_class_raises_an_attribute_error_with_a_hint() -> None:
    with pytest.raises(AttributeError, match="did you mean MobileBertForMaskedLM"):
        mobilebert.MobileBertForMaskdLM  # noqa: B018


def test_name_like_no_class_raises_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'NoSuchMobileBert'"):
        mobilebert.NoSuchMobileBert  # noqa: B018


def test_hasattr_is_false_for_an_unknown_name() -> None:
    assert not hasattr(mobilebert, "no_such_name")
    assert not hasattr(mobilebert, "NoSuchMobileBert")


def test_import_of_an_unknown_name_raises_an_import_error() -> None:
    with pytest.raises(ImportError, match="NoSuchMobileBert"):
        from mobilebert import NoSuchMobileBert  # noqa: F401


def test_version_is_that_of_the_distribution() -> None:
    assert mobilebert.__version__.count(".") == 2


def test_hub_download_is_the_only_way_to_the_network() -> None:
    # No module of the core but hub.py may import the downloader.
    folder = Path(str(loading.__file__)).parent
    statement = re.compile(r"^\s*(from|import) huggingface_hub", re.MULTILINE)
    using = [
        path.name
        for path in folder.rglob("*.py")
        if statement.search(path.read_text(encoding="utf-8"))
    ]
    assert using == ["hub.py"]
