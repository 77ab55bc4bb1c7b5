"""What is special to PyTorch's folded encoder: packed kernels, 8 bits, copies and compilers."""

import copy
import pickle
from typing import Any

import pytest

torch = pytest.importorskip("torch")

import mobilebert  # noqa: E402
from metrics import token_error  # noqa: E402
from mobilebert_conformance.cases import small_config  # noqa: E402
from mobilebert_conformance.weights import random_weights  # noqa: E402
from mobilebert_core.errors import ConfigError  # noqa: E402
from mobilebert_torch.kernels import Kernel, can_pack  # noqa: E402
from models import random_batch  # noqa: E402

HEAD = "token-classification"


def build(optimize: bool | str = True, dtype: str = "float32", **changes: Any) -> Any:
    config = small_config(HEAD, **changes)
    weights = random_weights(config, HEAD)
    torch_backend = mobilebert.get_backend("torch")
    return torch_backend.build(config, HEAD, weights, dtype=dtype, device=None, optimize=optimize)


def logits(model: Any) -> Any:
    batch = random_batch(model.config, HEAD)
    return mobilebert.get_backend("torch").run(model, batch).logits


def kernels(model: Any) -> list[Kernel]:
    return [each for each in model.modules() if isinstance(each, Kernel)]


@pytest.mark.skipif(not can_pack(torch.zeros(1)), reason="oneDNN is not a part of this torch")
def test_kernels_are_packed_in_float32() -> None:
    assert all(each.packed is not None for each in kernels(build()))


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_copies_compute_the_same(copied: Any) -> None:
    model = build()

    assert token_error(logits(copied(model)), logits(model)) == 0


def test_another_dtype_computes_in_it() -> None:
    model = build()
    before = logits(model)

    assert token_error(logits(copy.deepcopy(model).double()), before) < 1e-5
    assert token_error(logits(model.double().float()), before) < 1e-5


@pytest.mark.parametrize("activation", ["relu", "gelu", "gelu_tanh"])
def test_packed_and_plain_kernels_agree(activation: str) -> None:
    model = build(hidden_act=activation)
    packed = logits(model)
    for each in kernels(model):
        each.unpack()

    assert token_error(packed, logits(model)) < 1e-5


def test_compiled_models_compute_the_same() -> None:
    model = build()
    compiled = torch.compile(model, backend="eager")
    ids = torch.tensor(random_batch(model.config, HEAD)["input_ids"])

    assert token_error(compiled(ids).logits, model(ids).logits) < 1e-6


def test_nothing_of_it_asks_for_gradients() -> None:
    assert not any(each.requires_grad for each in build().parameters())


@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_int8_errs_a_little(activation: str) -> None:
    exact = logits(build(False, hidden_act=activation))

    assert 1e-4 < token_error(logits(build("int8", hidden_act=activation)), exact) < 0.05


@pytest.mark.parametrize("dtype", ["float64", "bfloat16"])
def test_int8_is_refused_in_other_dtypes(dtype: str) -> None:
    with pytest.raises(ConfigError, match="optimize='int8' is for float32 on a CPU"):
        build("int8", dtype)


def test_int8_models_can_be_copied() -> None:
    model = build("int8")

    assert token_error(logits(copy.deepcopy(model)), logits(model)) == 0
