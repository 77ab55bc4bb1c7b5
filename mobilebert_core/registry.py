"""Finds backends: entry points of installed distributions and run-time registrations.

Four things can be wrong, and each has its own error: the name is unknown, a package is missing, an
installed framework does not import, two distributions claim one name.
"""

import difflib
import importlib
import importlib.metadata
import importlib.util
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import cast

from mobilebert_core.backend import Backend, BackendInfo
from mobilebert_core.errors import (
    BackendError,
    BrokenBackendError,
    DuplicateBackendError,
    MissingDependencyError,
    UnknownBackendError,
)
from mobilebert_core.heads import HEADS

ENTRY_POINT_GROUP = "mobilebert.backends"

_registered: dict[str, BackendInfo] = {}
_instances: dict[str, Backend] = {}


@dataclass(frozen=True)
class BackendStatus:
    """One row of `mobilebert backends`.

    Attributes:
        name: name of the backend.
        installed: whether everything that it needs can be found.
        missing: names of the modules that cannot.
        versions: version by distribution of what it needs.
        install: how to get what is missing.
    """

    name: str
    installed: bool
    missing: tuple[str, ...]
    versions: dict[str, str]
    install: str


def register_backend(info: BackendInfo) -> None:
    """Add a backend at run time, as an entry point would.

    Raises:
        DuplicateBackendError: the name is taken by another backend.
    """
    known = _infos()
    taken = [known[name] for name in (info.name, *info.aliases) if name in known]
    if taken and taken != [info] * len(taken):
        raise DuplicateBackendError(
            f"Backend {info.name!r} of {info.implementation} cannot be registered: "
            f"{taken[0].implementation} has that name already; choose another"
        )
    _registered[info.name] = info


def unregister_backend(name: str) -> None:
    """Forget a backend that `register_backend` added; unknown names are ignored."""
    _registered.pop(name, None)
    _instances.pop(name, None)


@cache
def _entry_points() -> dict[str, BackendInfo | BackendError]:
    """What distributions offer, by name; an unusable offer is kept as the error to raise."""
    claims: dict[str, list[importlib.metadata.EntryPoint]] = {}
    for entry_point in importlib.metadata.entry_points(group=ENTRY_POINT_GROUP):
        # An editable install may be listed twice; only different values are two claims.
        rows = claims.setdefault(entry_point.name, [])
        if entry_point.value not in [row.value for row in rows]:
            rows.append(entry_point)
    return {name: _resolve(name, rows) for name, rows in claims.items()}


def _resolve(name: str, rows: list[importlib.metadata.EntryPoint]) -> BackendInfo | BackendError:
    if len(rows) > 1:
        owners = " and ".join(f"{row.dist.name if row.dist else '?'} ({row.value})" for row in rows)
        return DuplicateBackendError(
            f"Two distributions claim the backend name {name!r}: {owners}; uninstall one"
        )
    try:
        info = rows[0].load()
    except Exception as error:
        broken = BrokenBackendError(
            f"The description of backend {name!r} at {rows[0].value} does not import: {error}"
        )
        broken.__cause__ = error
        return broken
    if not isinstance(info, BackendInfo):
        return BrokenBackendError(
            f"The entry point of backend {name!r}, {rows[0].value}, is a {type(info).__name__}, "
            "expected a BackendInfo"
        )
    if info.name != name:
        return BrokenBackendError(
            f"The entry point {name!r} describes a backend called {info.name!r} "
            f"({rows[0].value}); the two names must be the same"
        )
    return info


def _infos() -> dict[str, BackendInfo]:
    """All usable descriptions, by name and alias."""
    rows = [info for info in _entry_points().values() if isinstance(info, BackendInfo)]
    rows += _registered.values()
    infos = {info.name: info for info in rows}
    for info in rows:  # an alias never takes a name away
        for alias in info.aliases:
            infos.setdefault(alias, info)
    return infos


def _missing(info: BackendInfo) -> tuple[str, ...]:
    return tuple(name for name in info.requires if not _is_there(name))


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):  # no parent package; a module without a specification
        return module in sys.modules and sys.modules[module] is not None


def _versions(modules: Iterable[str]) -> dict[str, str]:
    """Versions by module; a distribution may have another name, as tensorflow-cpu does."""
    owners = importlib.metadata.packages_distributions()
    found = {module: owners.get(module.partition(".")[0]) for module in modules}
    return {name: importlib.metadata.version(each[0]) for name, each in found.items() if each}


def find(name: str) -> BackendInfo:
    """The description of a backend, by name or alias; imports no framework.

    Raises:
        UnknownBackendError: with the closest match and the list of what is installed.
        DuplicateBackendError: two distributions claim the name.
        BrokenBackendError: the description itself does not import.
    """
    infos = _infos()
    if isinstance(name, str) and name in infos:
        return infos[name]
    offer = _entry_points().get(name) if isinstance(name, str) else None
    if isinstance(offer, BackendError):
        raise offer
    close = difflib.get_close_matches(str(name), infos, n=1)
    hint = f"did you mean {infos[close[0]].name!r}? " if close else ""
    names = ", ".join(dict.fromkeys(info.name for info in infos.values()))
    raise UnknownBackendError(
        f"No backend is called {name!r}; {hint}Known: {names}; ready to use: "
        f"{', '.join(usable_names()) or 'none'}"
    )


def get(name: str | None = None) -> Backend:
    """The backend of this name, its framework imported.

    Args:
        name: name or alias; None takes the installed backend of the highest priority.

    Raises:
        UnknownBackendError: no distribution offers the name.
        MissingDependencyError: with the line that installs what is missing.
        BrokenBackendError: the framework is there and does not import (the cause is chained).
        DuplicateBackendError: two distributions claim the name.
    """
    info = find(default_name() if name is None else name)
    if info.name not in _instances:
        missing = _missing(info)
        if missing:
            raise MissingDependencyError(
                f"Backend {info.name!r} needs {', '.join(missing)}, which is not installed; "
                f"type: {info.install}. Ready to use: {', '.join(usable_names()) or 'none'}"
            )
        _instances[info.name] = _import_implementation(info)
    return _instances[info.name]


def _import_implementation(info: BackendInfo) -> Backend:
    module_name, _, attribute = info.implementation.partition(":")
    try:
        factory = getattr(importlib.import_module(module_name), attribute)
        return cast(Backend, factory())
    except Exception as error:
        raise BrokenBackendError(
            f"Backend {info.name!r} is installed, but {info.implementation} does not import: "
            f"{type(error).__name__}: {error}"
        ) from error


def usable_names() -> tuple[str, ...]:
    """Backends whose requirements are all installed, the default first."""
    infos = dict.fromkeys(info.name for info in _infos().values())
    usable = [find(name) for name in infos if not _missing(find(name))]
    return tuple(info.name for info in sorted(usable, key=lambda info: -info.priority))


def default_name() -> str:
    """The name of the default backend.

    Raises:
        MissingDependencyError: nothing is usable.
    """
    names = usable_names()
    if not names:
        raise MissingDependencyError('No backend is usable; type: pip install "mobilebert[torch]"')
    return names[0]


def backends() -> dict[str, BackendStatus]:
    """What is installed, what is missing and how to get it; imports no framework.

    Example:
        >>> backends()["numpy"].installed
        True
    """
    rows = {}
    for info in dict.fromkeys(sorted(_infos().values(), key=lambda info: -info.priority)):
        missing = _missing(info)
        versions = _versions(name for name in info.requires if name not in missing)
        rows[info.name] = BackendStatus(
            info.name, not missing, missing, versions, info.install if missing else ""
        )
    for name, offer in _entry_points().items():
        if isinstance(offer, BackendError):
            rows.setdefault(name, BackendStatus(name, False, (), {}, str(offer)))
    return rows


def model_class_names() -> dict[str, BackendInfo]:
    """The class names of all backends, e.g. `MobileBertForMaskedLM`; imports no framework."""
    infos = dict.fromkeys(_infos().values())
    return {
        info.class_prefix + head.class_name: info
        for info in infos
        if info.class_module is not None
        for head in HEADS.values()
    }


def model_class(name: str) -> type:
    """The model class of this name, its backend's framework imported.

    Raises:
        AttributeError: no backend has such a class; as the facade's `__getattr__` must.
        MissingDependencyError: the backend's framework is not installed.
        BrokenBackendError: it is and does not import.
    """
    info = model_class_names().get(name)
    if info is None or info.class_module is None:
        close = difflib.get_close_matches(name, model_class_names(), n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise AttributeError(f"module 'mobilebert' has no attribute {name!r}{hint}")
    get(info.name)
    found: type = getattr(importlib.import_module(info.class_module), name)
    return found
