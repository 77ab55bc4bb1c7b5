"""The objects in an HDF5 file: names of its datasets and the messages that describe them.

Rules: no byte is read as part of two things, so that work is linear in the file's size and every
walk ends; only the layout that h5py writes unless told otherwise is read (superblock version 0,
groups as symbol tables, object headers of version 1). Names follow the "HDF5 File Format
Specification" 3.0. Read next: `h5_messages.py`.
"""

import mmap
import struct
from collections.abc import Iterator
from pathlib import Path

from mobilebert_core.checkpoints.files import ByteReader, damaged
from mobilebert_core.errors import CheckpointError

DATASPACE, DATATYPE, EXTERNAL_FILES, LAYOUT, FILTERS = 0x0001, 0x0003, 0x0007, 0x0008, 0x000B
_CONTINUATION, _SYMBOL_TABLE = 0x0010, 0x0011
_LATER_LINKS = {0x0002, 0x0006}  # "link info" and "link": groups that are no symbol tables
_READ = {DATASPACE, DATATYPE, EXTERNAL_FILES, LAYOUT, FILTERS, _CONTINUATION, _SYMBOL_TABLE}
_LAST_KNOWN = 0x0018  # the others up to here describe no values: attributes, times, comments ...
_SHARED, _MUST_BE_KNOWN = 0x02, 0x80  # flags of a message

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_ENTRY = struct.Struct("<QQI20x")  # of a symbol table: name's place in the heap, address, kind
_SOFT_LINK = 2
UNDEFINED = 0xFFFF_FFFF_FFFF_FFFF  # instead of an address
_MAX_DEPTH = 32  # groups in groups; a MobileBERT has fewer than half as many
_MAX_NAME = 1000  # characters of a whole name; a MobileBERT's longest has fewer than 150

Messages = dict[int, ByteReader]


def datasets(path: Path, data: mmap.mmap) -> Iterator[tuple[str, Messages]]:
    """Every dataset's whole name and the messages of its header, by their type.

    Raises:
        CheckpointError: the file is damaged, or of another layout; a name is impossible, leads
            elsewhere, or to what has a name already.
    """
    blocks = _Blocks(path, data)
    root = _root_address(path, data)
    seen = {root}
    groups = [("", _symbol_table(blocks, root), 0)]
    while groups:
        start, table, depth = groups.pop()
        if depth > _MAX_DEPTH:
            raise damaged(path, f"its groups are nested more than {_MAX_DEPTH} deep")
        for name, address in _members(blocks, start, table):
            if address in seen:
                raise damaged(path, f"{name!r} is another name of something that has one")
            seen.add(address)
            messages = _header(blocks, name, address)
            is_group = _SYMBOL_TABLE in messages
            if is_group == (messages.keys() >= {DATASPACE, DATATYPE}):
                raise damaged(path, f"{name!r} is neither a group nor a dataset")
            if is_group:
                groups.append((f"{name}/", messages[_SYMBOL_TABLE], depth + 1))
            else:
                yield name, messages


def _later_kind(path: Path, what: str) -> CheckpointError:
    """The error for what HDF5 only writes when it is told to."""
    return CheckpointError(
        f"{path} is HDF5 of a later kind ({what}), expected what Keras and transformers write; "
        "save it again with one of them, or type: h5repack --low=0 -f NONE -l CONTI OLD NEW"
    )


class _Blocks:
    """The parts of a file, each of which may be read once."""

    def __init__(self, path: Path, data: mmap.mmap) -> None:
        self.path = path
        self._data = data
        self._seen: set[int] = set()
        self._left = len(data)  # parts that do not overlap have no more bytes than the file

    def read(self, address: int, size: int) -> ByteReader:
        """A reader of one part; another part may follow it, but none may overlap it."""
        if address > len(self._data) - size:
            raise damaged(self.path, f"it has no {size} bytes at byte {address}")
        if address in self._seen or size > self._left:
            raise damaged(self.path, f"it uses the same bytes twice, at byte {address}")
        self._seen.add(address)
        self._left -= size
        return ByteReader(self._data, self.path, address, address + size)

    def within(self, part: ByteReader, size: int) -> ByteReader:
        """A reader of the next `size` bytes of a part, which passes over them."""
        start = part.skip(size)
        return ByteReader(self._data, self.path, start, start + size)


def _root_address(path: Path, data: mmap.mmap) -> int:
    """Where the header of the root group is, according to the superblock."""
    reader = ByteReader(data, path)
    # A user block, of any content, would come before the signature; weights have none.
    if reader.end < len(_SIGNATURE) or reader.take(len(_SIGNATURE)) != _SIGNATURE:
        raise damaged(path, "it does not begin as HDF5 files do")
    version = reader.number("B")
    if version > 1:
        raise _later_kind(path, f"superblock version {version}")
    reader.skip(4)  # versions of parts that have had only one
    sizes = reader.take(2)
    if sizes != b"\x08\x08":
        raise damaged(path, f"its addresses take {sizes[0]} and {sizes[1]} bytes, expected 8")
    reader.skip(9 if version == 0 else 13)  # sizes of nodes, which are only room to grow; flags
    base, _, end, driver = struct.unpack("<4Q", reader.take(32))
    if base != 0 or driver != UNDEFINED:
        raise damaged(path, "it is one of several files that belong together")
    if end > reader.end:
        raise damaged(path, f"it has {reader.end} bytes and announces {end}")
    return int(_ENTRY.unpack(reader.take(_ENTRY.size))[1])


def _symbol_table(blocks: _Blocks, root: int) -> ByteReader:
    """Where the names in the root group are."""
    messages = _header(blocks, "/", root)
    if _SYMBOL_TABLE not in messages:
        raise damaged(blocks.path, "it does not begin with a group")
    return messages[_SYMBOL_TABLE]


def _header(blocks: _Blocks, name: str, address: int) -> Messages:
    """The messages of an object's header that say what it is and where."""
    reader = blocks.read(address, 16)
    version = reader.take(1)
    if version == b"O":  # the signature OHDR
        raise _later_kind(blocks.path, f"the object header of {name!r}")
    if version != b"\x01":
        raise reader.fail(f"{name!r} has no object header")
    reader.skip(1)
    count = reader.number("<H")
    reader.skip(4)  # of how many names it has
    messages: Messages = {}
    parts = [blocks.read(address + 16, reader.number("<I"))]
    for part in parts:  # grows
        while part.position < part.end:
            kind, message = _message(blocks, part, name)
            count -= 1
            if kind == _CONTINUATION:
                parts.append(blocks.read(message.number("<Q"), message.number("<Q")))
            elif kind in messages:
                raise message.fail(f"{name!r} is described twice")
            elif kind in _READ:
                messages[kind] = message
    if count != 0:
        raise reader.fail(f"the object header of {name!r} is incomplete")
    return messages


def _message(blocks: _Blocks, part: ByteReader, name: str) -> tuple[int, ByteReader]:
    """The type and the content of the next message of a header."""
    kind, size, flags = struct.unpack("<HHB3x", part.take(8))
    if kind in _LATER_LINKS:
        raise CheckpointError(
            f"{name!r} in {part.path} is a group with a link to another file, a name beyond ASCII "
            "or an order of its own, expected what Keras and transformers write; save it again "
            "with one of them"
        )
    if kind in _READ and flags & _SHARED:
        raise part.fail(f"{name!r} is described elsewhere, expected plain numbers without a type")
    if kind > _LAST_KNOWN and flags & _MUST_BE_KNOWN:
        raise part.fail(f"{name!r} has the unknown property {kind}, which must not be ignored")
    return kind, blocks.within(part, size)


def _members(blocks: _Blocks, start: str, table: ByteReader) -> Iterator[tuple[str, int]]:
    """The whole names in a group and the addresses of their headers."""
    tree, heap = table.number("<Q"), table.number("<Q")
    texts = _heap(blocks, heap)
    left = len(texts)  # each name has a place of its own
    previous = b""
    for offset, address, kind in _entries(blocks, tree):
        end = texts.find(b"\0", offset, offset + left)
        if end < 0:
            raise damaged(blocks.path, f"a name in its group {start!r} does not end")
        key = texts[offset:end]
        left -= len(key) + 1
        name = start + _text(blocks.path, start, key)
        if key <= previous:
            raise damaged(blocks.path, f"{name!r} is there twice, or not in order")
        previous = key
        if kind == _SOFT_LINK:
            raise damaged(blocks.path, f"{name!r} is a link to elsewhere, which is not followed")
        yield name, address


def _text(path: Path, start: str, key: bytes) -> str:
    """A name in a group, if it can be one."""
    text = key.decode("utf-8", "surrogateescape")
    if len(start) + len(text) > _MAX_NAME:
        raise damaged(path, f"the name {start + text[:50]!r}... has more than {_MAX_NAME} letters")
    if not text.isprintable() or "/" in text or text in {"", "."}:
        raise damaged(path, f"it has the impossible name {start + text!r}")
    return text


def _heap(blocks: _Blocks, address: int) -> bytes:
    """The names in a group, each of which ends with a zero."""
    reader = blocks.read(address, 32)
    if reader.take(8) != b"HEAP\0\0\0\0":
        raise reader.fail("the names of a group are not where it says")
    size, _, start = struct.unpack("<3Q", reader.take(24))
    return blocks.read(start, size).take(size)


def _entries(blocks: _Blocks, tree: int) -> Iterator[tuple[int, int, int]]:
    """The entries of a group in order: a tree's leaves, from left to right."""
    nodes = [(tree, -1)]
    while nodes:
        address, expected = nodes.pop()
        reader = blocks.read(address, 24)
        if reader.take(5) != b"TREE\0":
            raise reader.fail("the entries of a group are not where it says")
        level, count = reader.number("B"), reader.number("<H")
        if expected not in {-1, level}:
            raise reader.fail("the entries of a group are no tree")
        body = blocks.read(address + 24, 16 * count)
        children = [child for _, child in struct.iter_unpack("<QQ", body.take(16 * count))]
        if level:
            nodes.extend((child, level - 1) for child in reversed(children))
        else:
            for child in children:
                yield from _leaf(blocks, child)


def _leaf(blocks: _Blocks, address: int) -> Iterator[tuple[int, int, int]]:
    reader = blocks.read(address, 8)
    if reader.take(6) != b"SNOD\x01\0":
        raise reader.fail("entries of a group are not where it says")
    size = _ENTRY.size * int(reader.number("<H"))
    yield from _ENTRY.iter_unpack(blocks.read(address + 8, size).take(size))
