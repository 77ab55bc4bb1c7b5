"""What the oracle says, computed once: kept in memory, and in a folder that workers share.

Files are safetensors and appear whole or not at all, so that two workers may compute the same one.
"""

import hashlib
import os
import tempfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from mobilebert_conformance.arithmetic import BY_DTYPE
from mobilebert_conformance.cases import Case
from mobilebert_conformance.oracle_heads import Oracle
from mobilebert_conformance.weights import Array, reordered_weights

Fields = dict[str, Any]
_KEPT = 8  # a full case with its outputs is 30 MB


class References:
    """The oracle's answers.

    Args:
        folder: shared with other workers; None keeps answers in this process alone.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        self._kept: OrderedDict[str, dict[str, Array]] = OrderedDict()

    def arrays(self, key: str, compute: Callable[[], Mapping[str, Array]]) -> dict[str, Array]:
        """The arrays of a key, computed by the first who asks."""
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        path = self._path(key)
        if path is not None and path.exists():
            found = load_file(path)
        else:
            found = {name: np.array(each, order="C") for name, each in compute().items()}
            if path is not None:
                _write(path, found)
        self._kept[key] = found
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return found

    def _path(self, key: str) -> Path | None:
        if self.folder is None:
            return None
        return self.folder / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.safetensors"

    def outputs(self, case: Case, dtype: str = "float64", order: int = 0) -> Fields:
        """All fields of the output.

        Args:
            case: what to compute.
            dtype: what to compute it in.
            order: 0 sums as the weights are stored; any other number in another order.
        """

        def compute() -> dict[str, Array]:
            weights = case.make_weights()
            if order:
                weights = reordered_weights(case.config, weights, order)
            oracle = Oracle(case.config, case.head, weights, BY_DTYPE[dtype])
            return flatten(oracle.run(case.inputs, case.labels))

        return unflatten(self.arrays(f"outputs/{case.identity}/{dtype}/{order}", compute))


def flatten(fields: Mapping[str, Any]) -> dict[str, Array]:
    """Fields as arrays by name; of hidden states and attentions, one name each."""
    arrays: dict[str, Array] = {}
    for name, value in fields.items():
        if isinstance(value, tuple):
            arrays |= {f"{name}.{index}": np.asarray(each) for index, each in enumerate(value)}
        else:
            arrays[name] = np.asarray(value)
    return arrays


def unflatten(arrays: Mapping[str, Array]) -> Fields:
    """The inverse of `flatten`."""
    fields: Fields = {name: each for name, each in arrays.items() if "." not in name}
    for group in dict.fromkeys(name.partition(".")[0] for name in arrays if "." in name):
        count = sum(name.startswith(f"{group}.") for name in arrays)
        fields[group] = tuple(arrays[f"{group}.{index}"] for index in range(count))
    return fields


def _write(path: Path, arrays: dict[str, Array]) -> None:
    """Write beside the path, then rename: a reader never sees half a file."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".part")
    os.close(handle)
    save_file(arrays, temporary)
    Path(temporary).replace(path)
