"""Tables of names: rows with placeholders, filled in for one configuration.

A row says once how a canonical name and a name in a file correspond; `expand` makes all names of a
configuration of it, for reading and for writing. Read next: a format with a table, `google_tf1.py`.
"""

from collections.abc import Iterator, Mapping
from itertools import product

from mobilebert_core.checkpoints.names import UNKNOWN, FileName, Place, Translation
from mobilebert_core.config import MobileBertConfig

# Row: canonical name, name in the file, kind. Part: starts of both names, and its rows.
Rows = tuple[tuple[str, str, str], ...]
Table = tuple[tuple[str, str, Rows], ...]
# Kind of a row -> (end of the canonical name, end of the file's, whether transposed).
Endings = Mapping[str, tuple[tuple[str, str, bool], ...]]


def expand(
    table: Table, endings: Endings, config: MobileBertConfig, **words: str
) -> dict[str, Place]:
    """Canonical name -> where a file keeps it, for every part that the table knows.

    A model has some of these parts, according to its configuration and head.

    Args:
        table: the rows.
        endings: the kinds of rows.
        config: says how many layers and networks there are.
        **words: values of further placeholders in names of the file.
    """
    places: dict[str, Place] = {}
    for start, file_start, rows in table:
        for row, file_row, kind in rows:
            pattern, file_pattern = start + row, file_start + file_row
            for fields in _placeholders(pattern, config):
                name = pattern.format(**fields)
                file_name = file_pattern.format(**fields, **words)
                for ending, file_ending, transposed in endings[kind]:
                    places[name + ending] = Place(file_name + file_ending, transposed)
    return places


def inverted(places: Mapping[str, Place]) -> Translation:
    """The translation of the names in a file."""
    meanings = {place.name: FileName(name, place.transposed) for name, place in places.items()}
    return lambda name: meanings.get(name, UNKNOWN)


def _placeholders(pattern: str, config: MobileBertConfig) -> Iterator[dict[str, object]]:
    """All ways to fill the placeholders that a row has."""
    choices: dict[str, tuple[object, ...]] = {
        "layer": tuple(range(config.num_hidden_layers)),
        "network": tuple(range(config.num_feedforward_networks - 1)),
        "projection": ("query", "key", "value"),
        "branch": ("input", "attention"),
    }
    used = [name for name in choices if f"{{{name}}}" in pattern]
    for values in product(*(choices[name] for name in used)):
        yield dict(zip(used, values, strict=True))
