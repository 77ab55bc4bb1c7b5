"""How backends are found: entry points of made-up distributions, registrations, four errors."""

import contextlib
import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mobilebert_core import registry
from mobilebert_core.backend import DTYPES, BackendInfo, Feature, check_dtype
from mobilebert_core.errors import (
    BackendError,
    BrokenBackendError,
    ConfigError,
    DuplicateBackendError,
    MissingDependencyError,
    UnknownBackendError,
)
from mobilebert_core.heads import HEADS

DESCRIPTION = """
from mobilebert_core.backend import BackendInfo

BACKEND = BackendInfo(
    name={name!r},
    implementation="{module}_heavy:Backend",
    requires={requires!r},
    install="pip install {module}",
    aliases={aliases!r},
    priority={priority},
    class_module={class_module!r},
    class_prefix={class_prefix!r},
)
"""
WORKING = "class Backend:\n    name = {name!r}\n    features = frozenset()\n"

Distribution = Callable[..., None]


@pytest.fixture(autouse=True)
def fresh_registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No registrations and no cached entry points, before and after."""
    monkeypatch.setattr(registry, "_registered", {})
    monkeypatch.setattr(registry, "_instances", {})
    registry._entry_points.cache_clear()
    yield
    registry._entry_points.cache_clear()


@pytest.fixture
def distribution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Distribution]:
    """Installs a made-up distribution with one backend into a folder on the path."""
    monkeypatch.syspath_prepend(tmp_path)
    made: list[str] = []

    def install(
        owner: str,
        name: str,
        *,
        module: str | None = None,
        entry_name: str | None = None,
        description: str | None = None,
        implementation: str = WORKING,
        **fields: Any,
    ) -> None:
        module = module or f"made_up_{owner.replace('-', '_')}"
        values = {"requires": (), "aliases": (), "priority": 0, "class_module": None}
        values |= {"class_prefix": "", "name": name, "module": module} | fields
        text = DESCRIPTION.format(**values) if description is None else description
        (tmp_path / f"{module}.py").write_text(text)
        (tmp_path / f"{module}_heavy.py").write_text(implementation.replace("{name!r}", repr(name)))
        info = tmp_path / f"{owner.replace('-', '_')}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {owner}\nVersion: 1.2\n")
        line = f"{entry_name or name} = {module}:BACKEND"
        (info / "entry_points.txt").write_text(f"[mobilebert.backends]\n{line}\n")
        made.extend([module, f"{module}_heavy"])
        importlib.invalidate_caches()
        registry._entry_points.cache_clear()

    yield install
    for module in made:
        sys.modules.pop(module, None)


def _info(name: str = "toy", **changes: Any) -> BackendInfo:
    values: dict[str, Any] = {
        "name": name,
        "implementation": "made_up_toy:Backend",
        "requires": (),
        "install": "pip install toy",
    }
    return BackendInfo(**(values | changes))


# Finding ------------------------------------------------------------------------------------------


def test_entry_point_of_a_foreign_distribution_is_found(distribution: Distribution) -> None:
    distribution("toy-mlx", "mlx")
    assert registry.get("mlx").name == "mlx"


def test_implementation_is_not_imported_before_it_is_asked_for(distribution: Distribution) -> None:
    distribution("toy-mlx", "mlx")
    registry.backends()
    registry.find("mlx")
    assert "made_up_toy_mlx_heavy" not in sys.modules


def test_backend_is_made_once(distribution: Distribution) -> None:
    distribution("toy-mlx", "mlx", aliases=("apple",))
    assert registry.get("mlx") is registry.get("apple")


def test_alias_finds_the_same_backend() -> None:
    assert registry.find("np") is registry.find("numpy")
    assert registry.find("pt") is registry.find("torch")
    assert registry.find("tensorflow") is registry.find("tf")
    assert registry.find("flax") is registry.find("jax")


def test_default_is_the_usable_backend_of_the_highest_priority(distribution: Distribution) -> None:
    distribution("toy-first", "first", priority=1000)
    distribution("toy-absent", "absent", priority=2000, requires=("no_such_module",))
    assert registry.default_name() == "first"
    assert registry.get().name == "first"


def test_own_backends_are_ordered_from_torch_to_numpy() -> None:
    modules = {"torch": "torch", "tf": "tensorflow", "jax": "jax", "numpy": "numpy"}
    names = [name for name in registry.usable_names() if name in modules]
    assert names == [name for name, module in modules.items() if importlib.util.find_spec(module)]
    assert names[0] == registry.default_name()


def test_one_distribution_listed_twice_is_one_claim(
    distribution: Distribution, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    distribution("toy-mlx", "mlx")
    again = tmp_path / "again" / "toy_mlx-1.2.dist-info"
    again.mkdir(parents=True)
    original = tmp_path / "toy_mlx-1.2.dist-info"
    for name in ("METADATA", "entry_points.txt"):
        (again / name).write_text((original / name).read_text())
    monkeypatch.syspath_prepend(tmp_path / "again")
    registry._entry_points.cache_clear()
    assert registry.find("mlx").name == "mlx"


def test_two_distributions_that_offer_the_same_object_are_one_claim(
    distribution: Distribution,
) -> None:
    distribution("toy-mlx", "mlx", module="made_up_shared")
    distribution("toy-mlx-renamed", "mlx", module="made_up_shared")
    assert registry.get("mlx").name == "mlx"


# Four errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "hint"), [("pytorch", "torch"), ("Torch", "torch"), ("nunpy", "numpy")]
)
def test_unknown_name_raises_with_the_closest_match(name: str, hint: str) -> None:
    with pytest.raises(UnknownBackendError, match=f"'{name}'; did you mean '{hint}'") as caught:
        registry.get(name)
    assert "numpy" in str(caught.value).split("ready to use")[1]


def test_unknown_name_raises_without_a_match_when_nothing_is_close() -> None:
    with pytest.raises(UnknownBackendError) as caught:
        registry.get("xyzzy")
    assert "did you mean" not in str(caught.value)


@pytest.mark.parametrize("name", [3, ["torch"], {"torch": 1}, "", b"torch"])
def test_name_that_is_no_name_raises_an_unknown_backend_error(name: Any) -> None:
    with pytest.raises(UnknownBackendError):
        registry.get(name)


def test_missing_dependency_raises_with_the_line_to_type(distribution: Distribution) -> None:
    distribution("toy-mlx", "mlx", requires=("numpy", "no_such_module", "nor_this_one"))
    with pytest.raises(MissingDependencyError) as caught:
        registry.get("mlx")
    message = str(caught.value)
    assert "no_such_module, nor_this_one" in message
    assert "pip install made_up_toy_mlx" in message
    assert "numpy" in message.split("Ready to use")[1]
    assert isinstance(caught.value, ImportError)


def test_missing_dependency_raises_when_the_parent_of_a_dotted_module_is_absent(
    distribution: Distribution,
) -> None:
    distribution("toy-mlx", "mlx", requires=("no_such_module.nnx",))
    with pytest.raises(MissingDependencyError, match=r"no_such_module\.nnx"):
        registry.get("mlx")


def test_dotted_requirement_does_not_break_the_others(distribution: Distribution) -> None:
    distribution("toy-mlx", "mlx", requires=("no_such_module.nnx",))
    assert "numpy" in registry.usable_names()
    assert not registry.backends()["mlx"].installed


@pytest.mark.parametrize("name", ["torch", "tf", "jax", "numpy"])
def test_absent_framework_raises_with_the_extra(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_missing", lambda info: info.requires)
    with pytest.raises(MissingDependencyError) as caught:
        registry.get(name)
    line = "pip install mobilebert" if name == "numpy" else f'pip install "mobilebert[{name}]"'
    assert line in str(caught.value)
    assert "Ready to use: none" in str(caught.value)


def test_nothing_usable_raises_with_a_line_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_missing", lambda info: info.requires)
    with pytest.raises(MissingDependencyError, match="pip install"):
        registry.get()


def test_broken_framework_raises_with_its_cause(distribution: Distribution) -> None:
    distribution("toy-mlx", "mlx", implementation="raise OSError('libtoy.so: undefined symbol')")
    with pytest.raises(BrokenBackendError, match=r"'mlx'.*OSError: libtoy\.so") as caught:
        registry.get("mlx")
    assert isinstance(caught.value.__cause__, OSError)


def test_broken_framework_is_tried_again(distribution: Distribution, tmp_path: Path) -> None:
    distribution("toy-mlx", "mlx", implementation="raise OSError('later')")
    with pytest.raises(BrokenBackendError):
        registry.get("mlx")
    (tmp_path / "made_up_toy_mlx_heavy.py").write_text(
        "class Backend:\n    name = 'repaired, and of another size'\n"
    )
    importlib.invalidate_caches()
    assert registry.get("mlx").name.startswith("repaired")


def test_backend_whose_constructor_fails_is_broken(distribution: Distribution) -> None:
    failing = "class Backend:\n    def __init__(self):\n        raise RuntimeError('no device')\n"
    distribution("toy-mlx", "mlx", implementation=failing)
    with pytest.raises(BrokenBackendError, match="no device"):
        registry.get("mlx")


def test_implementation_without_the_attribute_is_broken(distribution: Distribution) -> None:
    distribution("toy-mlx", "mlx", implementation="")
    with pytest.raises(BrokenBackendError, match="Backend"):
        registry.get("mlx")


def test_description_that_does_not_import_is_broken(distribution: Distribution) -> None:
    distribution("toy-mlx", "mlx", description="raise ValueError('bad description')")
    with pytest.raises(BrokenBackendError, match="bad description") as caught:
        registry.get("mlx")
    assert isinstance(caught.value.__cause__, ValueError)


def test_description_of_another_type_is_broken(distribution: Distribution) -> None:
    distribution("toy-mlx", "mlx", description="BACKEND = {'name': 'mlx'}")
    with pytest.raises(BrokenBackendError, match=r"dict.*BackendInfo"):
        registry.get("mlx")


def test_broken_description_leaves_the_others_usable(distribution: Distribution) -> None:
    distribution("toy-mlx", "mlx", description="raise ValueError")
    assert "numpy" in registry.usable_names()
    assert registry.get("numpy").name == "numpy"


def test_broken_description_can_be_raised_again(distribution: Distribution) -> None:
    distribution("toy-mlx", "mlx", description="raise ValueError")
    for _ in range(2):
        with pytest.raises(BrokenBackendError):
            registry.get("mlx")


def test_broken_description_is_listed(distribution: Distribution) -> None:
    # Whoever looks for a backend that he has just installed must see it, and why it is unusable.
    distribution("toy-mlx", "mlx", description="raise ValueError('bad description')")
    assert not registry.backends()["mlx"].installed


def test_name_claimed_twice_raises_with_both_owners(distribution: Distribution) -> None:
    distribution("toy-one", "mlx")
    distribution("toy-two", "mlx")
    with pytest.raises(DuplicateBackendError) as caught:
        registry.get("mlx")
    message = str(caught.value)
    assert "'mlx'" in message
    assert "toy-one" in message
    assert "toy-two" in message


def test_own_name_claimed_by_a_foreign_distribution_raises(distribution: Distribution) -> None:
    distribution("toy-torch", "torch")
    with pytest.raises(DuplicateBackendError, match=r"toy-torch|mobilebert"):
        registry.get("torch")
    assert "numpy" in registry.usable_names()


@pytest.mark.parametrize("owners", [("a-toy", "z-toy"), ("z-toy", "a-toy")])
def test_name_is_never_taken_through_another_entry_name(
    owners: tuple[str, str], distribution: Distribution
) -> None:
    # Which of two distributions wins must not depend on the order in which they are listed.
    honest, other = owners
    distribution(honest, "mlx")
    distribution(other, "mlx", entry_name="mlx-fast")
    with contextlib.suppress(DuplicateBackendError):
        assert registry.find("mlx").implementation.startswith(f"made_up_{honest[0]}_toy")


def test_foreign_alias_never_takes_the_name_of_a_backend(distribution: Distribution) -> None:
    distribution("a-toy", "aardvark", aliases=("numpy", "torch"), priority=-1)
    with contextlib.suppress(DuplicateBackendError):
        assert registry.find("numpy").implementation.startswith("mobilebert_numpy")


def test_entry_name_is_a_name(distribution: Distribution) -> None:
    distribution("toy-mlx", "mlx", entry_name="mlx-fast")
    with contextlib.suppress(BrokenBackendError):
        assert registry.find("mlx-fast").name == "mlx"


def test_errors_are_backend_errors_and_distinct() -> None:
    kinds = {UnknownBackendError, MissingDependencyError, BrokenBackendError, DuplicateBackendError}
    assert all(issubclass(kind, BackendError) for kind in kinds)
    assert not any(issubclass(one, other) for one in kinds for other in kinds - {one})


# Registration at run time -------------------------------------------------------------------------


def test_registered_backend_is_found_and_forgotten() -> None:
    registry.register_backend(_info(aliases=("plaything",)))
    assert registry.find("plaything").name == "toy"
    registry.unregister_backend("toy")
    with pytest.raises(UnknownBackendError):
        registry.find("plaything")


def test_registering_the_same_twice_is_no_error() -> None:
    registry.register_backend(_info())
    registry.register_backend(_info())
    assert list(registry.backends()).count("toy") == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "numpy"},
        {"name": "np"},
        {"aliases": ("numpy",)},
        {"aliases": ("pt",)},
        {"implementation": "other:Backend"},
    ],
)
def test_registering_a_taken_name_raises(changes: dict[str, Any]) -> None:
    registry.register_backend(_info())
    info = _info(**({"name": "another"} if "aliases" in changes else {}) | changes)
    with pytest.raises(DuplicateBackendError, match="already"):
        registry.register_backend(info)


def test_failed_registration_leaves_nothing_behind() -> None:
    with pytest.raises(DuplicateBackendError):
        registry.register_backend(_info(aliases=("numpy",)))
    assert "toy" not in registry.backends()


def test_forgetting_an_unknown_backend_is_no_error() -> None:
    registry.unregister_backend("nothing")


def test_backend_registered_anew_is_the_new_one(distribution: Distribution) -> None:
    distribution("helper", "helper-one")
    implementation = "made_up_helper_heavy:Backend"
    registry.register_backend(_info(implementation=implementation))
    first = registry.get("toy")
    registry.unregister_backend("toy")
    registry.register_backend(_info(implementation=implementation))
    assert registry.get("toy") is not first


# Status -------------------------------------------------------------------------------------------


def test_status_tells_what_is_missing_and_how_to_get_it() -> None:
    registry.register_backend(_info(requires=("numpy", "no_such_module")))
    status = registry.backends()["toy"]
    assert (status.installed, status.missing) == (False, ("no_such_module",))
    assert status.install == "pip install toy"
    assert status.versions == {"numpy": np.__version__}


def test_status_has_nothing_to_install_when_all_is_there() -> None:
    status = registry.backends()["numpy"]
    assert (status.installed, status.missing, status.install) == (True, (), "")


def test_status_survives_a_module_whose_distribution_has_another_name() -> None:
    # As `tensorflow` from the distribution tensorflow-cpu, or a folder of that name in sight.
    registry.register_backend(_info(requires=("_pytest",)))
    assert registry.backends()["toy"].installed


def test_status_survives_a_module_of_no_distribution(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "made_up_local_module.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    registry.register_backend(_info(requires=("made_up_local_module",)))
    assert registry.backends()["toy"].installed


# Model classes ------------------------------------------------------------------------------------


def test_model_classes_are_named_by_prefix_and_head() -> None:
    names = registry.model_class_names()
    for head in HEADS.values():
        assert names[head.class_name].name == "torch"
        assert names[f"Numpy{head.class_name}"].name == "numpy"


def test_model_class_of_a_foreign_backend_is_found(distribution: Distribution) -> None:
    implementation = WORKING + "class ToyMobileBertModel: pass\n"
    distribution(
        "toy-mlx",
        "mlx",
        implementation=implementation,
        class_module="made_up_toy_mlx_heavy",
        class_prefix="Toy",
    )
    assert registry.model_class("ToyMobileBertModel").__module__ == "made_up_toy_mlx_heavy"


def test_model_class_raises_when_the_framework_is_missing(distribution: Distribution) -> None:
    fields = {"class_module": "made_up_toy_mlx_heavy", "class_prefix": "Toy"}
    distribution("toy-mlx", "mlx", requires=("no_such_module",), **fields)
    with pytest.raises(MissingDependencyError, match="no_such_module"):
        registry.model_class("ToyMobileBertModel")


def test_unknown_model_class_raises_an_attribute_error_with_a_hint() -> None:
    with pytest.raises(AttributeError, match="did you mean MobileBertForMaskedLM"):
        registry.model_class("MobileBertForMaskedLm")


# Dtypes -------------------------------------------------------------------------------------------


class _Claims:
    name = "toy"
    features = frozenset({Feature.FLOAT32, Feature.BFLOAT16})


class _TensorFlowLike:
    """Prints as TensorFlow's dtypes do."""

    name = "float32"

    def __str__(self) -> str:
        return "<dtype: 'float32'>"


@pytest.mark.parametrize(
    "dtype", ["float32", "torch.float32", np.float32, np.dtype("float32"), _TensorFlowLike()]
)
def test_dtype_is_known_in_every_spelling(dtype: Any) -> None:
    backend: Any = _Claims()
    assert check_dtype(backend, dtype) == "float32"


@pytest.mark.parametrize("dtype", ["float", "int8", None, 32, "", "float32 "])
def test_unknown_dtype_raises_with_the_list(dtype: Any) -> None:
    backend: Any = _Claims()
    with pytest.raises(ConfigError, match=", ".join(DTYPES)):
        check_dtype(backend, dtype)


def test_dtype_that_is_not_claimed_raises_with_what_is() -> None:
    backend: Any = _Claims()
    with pytest.raises(ConfigError, match=r"toy.*float64.*float32, bfloat16"):
        check_dtype(backend, "float64")


def test_half_precision_raises_with_the_reason() -> None:
    backend: Any = _Claims()
    with pytest.raises(ConfigError, match=r"65504.*bfloat16"):
        check_dtype(backend, "float16")
