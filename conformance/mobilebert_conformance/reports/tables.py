"""Tables of the terminal, for the live display and the result.

Rules: text that is not ours becomes `Text` through `plain`, for `[torch]` is rich's markup and a
log may hold escape sequences; colours repeat what words say.
"""

from collections.abc import Iterable, Mapping, Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from mobilebert_conformance.records import Participant, Record
from mobilebert_conformance.reports.wording import cell_text, duration, head_text, heat, visible

# By `wording.heat`: the decades of error over limit below 1, then beyond it.
HEAT_STYLES = (*["green"] * 5, "yellow", "bold yellow", "bold red", "bold white on red")
STATE_STYLES = {
    "conforms": "green",
    "deviates": "bold red",
    "broken": "bold red",
    "absent": "yellow",
    "running": "cyan",
}
LEGEND = "near: from 0.5 of the limit; FAIL: above it; -: nothing was compared"


def plain(text: object, style: str = "") -> Text:
    """Text that rich prints as it is, control characters spelled out."""
    return Text(visible(str(text)), style)


def new_table(*columns: str, numbers: Sequence[str] = ()) -> Table:
    """An empty table; `numbers` names the columns that are aligned to the right.

    Without a title, which would be broken at the width of a narrow table.
    """
    table = Table(box=box.SIMPLE, pad_edge=False)
    for column in columns:
        justify = "right" if column in numbers else "left"
        table.add_column(plain(column), justify=justify, overflow="fold")  # type: ignore[arg-type]
    return table


def heat_cell(record: Record | None) -> Text:
    """The ratio of a record in the colour of its decade."""
    if record is None:
        return plain("-", "dim")
    return plain(cell_text(record), HEAT_STYLES[heat(record)])


def heat_map(
    heads: Iterable[str],
    backends: Sequence[str],
    cells: Mapping[tuple[str, str], Record],
) -> Table:
    """Heads by backends, the worst record in each cell."""
    table = new_table("head", *backends, numbers=backends)
    for head in heads:
        row = (heat_cell(cells.get((head, backend))) for backend in backends)
        table.add_row(plain(head_text(head), "" if head else "italic"), *row)
    return table


def state_text(participant: Participant) -> Text:
    """A participant's state in its colour."""
    required = " (required)" * (participant.required and participant.state == "absent")
    return plain(participant.state + required, STATE_STYLES.get(participant.state, "dim"))


def progress_text(participant: Participant, seconds: float) -> str:
    """How far a participant is, e.g. `12/300 in 0:35`."""
    if participant.state in ("waiting", "absent"):
        return ""
    total = participant.planned or "?"
    return f"{participant.finished}/{total} in {duration(seconds)}"
