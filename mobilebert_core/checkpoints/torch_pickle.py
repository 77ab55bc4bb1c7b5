"""The pickles inside PyTorch's weights files, read without running anything.

Rules: this is no unpickler with exceptions but an interpreter that knows the few instructions and
names of which a state dict consists; it needs no PyTorch and imports nothing by name. Everything
else is an error that names it. Storages become `Storage`, tensors `StridedTensor`: a description of
where the data is, which `torch_bin.py` checks against the file. The instructions are those of
Python's `pickletools`, protocol 2.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from mobilebert_core.checkpoints.files import ByteReader
from mobilebert_core.errors import CheckpointError


@dataclass(frozen=True)
class Storage:
    """A flat run of numbers in the file.

    Attributes:
        key: its name in the file.
        dtype: name of the dtype.
        size: how many numbers.
        view_offset: of these numbers, how many precede the view that a tensor refers to.
        view_size: how many the view has.
    """

    key: str
    dtype: str
    size: int
    view_offset: int
    view_size: int


@dataclass(frozen=True)
class StridedTensor:
    """A tensor as a window on a storage; offset and strides count numbers, not bytes."""

    storage: Storage
    offset: object
    shape: object
    strides: object


@dataclass(frozen=True)
class _Global:
    """A name that the pickle mentions; only a name, never the thing."""

    name: str


_STORAGE_DTYPES = {
    "torch.DoubleStorage": "float64",
    "torch.FloatStorage": "float32",
    "torch.HalfStorage": "float16",
    "torch.BFloat16Storage": "bfloat16",
    "torch.LongStorage": "int64",
    "torch.IntStorage": "int32",
    "torch.ShortStorage": "int16",
    "torch.CharStorage": "int8",
    "torch.ByteStorage": "uint8",
    "torch.BoolStorage": "bool",
}


def _ordered_dict(pairs: object = ()) -> dict[Any, Any]:
    values: dict[Any, Any] = {}
    if not isinstance(pairs, list | tuple):
        raise TypeError("an OrderedDict of no pairs")
    for pair in pairs:
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise TypeError("an OrderedDict of no pairs")
        values[_key(pair[0])] = pair[1]
    return values


def _tensor(
    storage: object, offset: object, shape: object, strides: object, *_: object
) -> StridedTensor:
    if not isinstance(storage, Storage):
        raise TypeError("a tensor without a storage")
    return StridedTensor(storage, offset, shape, strides)


def _parameter(tensor: object, *_: object) -> StridedTensor:
    if not isinstance(tensor, StridedTensor):
        raise TypeError("a parameter without a tensor")
    return tensor


def _size(sizes: object) -> tuple[object, ...]:
    if not isinstance(sizes, tuple):
        raise TypeError("a torch.Size of no tuple")
    return sizes


def _key(value: object) -> str | int:
    # A key made of nested tuples would be hashed recursively, without a limit.
    if not isinstance(value, str | int):
        raise TypeError("a dictionary key that is no string")
    return value


_CALLS: dict[str, Callable[..., object]] = {
    "collections.OrderedDict": _ordered_dict,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch.Size": _size,
}

_CONSTANTS: dict[bytes, object] = {b"N": None, b"\x88": True, b"\x89": False}
_EMPTY: dict[bytes, Callable[[], object]] = {b"}": dict, b"]": list, b")": tuple}
_NUMBERS = {b"J": "<i", b"K": "<B", b"M": "<H", b"G": ">d"}
# Python 2 wrote its strings as bytes.
_STRINGS = {b"X": ("<I", "utf-8"), b"U": ("<B", "latin-1"), b"T": ("<I", "latin-1")}
_TUPLES = {b"\x85": 1, b"\x86": 2, b"\x87": 3}
_PUT = {b"q": "<B", b"r": "<I"}
_GET = {b"h": "<B", b"j": "<I"}


def load_pickle(reader: ByteReader) -> object:
    """The object that the pickle at the reader's position describes.

    The reader ends behind the pickle.

    Raises:
        CheckpointError: the pickle is damaged, or holds anything but tensors in plain containers;
            the message names what.
    """
    try:
        return _Interpreter(reader).run()
    except CheckpointError:
        raise
    except (IndexError, KeyError, TypeError, ValueError, AttributeError) as error:
        # An instruction met a stack that no pickle of plain tensors has.
        raise reader.fail(f"its pickle makes no sense ({error})") from error


class _Interpreter:
    """The stack machine of pickle, reduced to what a state dict needs."""

    def __init__(self, reader: ByteReader) -> None:
        self.reader = reader
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: dict[int, object] = {}
        self.actions: dict[bytes, Callable[[], None]] = {
            b"\x80": self._protocol,
            b"\x8a": self._long,
            b"(": self._mark,
            b"t": self._tuple,
            b"c": self._global,
            b"R": self._reduce,
            b"b": self._build,
            b"Q": self._persistent,
            b"s": lambda: self._set_items([self.stack.pop(-2), self.stack.pop()]),
            b"u": lambda: self._set_items(self._since_mark()),
            b"a": lambda: self._extend([self.stack.pop()]),
            b"e": lambda: self._extend(self._since_mark()),
        }

    def run(self) -> object:
        while (code := self.reader.take(1)) != b".":
            if code in self.actions:
                self.actions[code]()
            elif code in _PUT:
                self.memo[self.reader.number(_PUT[code])] = self.stack[-1]
            else:
                self.stack.append(self._value(code))
        return self.stack.pop()

    def _value(self, code: bytes) -> object:
        """What an instruction puts on the stack that does nothing else."""
        if code in _CONSTANTS:
            return _CONSTANTS[code]
        if code in _EMPTY:
            return _EMPTY[code]()
        if code in _NUMBERS:
            return self.reader.number(_NUMBERS[code])
        if code in _STRINGS:
            layout, encoding = _STRINGS[code]
            return self.reader.take(self.reader.number(layout)).decode(encoding)
        if code in _GET:
            return self.memo[self.reader.number(_GET[code])]
        if code in _TUPLES:
            items = [self.stack.pop() for _ in range(_TUPLES[code])]
            return tuple(reversed(items))
        raise self.reader.fail(
            f"its pickle has the instruction {code!r}, which tensors do not need; "
            "nothing was executed"
        )

    def _protocol(self) -> None:
        protocol = self.reader.number("<B")
        if protocol != 2:
            raise self.reader.fail(f"its pickle has protocol {protocol}, expected PyTorch's 2")

    def _long(self) -> None:
        data = self.reader.take(self.reader.number("<B"))
        self.stack.append(int.from_bytes(data, "little", signed=True))

    def _mark(self) -> None:
        self.marks.append(self.stack)
        self.stack = []

    def _since_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.marks.pop()
        return items

    def _tuple(self) -> None:
        items = self._since_mark()  # changes the stack that the tuple goes to
        self.stack.append(tuple(items))

    def _global(self) -> None:
        name = f"{self.reader.line()}.{self.reader.line()}"
        if name not in _CALLS and name not in _STORAGE_DTYPES:
            raise CheckpointError(
                f"{self.reader.path} refers to {name}, expected tensors only; nothing was "
                "executed. Do not use the file unless you trust its source; if you do, save its "
                "tensors again with torch.save or safetensors"
            )
        self.stack.append(_Global(name))

    def _reduce(self) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        if not isinstance(function, _Global) or function.name not in _CALLS:
            raise TypeError("a call of something that is no function")
        if not isinstance(arguments, tuple):
            raise TypeError("a call without arguments")
        self.stack.append(_CALLS[function.name](*arguments))

    def _build(self) -> None:
        # The state of an OrderedDict holds version numbers of modules: nothing for us.
        self.stack.pop()
        if not isinstance(self.stack[-1], dict):
            raise TypeError("a state for something that is no OrderedDict")

    def _set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict):
            raise TypeError("items for something that is no dictionary")
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[_key(key)] = value

    def _extend(self, items: Iterable[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, list):
            raise TypeError("an item for something that is no list")
        target.extend(items)

    def _persistent(self) -> None:
        kind, storage_type, key, _, size, *view = self.stack.pop()
        if kind != "storage" or not isinstance(storage_type, _Global):
            raise TypeError("a reference to something that is no storage")
        dtype = _STORAGE_DTYPES[storage_type.name]
        if not isinstance(key, str) or type(size) is not int or size < 0:
            raise TypeError("a storage without a name or size")
        offset, view_size = 0, size
        if view and view[0] is not None:
            _, offset, view_size = view[0]
            if type(offset) is not int or type(view_size) is not int:
                raise TypeError("a view without offset or size")
            if not 0 <= offset <= offset + view_size <= size:
                raise ValueError("a view beyond its storage")
        self.stack.append(Storage(key, dtype, size, offset, view_size))
