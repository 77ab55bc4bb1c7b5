"""Zip archives whose members lie in the file as they are, so that they can be mapped.

PyTorch and NumPy write such archives. Rules: nothing is decompressed, names are only ever compared,
and every member must be where the archive says.
"""

import mmap
import struct
import zipfile
from pathlib import Path

from mobilebert_core.checkpoints.files import ByteReader, damaged

ZIP_START = b"PK\x03\x04"


def archive_members(path: Path) -> dict[str, zipfile.ZipInfo]:
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
    members = {info.filename: info for info in infos}
    if len(members) != len(infos):
        raise damaged(path, "a zip archive with several files of one name")
    return members


def member_range(path: Path, data: mmap.mmap, member: zipfile.ZipInfo) -> tuple[int, int]:
    """First byte and length of a member's content.

    Raises:
        CheckpointError: the member is compressed, or not in the file.
    """
    if member.compress_type != zipfile.ZIP_STORED or member.compress_size != member.file_size:
        raise damaged(
            path,
            f"{member.filename!r} is compressed, which weights never are (numpy.savez and "
            "torch.save store them as they are)",
        )
    # A local header repeats name and extra field, the latter with another length: for alignment.
    if member.header_offset < 0:
        raise damaged(path, f"{member.filename!r} lies outside the file")
    reader = ByteReader(data, path, min(member.header_offset, len(data)))
    if reader.take(4) != ZIP_START:
        raise damaged(path, f"{member.filename!r} is not where the archive says")
    reader.skip(22)
    name_size, extra_size = reader.number("<H"), reader.number("<H")
    reader.skip(name_size + extra_size)
    return reader.skip(member.file_size), member.file_size
