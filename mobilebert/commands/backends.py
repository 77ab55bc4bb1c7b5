"""`mobilebert backends`: what is installed, what is missing and how to get it."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from mobilebert.commands import console, new_table, plain, print_json

if TYPE_CHECKING:
    from mobilebert_core.registry import BackendStatus


def command(
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Import the frameworks; show features and dtypes.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Show which backends are ready, and how to get the others.

    Without `--verbose` no framework is imported.

    For example:

    - `mobilebert backends`: what is installed, in which version
    - `mobilebert backends --verbose`: also what each can do; shows frameworks that do not import
    - `mobilebert backends --json`: for programs
    """
    from mobilebert_core import registry

    found = list(registry.backends().values())
    default = registry.default_name()
    claims = {status.name: _claims(status) for status in found} if verbose else {}
    if as_json:
        print_json(
            {
                status.name: asdict(status)
                | {"default": status.name == default}
                | claims.get(status.name, {})
                for status in found
            }
        )
    else:
        console().print(_table(found, default, claims))


def _claims(status: "BackendStatus") -> dict[str, Any]:
    """Features and dtypes of a backend that imports, or why it does not."""
    from mobilebert_core import registry
    from mobilebert_core.backend import DTYPES
    from mobilebert_core.errors import BackendError

    if not status.installed:
        return {}
    try:
        names = [feature.value for feature in registry.get(status.name).features]
    except BackendError as error:
        return {"error": str(error)}
    return {
        "dtypes": [name for name in DTYPES if name in names],
        "features": sorted(name for name in names if name not in DTYPES),
    }


def _table(found: list["BackendStatus"], default: str, claims: dict[str, dict[str, Any]]) -> Table:
    last_heading = "dtypes and features" if claims else "get it"
    table = new_table("Backends", "backend", "state", "versions", last_heading)
    table.caption, table.caption_justify = "* is taken when none is named", "left"
    for status in found:
        claim = claims.get(status.name, {})
        state = plain("ready", "green") if status.installed else plain("missing", "yellow")
        if "error" in claim:
            state = plain("broken", "red")
        versions = [f"{name} {version}" for name, version in status.versions.items()]
        versions += [f"{name} missing" for name in status.missing]
        features = ", ".join([*claim.get("dtypes", []), *claim.get("features", [])])
        last = claim.get("error") or status.install or features
        name = status.name + (" *" if status.name == default else "")
        table.add_row(plain(name, "bold"), state, plain(", ".join(versions)), plain(last))
    return table
