"""Zip archives whose members lie in the file as they are, so that they can be mapped.

PyTorch and NumPy write such archives. Rules: nothing is decompressed, names are only ever compared,
every member must be where the archive says, and its content have the checksum that it says.
"""

import mmap
import struct
import zipfile
from pathlib import Path
from zlib import crc32

from mobilebert_core.checkpoints.files import ByteReader, damaged

ZIP_START = b"PK\x03\x04"


class Member:
    """One file in an archive.

    Args:
        path: the archive.
        data: its bytes.
        info: what its directory says.
    """

    def __init__(self, path: Path, data: mmap.mmap, info: zipfile.ZipInfo) -> None:
        self._path, self._data, self._info = path, data, info
        self._checked = False

    def range(self) -> tuple[int, int]:
        """First byte and length of the content.

        Raises:
            CheckpointError: the content is compressed, or not in the file.
        """
        path, info = self._path, self._info
        if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
            raise damaged(
                path,
                f"{info.filename!r} is compressed, which weights never are (numpy.savez and "
                "torch.save store them as they are)",
            )
        # A local header repeats name and extra field, the latter with another length: to align.
        if info.header_offset < 0:
            raise damaged(path, f"{info.filename!r} lies outside the file")
        reader = ByteReader(self._data, path, min(info.header_offset, len(self._data)))
        if reader.take(4) != ZIP_START:
            raise damaged(path, f"{info.filename!r} is not where the archive says")
        reader.skip(22)
        name_size, extra_size = reader.number("<H"), reader.number("<H")
        reader.skip(name_size + extra_size)
        return reader.skip(info.file_size), info.file_size

    def check(self) -> None:
        """Compare the content with its checksum, the first time that it is called.

        PyTorch writes 0 where it was told to compute none.

        Raises:
            CheckpointError: they differ.
        """
        if self._checked:
            return
        start, size = self.range()
        with memoryview(self._data) as view, view[start : start + size] as content:
            found = crc32(content)
        if self._info.CRC not in (0, found):
            raise damaged(self._path, f"the checksum of {self._info.filename!r} is wrong")
        self._checked = True


def archive_members(path: Path, data: mmap.mmap) -> dict[str, Member]:
    """The members of an archive by name.

    Raises:
        CheckpointError: the file is no complete archive, or has a name twice.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
    except (
        zipfile.BadZipFile,
        struct.error,
        OSError,
        ValueError,
        OverflowError,
        NotImplementedError,
    ) as error:
        raise damaged(path, f"no complete zip archive ({error})") from error
    members = {info.filename: Member(path, data, info) for info in infos}
    if len(members) != len(infos):
        raise damaged(path, "a zip archive with several files of one name")
    return members
