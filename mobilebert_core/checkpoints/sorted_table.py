"""The sorted-string table of LevelDB, in which TensorFlow keeps a checkpoint's index.

A footer points to an index block, whose entries point to data blocks, whose entries are keys and
values; each key says how much of the one before it repeats, each block ends with a checksum.
Layout: the `table_format` page of LevelDB.
"""

import mmap
from collections.abc import Iterator
from pathlib import Path

from mobilebert_core.checkpoints.crc32c import masked_crc32c
from mobilebert_core.checkpoints.files import ByteReader, damaged, map_file
from mobilebert_core.errors import CheckpointError

FOOTER_SIZE = 48
MAGIC_NUMBER = 0xDB4775248B80FB57
_TRAILER_SIZE = 5  # one byte for the compression, four for the checksum
_MAX_KEY_SIZE = 1024  # a chain of repeated keys could otherwise grow far beyond the file


def read_table(path: Path) -> dict[bytes, bytes]:
    """All entries of a table.

    Raises:
        CheckpointError: the file is damaged, is no such table, or is compressed.
    """
    data = map_file(path)
    if len(data) < FOOTER_SIZE:
        raise damaged(path, f"it has {len(data)} bytes, a table has at least {FOOTER_SIZE}")
    footer = ByteReader(data, path, len(data) - FOOTER_SIZE)
    handles = [footer.varint() for _ in range(4)]
    footer.position = len(data) - 8
    if footer.number("<Q") != MAGIC_NUMBER:
        raise damaged(path, "it does not end like a TensorFlow checkpoint index")
    entries: dict[bytes, bytes] = {}
    last: bytes | None = None
    for _, handle in _entries(_block(data, path, handles[2], handles[3])):
        pointer = ByteReader(handle, path)
        for key, value in _entries(_block(data, path, pointer.varint(), pointer.varint())):
            if last is not None and key <= last:
                raise damaged(path, f"the key {key!r} is out of order")
            entries[key] = value
            last = key
    return entries


def _block(data: mmap.mmap, path: Path, offset: int, size: int) -> ByteReader:
    """The entries of a block, checked and without its list of restart positions."""
    if offset + size + _TRAILER_SIZE > len(data) - FOOTER_SIZE:
        raise damaged(path, f"a block of {size} bytes at {offset} is beyond the end")
    trailer = ByteReader(data, path, offset + size)
    compression, checksum = trailer.number("<B"), trailer.number("<I")
    if masked_crc32c(data, offset, size + 1) != checksum:
        raise damaged(path, f"the checksum of the block at byte {offset} is wrong")
    if compression != 0:
        raise CheckpointError(
            f"{path} is compressed (kind {compression}), expected an index as TensorFlow's Saver "
            "writes it; save the checkpoint again with TensorFlow"
        )
    if size < 4:
        raise damaged(path, f"a block has {size} bytes")
    restarts = ByteReader(data, path, offset + size - 4).number("<I")
    end = offset + size - 4 - 4 * restarts
    if end < offset:
        raise damaged(path, f"a block announces {restarts} restarts and has {size} bytes")
    return ByteReader(data, path, offset, end)


def _entries(reader: ByteReader) -> Iterator[tuple[bytes, bytes]]:
    key = b""
    while reader.position < reader.end:
        shared, added, value_size = reader.varint(), reader.varint(), reader.varint()
        if shared > len(key) or shared + added > _MAX_KEY_SIZE:
            raise reader.fail(f"a key repeats {shared} and adds {added} bytes")
        key = key[:shared] + reader.take(added)
        yield key, reader.take(value_size)
