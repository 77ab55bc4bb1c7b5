"""The packaged model says the same in every backend."""

from typing import Any

import numpy as np
import pytest

import mobilebert
from metrics import output_errors
from mobilebert_core import packaged
from mobilebert_core.backend import Feature

TEXTS = [
    "It was a dark and stormy [MASK].",
    "The [MASK] was closed, so she walked back to the [MASK].",
    "Call me [MASK].",
]
# Measured on weights of the usual scale: 2e-15 and 6e-7.
LIMITS = {"float64": 1e-11, "float32": 2e-5}


@pytest.fixture(scope="module", params=packaged.names())
def named(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any], Any]:
    """A packaged model, a batch of texts, and what NumPy says of it in float64."""
    name = request.param
    batch = dict(mobilebert.load_tokenizer(name)(TEXTS, padding=True, return_tensors="np"))
    numpy = mobilebert.get_backend("numpy")
    return name, batch, numpy.run(mobilebert.load(name, backend="numpy", dtype="float64"), batch)


@pytest.mark.parametrize("dtype", list(LIMITS))
def test_packaged_model_gives_the_same_outputs(
    backend: Any, named: tuple[str, dict[str, Any], Any], dtype: str
) -> None:
    name, batch, expected = named
    if Feature(dtype) not in backend.features:
        pytest.skip(f"the {backend.name} backend does not claim {dtype}")
    found = backend.run(mobilebert.load(name, backend=backend.name, dtype=dtype), batch)
    assert max(output_errors(found, expected).values()) <= LIMITS[dtype]


def test_packaged_model_computes_in_float32_by_default(
    backend: Any, named: tuple[str, dict[str, Any], Any]
) -> None:
    name, batch, _ = named
    for values in backend.run(mobilebert.load(name, backend=backend.name), batch).values():
        assert values.dtype == np.float32


def test_packaged_weights_are_those_of_the_file_bit_by_bit(backend: Any) -> None:
    found = backend.weights(mobilebert.load(backend=backend.name))
    expected = mobilebert.get_backend("numpy").weights(mobilebert.load(backend="numpy"))
    assert found.keys() == expected.keys()
    assert all(found[name].tobytes() == expected[name].tobytes() for name in expected)


def test_filled_words_are_the_same(backend: Any) -> None:
    found = mobilebert.fill_mask(TEXTS, backend=backend.name)
    expected = mobilebert.fill_mask(TEXTS, backend="numpy")
    for one, other in zip(found, expected, strict=True):
        assert one.filled == other.filled
        for words, others in zip(one.masks, other.masks, strict=True):
            assert [each.token for each in words] == [each.token for each in others]
            assert [each.probability for each in words] == pytest.approx(
                [each.probability for each in others], rel=1e-4
            )
