"""Lists of numbers as arrays of NumPy or of a backend.

Rules: arrays are int64; frameworks are reached through the registry, and only when asked for.
Read next: `batch_encoding.py`.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from mobilebert_core.errors import TokenizerError

_NUMPY_NAMES = ("np", "numpy")
_BACKEND_OF_MODULE = {
    "numpy": "np",
    "torch": "torch",
    "tensorflow": "tf",
    "jax": "jax",
    "jaxlib": "jax",
}


def converter(name: Any) -> Callable[[str, Any], Any]:
    """A function that turns a named nested list into an array.

    Args:
        name: `"np"`, or the name or alias of a backend: `"pt"`, `"tf"`, `"jax"`.

    Raises:
        TokenizerError: the name is no str.
        BackendError: the backend is unknown or cannot be used.
    """
    if not isinstance(name, str):
        raise TokenizerError(f'return_tensors={name!r}; give "np", "pt", "tf", "jax" or None')
    if name in _NUMPY_NAMES:
        return as_array
    from mobilebert_core import registry

    tensor = registry.get(name).tensor
    return lambda key, value: tensor(as_array(key, value))


def as_array(key: str, value: Any) -> "np.ndarray[Any, np.dtype[np.int64]]":
    """An int64 array of a nested list.

    Raises:
        TokenizerError: rows differ in length, or hold something other than whole numbers.

    Example:
        >>> as_array("input_ids", [[1, 2], [3, 4]]).shape
        (2, 2)
    """
    try:
        array = np.asarray(value)
    except ValueError as error:
        lengths = sorted({len(row) for row in value if isinstance(row, list | tuple)})
        raise TokenizerError(
            f"{key} has rows of {len(lengths)} different lengths ({', '.join(map(str, lengths))}),"
            " which make no tensor; pass padding=True, and truncation=True for long texts"
        ) from error
    if array.size and array.dtype.kind not in "biu":
        raise TokenizerError(f"{key} holds {array.dtype} values; a tensor needs whole numbers")
    return array.astype(np.int64)


def framework_of(value: Any) -> str | None:
    """The `return_tensors` name for arrays like this one, None for lists and numbers."""
    if not hasattr(value, "shape"):
        return None
    return _BACKEND_OF_MODULE.get(type(value).__module__.partition(".")[0])


def to_list(value: Any) -> Any:
    """Arrays as nested lists, everything else as it is."""
    if isinstance(value, list | tuple):
        return [to_list(item) for item in value]
    if hasattr(value, "tolist"):
        return value.tolist()
    return np.asarray(value).tolist() if hasattr(value, "shape") else value
