"""PyTorch files: read exactly, without PyTorch, and never executed."""

import pickle
import struct
import zipfile

import numpy as np
import pytest

from mobilebert_core.checkpoints.torch_bin import read_torch_bin
from mobilebert_core.errors import CheckpointError

DATA = np.arange(12, dtype=np.float32)
MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
LEGACY_START = MAGIC + pickle.dumps(1001, 2) + pickle.dumps({"little_endian": True}, 2)


def text(value):
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def integer(value):
    if -(2**31) <= value < 2**31:
        return b"J" + struct.pack("<i", value)
    data = value.to_bytes(16, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def sizes(values):
    return b"(" + b"".join(map(integer, values)) + b"t"


def storage(key="0", kind="FloatStorage", size=12, view=b""):
    return (
        b"(" + text("storage") + f"ctorch\n{kind}\n".encode() + text(key) + text("cpu")
        + integer(size) + view + b"tQ"
    )  # fmt: skip


def tensor(shape=(3, 4), strides=(4, 1), offset=0, held=None):
    return (
        b"ctorch._utils\n_rebuild_tensor_v2\n(" + (held or storage()) + integer(offset)
        + sizes(shape) + sizes(strides) + b"\x89ccollections\nOrderedDict\n)RtR"
    )  # fmt: skip


def state(**tensors):
    items = b"".join(text(name) + value for name, value in tensors.items())
    return b"\x80\x02}(" + items + b"u."


@pytest.fixture
def archive(tmp_path):
    def write(content, members=(), compression=zipfile.ZIP_STORED):
        path = tmp_path / "pytorch_model.bin"
        with zipfile.ZipFile(path, "w", compression) as file:
            file.writestr("archive/data.pkl", content)
            for name, data in dict(members or {"data/0": DATA.tobytes()}).items():
                file.writestr(f"archive/{name}", data)
        return path

    return write


@pytest.fixture
def legacy(tmp_path):
    def write(content, keys=("0",), storages=None):
        path = tmp_path / "pytorch_model.bin"
        if storages is None:
            storages = struct.pack("<q", DATA.size) + DATA.tobytes()
        path.write_bytes(LEGACY_START + content + pickle.dumps(list(keys), 2) + storages)
        return path

    return write


@pytest.fixture(params=["archive", "legacy"])
def write(request):
    return request.getfixturevalue(request.param)


def test_tensor_is_read(write):
    (found,) = read_torch_bin(write(state(a=tensor()))).values()
    assert (found.shape, found.dtype) == ((3, 4), "float32")
    assert found.read().tobytes() == DATA.tobytes()


def test_strides_and_offset_are_followed(write):
    path = write(state(a=tensor(shape=(2, 3), strides=(1, 3), offset=2)))
    values = read_torch_bin(path)["a"].read()
    assert values.tolist() == [[2, 5, 8], [3, 6, 9]]
    assert values.flags.c_contiguous


def test_view_of_a_storage_is_followed(legacy):
    view = b"(" + text("view") + integer(4) + integer(6) + b"t"
    held = storage(view=view)
    values = read_torch_bin(legacy(state(a=tensor((2, 3), (3, 1), 0, held))))["a"].read()
    assert values.tolist() == [[4, 5, 6], [7, 8, 9]]


def test_tensors_may_share_a_storage(write):
    found = read_torch_bin(write(state(a=tensor(), b=tensor((4,), (1,), 8))))
    assert found["b"].read().tolist() == [8, 9, 10, 11]


def test_empty_tensor_is_read(write):
    assert read_torch_bin(write(state(a=tensor((0, 4), (4, 1)))))["a"].read().shape == (0, 4)


def test_dtypes_that_are_none_of_weights_are_named(archive):
    path = archive(state(a=tensor(held=storage(kind="LongStorage"))), {"data/0": bytes(96)})
    assert read_torch_bin(path)["a"].dtype == "int64"


LAYOUTS = {
    "one row too many": ((4, 4), (4, 1), 0),
    "offset too large": ((3, 4), (4, 1), 1),
    "negative offset": ((3, 4), (4, 1), -1),
    "negative stride": ((3, 4), (-4, 1), 8),
    "negative size": ((-3, 4), (4, 1), 0),
    "stride too large": ((3, 4), (5, 1), 0),
    "repeats one number": ((2**40,), (0,), 0),
    "repeats few numbers": ((4, 12), (0, 1), 0),
    "overflows 64 bits": ((2**63, 2**63), (1, 1), 0),
    "stride overflows": ((2, 2), (2**64, 1), 0),
    "another rank": ((3, 4), (1,), 0),
    "too many axes": ((1,) * 70, (1,) * 70, 0),
}


@pytest.mark.parametrize("case", LAYOUTS)
def test_tensor_beyond_its_storage_is_an_error(write, case):
    with pytest.raises(CheckpointError, match=r"pytorch_model.bin is damaged.*'a'"):
        read_torch_bin(write(state(a=tensor(*LAYOUTS[case]))))


VIEWS = {"beyond": (8, 6), "negative": (-1, 6), "negative size": (4, -1)}


@pytest.mark.parametrize("case", VIEWS)
def test_view_beyond_its_storage_is_an_error(legacy, case):
    offset, size = VIEWS[case]
    view = b"(" + text("view") + integer(offset) + integer(size) + b"t"
    with pytest.raises(CheckpointError, match="a view beyond its storage"):
        read_torch_bin(legacy(state(a=tensor((1,), (1,), 0, storage(view=view)))))


class Malice:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_code_in_a_pickle_is_never_executed(write, tmp_path, protocol):
    canary = tmp_path / "canary"
    content = pickle.dumps({"a": Malice(open, str(canary), "w")}, protocol)
    with pytest.raises(CheckpointError):
        read_torch_bin(write(content))
    assert not canary.exists()


@pytest.mark.parametrize("function", [eval, getattr, print, __import__])
def test_forbidden_name_is_named(write, function):
    content = pickle.dumps({"a": Malice(function, "1")}, 2)
    name = f"__builtin__.{function.__name__}"
    with pytest.raises(CheckpointError, match=rf"refers to {name}, .*nothing was executed"):
        read_torch_bin(write(content))


@pytest.mark.parametrize("name", ["torch.load", "torch._utils.__dict__", "collections.Counter"])
def test_names_beside_the_allowed_ones_are_forbidden(write, name):
    module, _, attribute = name.rpartition(".")
    content = b"\x80\x02" + f"c{module}\n{attribute}\n.".encode()
    with pytest.raises(CheckpointError, match=f"refers to {name}"):
        read_torch_bin(write(content))


def nested(depth):
    return b"\x80\x02}(" + b")" + b"\x85" * depth + b"Nu."


PICKLES = {
    "no end": b"\x80\x02}",
    "empty": b"",
    "nothing on the stack": b"\x80\x02.",
    "no mark": b"\x80\x02}u.",
    "absent memo": b"\x80\x02h\x05.",
    "a huge text": b"\x80\x02X\xff\xff\xff\xffabc.",
    "bad text": b"\x80\x02X\x01\x00\x00\x00\xff.",
    "name that does not end": b"\x80\x02c" + b"a" * 1000,
    "call of no function": b"\x80\x02}}R.",
    "call of a storage": b"\x80\x02ctorch\nFloatStorage\n)R.",
    "call without tuple": b"\x80\x02ctorch\nSize\n}R.",
    "too many arguments": b"\x80\x02ctorch\nSize\n}}\x86R.",
    "state of a tuple": b"\x80\x02)}b.",
    "item for a tuple": b"\x80\x02)Na.",
    "items for a list": b"\x80\x02](NNu.",
    "odd number of items": b"\x80\x02}(Nu.",
    "key of a tuple": nested(1),
    "key of deep tuples": nested(100_000),
    "storage of text": b"\x80\x02" + text("storage") + b"Q.",
    "storage without type": b"\x80\x02(" + text("storage") + b"NNNNtQ.",
    "tensor without storage": b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(NNNNtR.",
    "tensor with too few arguments": b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n)R.",
    "parameter of nothing": b"\x80\x02ctorch._utils\n_rebuild_parameter\n(NNNtR.",
    "another protocol": b"\x80\x04}.",
    "unknown instruction": b"\x80\x02\x00.",
    "extension": b"\x80\x02\x82\x01.",
    "object": b"\x80\x02ccollections\nOrderedDict\n)\x81.",
    "a list": b"\x80\x02].",
    "a number": b"\x80\x02K\x05.",
    "a name": b"\x80\x02ctorch\nSize\n.",
    "values that are no tensors": state(epoch=integer(3)),
    "nested dictionary": state(model=b"}"),
    "names that are no text": b"\x80\x02}K\x01" + tensor() + b"s.",
    "negative storage": state(a=tensor(held=storage(size=-12))),
    "larger storage": state(a=tensor(held=storage(size=13))),
    "another type of storage": state(a=tensor(held=storage(kind="DoubleStorage"))),
    "absent storage": state(a=tensor(held=storage(key="7"))),
    "outside storage": state(a=tensor(held=storage(key="../../x"))),
    "storage of two sizes": state(a=tensor(), b=tensor(held=storage(size=11))),
}


@pytest.mark.parametrize("case", PICKLES)
def test_pickle_of_no_state_dict_is_an_error(write, case):
    with pytest.raises(CheckpointError, match=r"pytorch_model.bin"):
        read_torch_bin(write(PICKLES[case]))


def test_training_checkpoint_is_told_from_a_state_dict(write):
    with pytest.raises(
        CheckpointError, match="under 'epoch' it holds a int, expected tensors only"
    ):
        read_torch_bin(write(state(epoch=integer(3), a=tensor())))


def test_compressed_archive_is_an_error(archive):
    path = archive(state(a=tensor()), compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(CheckpointError, match=r"data.pkl' is compressed"):
        read_torch_bin(path)


def test_member_that_says_it_is_compressed_is_an_error_at_any_size(archive):
    path = archive(state(a=tensor()))
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 10] = zipfile.ZIP_DEFLATED
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"data.pkl' is compressed"):
        read_torch_bin(path)


def test_zip_bomb_is_not_unpacked(tmp_path):
    path = tmp_path / "pytorch_model.bin"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", state(a=tensor()))
        file.writestr("archive/data/0", bytes(10**7), zipfile.ZIP_DEFLATED)
    with pytest.raises(CheckpointError, match=r"data/0' is compressed"):
        read_torch_bin(path)


MEMBERS = {
    "big-endian": ({"byteorder": "big", "data/0": DATA.tobytes()}, "big-endian"),
    "TorchScript": ({"constants.pkl": "", "data/0": DATA.tobytes()}, "TorchScript"),
    "short storage": ({"data/0": b"\0" * 47}, "has 47 bytes"),
}


@pytest.mark.parametrize("case", MEMBERS)
def test_archive_of_another_kind_is_an_error(archive, case):
    members, message = MEMBERS[case]
    with pytest.raises(CheckpointError, match=message):
        read_torch_bin(archive(state(a=tensor()), members))


def test_archive_without_pickle_is_an_error(tmp_path):
    path = tmp_path / "pytorch_model.bin"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("somewhere/else.txt", b"")
    with pytest.raises(CheckpointError, match=r"0 files \*/data.pkl, expected one"):
        read_torch_bin(path)


def test_archive_with_one_name_twice_is_an_error(tmp_path):
    path = tmp_path / "pytorch_model.bin"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", state(a=tensor()))
        file.writestr("archive/data.pk_", state())
    path.write_bytes(path.read_bytes().replace(b"data.pk_", b"data.pkl"))
    with pytest.raises(CheckpointError, match="several files of one name"):
        read_torch_bin(path)


LEGACY_STORAGES = {
    "truncated": (("0",), struct.pack("<q", 12) + bytes(47)),
    "another size": (("0",), struct.pack("<q", 11) + bytes(48)),
    "negative size": (("0",), struct.pack("<q", -12) + bytes(48)),
    "missing": ((), b""),
    "twice": (("0", "0"), (struct.pack("<q", 12) + bytes(48)) * 2),
    "unknown": (("0", "1"), (struct.pack("<q", 12) + bytes(48)) * 2),
    "no text": ((0,), struct.pack("<q", 12) + bytes(48)),
}


@pytest.mark.parametrize("case", LEGACY_STORAGES)
def test_legacy_storages_that_do_not_fit_are_an_error(legacy, case):
    keys, storages = LEGACY_STORAGES[case]
    with pytest.raises(CheckpointError, match=r"pytorch_model.bin is damaged"):
        read_torch_bin(legacy(state(a=tensor()), keys, storages))


STARTS = {
    "text": b"<html>not found</html>",
    "pickle": pickle.dumps({"a": 1}, 2),
    "big-endian": MAGIC + pickle.dumps(1001, 2) + pickle.dumps({"little_endian": False}, 2),
    "another version": MAGIC + pickle.dumps(1002, 2) + pickle.dumps({"little_endian": True}, 2),
    "empty": b"",
}


@pytest.mark.parametrize("case", STARTS)
def test_file_of_another_kind_is_an_error(tmp_path, case):
    path = tmp_path / "pytorch_model.bin"
    path.write_bytes(STARTS[case])
    with pytest.raises(CheckpointError, match=r"pytorch_model.bin is damaged"):
        read_torch_bin(path)


def test_file_without_checksums_is_read(tmp_path):
    torch = pytest.importorskip("torch")
    path = tmp_path / "pytorch_model.bin"
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({"a": torch.arange(5.0)}, path)
    finally:
        torch.serialization.set_crc32_options(True)
    assert read_torch_bin(path)["a"].read().tolist() == [0, 1, 2, 3, 4]
