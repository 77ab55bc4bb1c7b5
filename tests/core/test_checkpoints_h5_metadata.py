"""Our reader of HDF5 files finds what HDF5 itself finds, and refuses what HDF5 never writes."""

import struct
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mobilebert_core.checkpoints.h5_files import read_h5
from mobilebert_core.checkpoints.store import DTYPES
from mobilebert_core.errors import CheckpointError

NAME = "model.weights.h5"


@pytest.fixture(scope="session")
def h5py():
    return pytest.importorskip("h5py", reason="it writes the files that are read")


def found_by_hdf5(h5py, path):
    """Shape, dtype and bytes of every dataset; integers have no bytes here."""
    found = {}

    def add(name, each):
        if isinstance(each, h5py.Dataset):
            dtype = "bfloat16" if each.dtype == np.dtype("V2") else each.dtype.name
            values = each[()].tobytes() if dtype in DTYPES else None
            found[name] = (each.shape, dtype, values)

    with h5py.File(path) as file:
        file.visititems(add)
    return found


def found_by_us(path):
    return {
        name: (each.shape, each.dtype, each.read().tobytes() if each.dtype in DTYPES else None)
        for name, each in read_h5(path).items()
    }


def numbered(count):
    """Values of their own for each dataset, so that a wrong place shows."""
    return np.arange(2 * count, 2 * count + 3, dtype=np.float32)


def many_datasets(file):
    for count in range(1200):  # trees of three levels
        file[f"dataset_{count * 7919 % 1200}"] = numbered(count)


def many_groups(file):
    for count in range(300):
        file[f"{count % 7}/{count % 20}/{count}"] = numbered(count)


def long_names(file):
    for count in range(30):
        file[f"{'long_name_' * (count // 3)}/{'x' * 20 * count}_"] = numbered(count)


def many_attributes(file):
    for count in range(20):
        dataset = file.create_dataset(f"group/{count}", data=numbered(count))
        for number in range(count):
            dataset.attrs[f"attribute_{number}"] = "text" * number
            file["group"].attrs[f"attribute_{count}_{number}"] = np.ones(number)


def removed_and_renamed(file):
    many_groups(file)
    for count in range(0, 300, 3):
        del file[f"{count % 7}/{count % 20}/{count}"]
    for count in range(1, 300, 3):
        file.move(f"{count % 7}/{count % 20}/{count}", f"other/name_{count}")


def every_dtype(file):
    for count, dtype in enumerate(["f2", "f4", "f8", "V2", "i1", "i4", "u2", "u8", ">i4"]):
        values = np.arange(count, count + 12).astype("u2").view("V2") if dtype == "V2" else None
        file[dtype] = np.arange(count, count + 12, dtype=dtype) if values is None else values


def every_shape(file):
    for shape in [(), (0,), (1,), (3, 0), (2, 3), (1,) * 8, (2, 3, 4, 5)]:
        file[f"shape_{len(shape)}_{0 in shape}"] = np.random.default_rng(1).random(shape)
    file["grows"] = np.ones(3)
    file.create_dataset("empty", (0, 3), maxshape=(None, 3))
    file.create_group("nothing/in/here")


FILES = (
    many_datasets,
    many_groups,
    long_names,
    many_attributes,
    removed_and_renamed,
    every_dtype,
    every_shape,
)


@pytest.mark.parametrize("write", FILES, ids=lambda write: write.__name__)
def test_same_datasets_are_found_when_file_has(h5py, tmp_path, write):
    with h5py.File(tmp_path / NAME, "w") as file:
        write(file)
    found = found_by_us(tmp_path / NAME)
    assert len(found) > 7
    assert found == found_by_hdf5(h5py, tmp_path / NAME)


def test_superblock_of_version_1_is_read(h5py, tmp_path):
    with h5py.File(tmp_path / NAME, "w") as file:
        many_groups(file)
    content = bytearray((tmp_path / NAME).read_bytes())
    header, superblock = content[96:136], content[:96]
    superblock[8] = 1
    superblock[24:24] = struct.pack("<HH", 32, 0)  # which is what it has more
    struct.pack_into("<Q", superblock, 44, len(content) + len(header))
    struct.pack_into("<Q", superblock, 68, len(content))
    content[:100] = superblock
    (tmp_path / NAME).write_bytes(content + header)
    found = found_by_us(tmp_path / NAME)
    assert len(found) == 300
    assert found == found_by_hdf5(h5py, tmp_path / NAME)


letters = st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="/")
names = st.text(letters, min_size=1, max_size=9).filter(lambda name: name != ".")
leaves = st.tuples(
    st.sampled_from(["f2", "f4", "f8", "V2", "i8"]), st.lists(st.integers(0, 4), max_size=3)
)
trees = st.recursive(leaves, lambda each: st.dictionaries(names, each, max_size=12), max_leaves=20)


def write_tree(group, tree):
    for name, each in tree.items():
        if isinstance(each, dict):
            write_tree(group.create_group(name), each)
        else:
            dtype, shape = each
            group[name] = values(dtype, shape)


def values(dtype, shape):
    array = np.asarray(np.random.default_rng(len(shape)).integers(1, 100, shape))
    return array.astype("u2").view("V2") if dtype == "V2" else array.astype(dtype)


@settings(
    max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
@given(tree=st.dictionaries(names, trees, max_size=12))
def test_same_datasets_are_found_in_any_tree(h5py, tree):
    with TemporaryDirectory() as folder:
        path = Path(folder) / NAME
        with h5py.File(path, "w") as file:
            write_tree(file, tree)
        assert found_by_us(path) == found_by_hdf5(h5py, path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it has 0 bytes"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"PK\x03\x04", "does not begin as HDF5 files do"),
        (b"\x89HDF\r\n\x1a\n", "1 bytes are announced and 0 are left"),
        (b"\x89HDF\r\n\x1a\n\x03", r"\(superblock version 3\).*h5repack --low=0 -f NONE -l CONTI"),
    ],
)
def test_file_is_refused_when_it_is_none(tmp_path, content, message):
    (tmp_path / NAME).write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        read_h5(tmp_path / NAME)


def latest(h5py, path):
    with h5py.File(path, "w", libver="latest") as file:
        file["a"] = numbered(1)


def latest_dataset(h5py, path):
    h5py.File(path, "w").close()
    with h5py.File(path, "a", libver="latest") as file:
        file["a"] = numbered(1)


def ordered_group(h5py, path):
    with h5py.File(path, "w", track_order=True) as file:
        file["a"] = numbered(1)


def beyond_ascii(h5py, path):
    with h5py.File(path, "w") as file:
        file["\N{LATIN SMALL LETTER E WITH ACUTE}"] = numbered(1)


def ordered_links(h5py, path):
    with h5py.File(path, "w") as file:
        properties = h5py.h5p.create(h5py.h5p.GROUP_CREATE)
        properties.set_link_creation_order(h5py.h5p.CRT_ORDER_TRACKED)
        h5py.h5g.create(file.id, b"a", gcpl=properties)


def type_of_another(h5py, path):
    with h5py.File(path, "w") as file:
        file["type"] = np.dtype("f4")
        file.create_dataset("a", data=numbered(1), dtype=file["type"])
        del file["type"]


def endless_name(h5py, path):
    with h5py.File(path, "w") as file:
        file[f"{'a' * 600}/{'b' * 600}"] = numbered(1)


LATER = {
    endless_name: "more than 1000 letters",
    latest: "superblock version 3",
    latest_dataset: r"the object header of 'a'\).*h5repack",
    ordered_group: r"the object header of '/'\).*h5repack",
    beyond_ascii: "'/' in .* is a group with .* a name beyond ASCII",
    ordered_links: "'a' in .* is a group with .* an order",
    type_of_another: "'a' is described elsewhere",
}


@pytest.mark.parametrize("write", LATER, ids=lambda write: write.__name__)
def test_file_is_refused_when_it_has(h5py, tmp_path, write):
    write(h5py, tmp_path / NAME)
    with pytest.raises(CheckpointError, match=LATER[write]):
        read_h5(tmp_path / NAME)


def test_overlapping_parts_are_refused_before_they_cost_time(h5py, tmp_path):
    with h5py.File(tmp_path / NAME, "w") as file:
        file["a"] = np.zeros(200_000, np.float32)
    content = bytearray((tmp_path / NAME).read_bytes())
    count = 20_000  # parts of a header, each of which goes from another byte to the end
    start = content.find(bytes(24 * count))
    for each in range(count):
        put(content, start + 24 * each, 0x10 | 16 << 16)
        put(content, start + 24 * each + 8, start + 24 * each + 24)
        put(content, start + 24 * each + 16, len(content) - (start + 24 * each + 24))
    put(content, 96 + 8, 24, "<I")
    content[112:136] = struct.pack("<QQQ", 0x10 | 16 << 16, start, len(content) - start)
    (tmp_path / NAME).write_bytes(content)
    with pytest.raises(CheckpointError, match="uses the same bytes twice"):
        read_h5(tmp_path / NAME)


@pytest.fixture
def small(h5py, tmp_path):
    """The bytes of a file with 20 names in its group, hence several leaves, and a way to read."""
    with h5py.File(tmp_path / NAME, "w") as file:
        for count in range(20):
            file[f"group/name_{count:02}"] = numbered(count)
    read_h5(tmp_path / NAME)
    return bytearray((tmp_path / NAME).read_bytes())


def places(content, mark):
    """Where each block begins that has this signature."""
    found = [content.find(mark)]
    while found[-1] >= 0:
        found.append(content.find(mark, found[-1] + 1))
    return found[:-1]


def number(content, place):
    return struct.unpack_from("<Q", content, place)[0]


def put(content, place, value, layout="<Q"):
    struct.pack_into(layout, content, place, value)


def tree_of_itself(content):
    tree = places(content, b"TREE")[1]
    put(content, tree + 5, 1, "B")
    put(content, tree + 32, tree)


def tree_of_wrong_level(content):
    first, second = places(content, b"TREE")
    put(content, first + 5, 2, "B")
    put(content, first + 32, second)


def leaf_twice(content):
    tree = places(content, b"TREE")[1]
    put(content, tree + 48, number(content, tree + 32))


def leaves_in_another_order(content):
    tree = places(content, b"TREE")[1]
    first, second = number(content, tree + 32), number(content, tree + 48)
    put(content, tree + 32, second)
    put(content, tree + 48, first)


def name_twice(content):
    leaf = places(content, b"SNOD")[1]
    put(content, leaf + 48, number(content, leaf + 8))


def name_beyond_the_heap(content):
    put(content, places(content, b"SNOD")[1] + 8, 1 << 63)


def names_without_end(content):
    heap = places(content, b"HEAP")[1]
    size, start = number(content, heap + 8), number(content, heap + 24)
    content[start : start + size] = b"a" * size


def huge_heap(content):
    put(content, places(content, b"HEAP")[1] + 8, len(content) - 1000)


def name_of_nothing(content):
    content[content.find(b"name_00")] = 0


def not_utf8(content):
    content[content.find(b"name_00")] = 0xFF


def first_header(content):
    """Where the header is of the first dataset in the group."""
    return number(content, places(content, b"SNOD")[1] + 16)


def header_of_nothing(content):
    content[first_header(content)] = 2


def header_of_too_many(content):
    content[first_header(content) + 2] += 1


def continuation_to_itself(content):
    header = first_header(content)
    put(content, header + 16, 0x10, "<H")
    put(content, header + 24, header)
    put(content, header + 32, 64)


def shape_twice(content):
    header = first_header(content)
    size = struct.unpack_from("<H", content, header + 18)[0]
    put(content, header + 24 + size, 1, "<H")


def unknown_that_matters(content):
    header = first_header(content)
    put(content, header + 16, 0x99, "<H")
    content[header + 20] = 0x80


def values_of_another_size(content):
    place = content.find(struct.pack("<BBQQ", 3, 1, 2048, 12)[10:], first_header(content))
    put(content, place, 8)


def message_of(content, kind):
    """Where the content begins of the first dataset's message of one type."""
    place = first_header(content) + 16
    while struct.unpack_from("<H", content, place)[0] != kind:
        place += 8 + struct.unpack_from("<H", content, place + 2)[0]
    return place + 8


def no_layout(content):
    put(content, message_of(content, 8) - 8, 0, "<H")


def layout_of_old(content):
    content[message_of(content, 8)] = 2


def shape_of_unknown_version(content):
    content[message_of(content, 1)] = 3


def header_beyond_the_end(content):
    put(content, places(content, b"SNOD")[1] + 16, len(content) - 8)


def names_that_share_their_ends(content):
    heap, leaf = places(content, b"HEAP")[1], places(content, b"SNOD")[1]
    size, start = number(content, heap + 8), number(content, heap + 24)
    content[start : start + size - 1] = b"".join(b"%03d" % n for n in range(size))[: size - 1]
    content[start : start + 8] = bytes(range(65, 73))
    for entry in range(8):
        put(content, leaf + 8 + 40 * entry, entry)


def no_heap(content):
    content[places(content, b"HEAP")[1]] = 0


def no_tree(content):
    content[places(content, b"TREE")[1]] = 0


def no_leaf(content):
    content[places(content, b"SNOD")[1]] = 0


def root_elsewhere(content):
    put(content, 64, first_header(content))


def cut_off(content):
    del content[-1]


def member_of_a_family(content):
    put(content, 24, 512)


def narrow_addresses(content):
    content[13] = 4


DAMAGES = {
    tree_of_itself: "uses the same bytes twice",
    tree_of_wrong_level: "are no tree|uses the same bytes twice",
    leaf_twice: "uses the same bytes twice",
    leaves_in_another_order: "twice, or not in order",
    name_twice: "twice, or not in order",
    name_beyond_the_heap: "does not end",
    names_without_end: "does not end",
    huge_heap: "has no .* bytes at byte|uses the same bytes twice",
    name_of_nothing: "impossible name 'group/'",
    not_utf8: r"impossible name 'group/\\udcffame_00'",
    header_of_nothing: "'group/name_00' has no object header",
    header_of_too_many: "the object header of 'group/name_00' is incomplete",
    continuation_to_itself: "uses the same bytes twice",
    shape_twice: "'group/name_00' is described twice",
    unknown_that_matters: "the unknown property 153",
    values_of_another_size: "has 8 bytes, expected 12",
    no_layout: "'group/name_00' has no place for its values",
    layout_of_old: "'group/name_00' are laid out in a way that is not known",
    shape_of_unknown_version: "a shape of an unknown kind",
    header_beyond_the_end: "it has no .* bytes at byte",
    names_that_share_their_ends: "does not end",
    no_heap: "the names of a group are not where it says",
    no_tree: "the entries of a group are not where it says",
    no_leaf: r"entries of a group are not where it says",
    root_elsewhere: "does not begin with a group",
    cut_off: "bytes and announces",
    member_of_a_family: "one of several files",
    narrow_addresses: "its addresses take 4 and 8 bytes",
}


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_file_is_refused_when_damaged_by(small, tmp_path, damage):
    damage(small)
    path = tmp_path / "damaged.h5"
    path.write_bytes(small)
    with pytest.raises(CheckpointError, match=DAMAGES[damage]):
        read_h5(path)
