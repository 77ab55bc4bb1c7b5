"""Filling up features that are already ids, as data collators need it.

Rules: only the values that have one item a token are filled up; labels and the like pass through.
Read next: `base.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mobilebert_core.errors import TokenizerError, raise_faults
from mobilebert_core.tokenization.encoding import NO_OFFSETS
from mobilebert_core.tokenization.options import PaddingOptions
from mobilebert_core.tokenization.tensors import framework_of, to_list


@dataclass(frozen=True)
class Features:
    """Features read from what a caller gave.

    Attributes:
        rows: the values by name, each a list with one item a row.
        is_batch: False where a single row was given.
        framework: the `return_tensors` name of the arrays that they were given as, or None.
    """

    rows: dict[str, list[Any]]
    is_batch: bool
    framework: str | None


def read_features(features: Any) -> Features:
    """Rows by name from a mapping, or from a sequence of mappings with one row each.

    Raises:
        TokenizerError: it is neither, has no `input_ids`, or its rows do not fit together.
    """
    if isinstance(features, Sequence) and not isinstance(features, str):
        merged = _merge(features)
        return Features(_checked(merged), True, _framework(features[0]["input_ids"]))
    if not isinstance(features, Mapping) or "input_ids" not in features:
        raise TokenizerError(
            f"{_describe(features)} cannot be padded; give input_ids by name, or a list of such"
        )
    framework = _framework(features["input_ids"])
    values = {name: to_list(value) for name, value in features.items()}
    ids = values["input_ids"]
    if not isinstance(ids, list) or not ids:
        raise TokenizerError(f"input_ids is {ids!r}; give a list of ids or of rows of ids")
    is_batch = isinstance(ids[0], list)
    rows = values if is_batch else {name: [value] for name, value in values.items()}
    return Features(_checked(rows), is_batch, framework)


def fill_up(
    features: Features, options: PaddingOptions, pad_token_id: int, *, with_mask: bool
) -> dict[str, Any]:
    """The features with every row filled up.

    Args:
        features: what to fill up; stays as it is.
        options: to which length and on which side.
        pad_token_id: the id that fills up.
        with_mask: add an `attention_mask` where there is none.
    """
    rows = dict(features.rows)
    lengths = [len(row) for row in rows["input_ids"]]
    if with_mask and "attention_mask" not in rows:
        rows["attention_mask"] = [[1] * length for length in lengths]
    if "offset_mapping" in rows:
        rows["offset_mapping"] = [[tuple(span) for span in row] for row in rows["offset_mapping"]]
    fillers = {**_FILLERS, "input_ids": pad_token_id}
    target = options.target(lengths)
    for name in fillers.keys() & rows.keys():
        rows[name] = [_filled(row, fillers[name], target, options.side) for row in rows[name]]
    return rows if features.is_batch else {name: value[0] for name, value in rows.items()}


_FILLERS: dict[str, Any] = {
    "attention_mask": 0,
    "token_type_ids": 0,
    "special_tokens_mask": 1,
    "offset_mapping": NO_OFFSETS,
}


def _filled(row: list[Any], filler: Any, target: int, side: str) -> list[Any]:
    missing = [filler] * (target - len(row))
    return missing + row if side == "left" else row + missing


def _merge(features: Sequence[Any]) -> dict[str, list[Any]]:
    if not features:
        raise TokenizerError("there is nothing to pad; give at least one row of features")
    if not all(isinstance(row, Mapping) for row in features):
        raise TokenizerError(f"{_describe(features)} cannot be padded; give a list of mappings")
    names = list(features[0])
    faults = [
        f"row {index} has {sorted(row)}, row 0 has {sorted(names)}; give every row the same names"
        for index, row in enumerate(features)
        if set(row) != set(names)
    ]
    if "input_ids" not in names:
        faults.append(f"there is no input_ids among {names}; tokenize first")
    raise_faults(TokenizerError, "The features cannot be padded", faults[:20])
    return {name: [to_list(row[name]) for row in features] for name in names}


def _checked(rows: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """The rows, after checking that values with one item a token have one for every token."""
    lengths: list[int] = []
    faults: list[str] = []
    for index, row in enumerate(rows["input_ids"]):
        if not isinstance(row, list) or not all(type(item) is int for item in row):
            faults.append(f"input_ids[{index}] is {str(row)[:60]}; give a list of int")
        lengths.append(len(row) if isinstance(row, list) else 0)
    for name in _FILLERS.keys() & rows.keys():
        value = rows[name]
        given = [len(row) if isinstance(row, list) else 0 for row in value]
        if given != lengths:
            faults.append(f"{name} has rows of {given} items, input_ids of {lengths}")
    raise_faults(TokenizerError, "The features cannot be padded", faults[:20])
    return rows


def _framework(ids: Any) -> str | None:
    first = ids[0] if isinstance(ids, list | tuple) and ids else ids
    return framework_of(first)


def _describe(value: Any) -> str:
    return f"a {type(value).__name__}" if not isinstance(value, Mapping) else f"{list(value)}"
