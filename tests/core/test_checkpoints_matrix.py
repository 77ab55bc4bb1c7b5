"""Every format returns every bit, and so does every pair of formats, there and back."""

from collections.abc import Mapping
from itertools import cycle, permutations, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mobilebert
from formats import contents, require, rewrite
from mobilebert_conformance.cases import small_config
from mobilebert_conformance.weights import Array, random_weights
from mobilebert_core import schema
from mobilebert_core.checkpoints import open_checkpoint, save_checkpoint
from mobilebert_core.checkpoints.formats import FORMATS, get_format
from mobilebert_core.checkpoints.names import tensors_to_write
from mobilebert_core.checkpoints.store import DTYPES, stored_tensors
from mobilebert_core.config import MobileBertConfig
from mobilebert_core.conversion import convert
from mobilebert_core.heads import HEADS

GOOGLE = Path(__file__).resolve().parents[1] / "data" / "google_tf1"
LAYER_NORM = {"normalization_type": "layer_norm"}
VARIANTS: dict[str, dict[str, Any]] = {
    "default": {},
    "layer_norm": LAYER_NORM,
    "no_trigram": {"trigram_input": False},
    "tiny": {
        "use_bottleneck_attention": True,
        "key_query_shared_bottleneck": False,
        "num_feedforward_networks": 2,
    },
    "teacher": LAYER_NORM
    | {
        "key_query_shared_bottleneck": False,
        "num_feedforward_networks": 1,
        "hidden_act": "gelu_tanh",
    },
    "no_extra_block": {"trigram_input": False, "embedding_size": 24},
    "no_pooling_weights": {"classifier_activation": False},
}
EVERY_DTYPE = tuple(DTYPES)


def make(
    variant: str, head: str, dtype: str = "float32"
) -> tuple[MobileBertConfig, dict[str, Array]]:
    config = small_config(head, **VARIANTS[variant])
    return config, {n: a.astype(DTYPES[dtype]) for n, a in random_weights(config, head).items()}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("format", FORMATS)
def test_checkpoint_returns_bit_exact_from_every_format(
    tmp_path: Path, format: str, head: str, variant: str
) -> None:
    require(format)
    config, weights = make(variant, head)
    found = open_checkpoint(save_checkpoint(tmp_path, config, weights, head, format=format))
    assert (found.format, found.head, found.config) == (format, head, config)
    assert contents(found.weights) == contents(weights)


@pytest.mark.parametrize("dtype", EVERY_DTYPE)
@pytest.mark.parametrize("format", FORMATS)
def test_weights_keep_their_dtype_in_every_format(tmp_path: Path, format: str, dtype: str) -> None:
    require(format)
    config, weights = make("default", "pretraining", dtype)
    save_checkpoint(tmp_path, config, weights, "pretraining", format=format)
    assert contents(open_checkpoint(tmp_path).weights) == contents(weights)


@pytest.mark.parametrize("format", FORMATS)
def test_dtypes_may_differ_within_a_file(tmp_path: Path, format: str) -> None:
    require(format)
    config, weights = make("default", "base")
    dtypes = cycle(DTYPES.values())
    mixed = {name: array.astype(next(dtypes)) for name, array in weights.items()}
    save_checkpoint(tmp_path, config, mixed, "base", format=format)
    assert contents(open_checkpoint(tmp_path).weights) == contents(mixed)


@pytest.mark.parametrize("format", FORMATS)
def test_numbers_that_are_none_keep_their_bits(tmp_path: Path, format: str) -> None:
    require(format)
    config, weights = make("default", "base")
    strange = np.array([0x7FC00001, 0xFF800001, 0x80000000, 0x7F800000, 1], np.uint32)
    table = weights[schema.WORD_EMBEDDINGS]
    table.view(np.uint32)[0, :5] = strange  # NaN with a payload, signalling NaN, -0, inf, subnormal
    save_checkpoint(tmp_path, config, weights, "base", format=format)
    assert open_checkpoint(tmp_path).weights[schema.WORD_EMBEDDINGS].tobytes() == table.tobytes()


PAIRS = list(permutations(FORMATS, 2))
TURNS = list(zip(PAIRS, cycle(HEADS), cycle(VARIANTS), cycle(EVERY_DTYPE), strict=False))


def go_there_and_back(
    tmp_path: Path, there: str, back: str, head: str, variant: str, dtype: str
) -> None:
    require(there, back)
    config, weights = make(variant, head, dtype)
    first = save_checkpoint(tmp_path / "first", config, weights, head, format=back)
    convert(first, tmp_path / "there", to=there)
    convert(tmp_path / "there", tmp_path / "back", to=back)
    found = open_checkpoint(tmp_path / "back")
    assert (found.format, found.head, found.config) == (back, head, config)
    assert contents(found.weights) == contents(weights)


@pytest.mark.parametrize(("pair", "head", "variant", "dtype"), TURNS)
def test_pair_of_formats_returns_bit_exact(
    tmp_path: Path, pair: tuple[str, str], head: str, variant: str, dtype: str
) -> None:
    go_there_and_back(tmp_path, *pair, head, variant, dtype)


@pytest.mark.long
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize(("there", "back"), list(product(FORMATS, repeat=2)))
def test_every_pair_of_formats_returns_every_head_and_variant_bit_exact(
    tmp_path: Path, there: str, back: str, head: str, variant: str
) -> None:
    go_there_and_back(tmp_path, there, back, head, variant, "float32")


def write_with_leftovers(
    folder: Path, config: MobileBertConfig, weights: Mapping[str, Array], head: str, format: str
) -> set[str]:
    """A checkpoint as transformers writes it: tied copies, and what no output depends on."""
    save_checkpoint(folder, config, weights, head, format=format)
    naming = get_format(format).naming(config)
    written = tensors_to_write(stored_tensors(weights), naming, config, head)
    unused = schema.unused_tensors(config, head).values()
    extra = {spec.name: np.full(spec.shape, 7, np.float32) for spec in unused}
    tied = (spec for spec in schema.tensors(config, head).values() if spec.tied_to is not None)
    extra |= {spec.name: weights[spec.tied_to] for spec in tied if spec.name.endswith("weight")}
    places = {name: naming.place(name, head) for name in extra}
    tensors = stored_tensors(extra)
    added = {place.name: place.turned(tensors[name]) for name, place in places.items()}
    rewrite(folder, format, written | added)
    return set(added)


@pytest.mark.parametrize("to", FORMATS)
@pytest.mark.parametrize("format", ["safetensors", "torch-bin", "hf-tf-h5"])
def test_untied_and_unused_leftovers_are_dropped_and_told(
    tmp_path: Path, format: str, to: str
) -> None:
    require(format, to)
    config = small_config(
        "pretraining", trigram_input=False, embedding_size=24, use_bottleneck_attention=True
    )
    weights = {n: a.astype(np.float32) for n, a in random_weights(config, "pretraining").items()}
    folder = tmp_path / "source"
    leftovers = write_with_leftovers(folder, config, weights, "pretraining", format)
    result = convert(folder, tmp_path / "new", to=to)
    assert len(leftovers) == 12  # 2 layers x 4, the transformation's 2, the empty block, the copy
    assert {dropped.name for dropped in result.dropped} == leftovers
    assert contents(open_checkpoint(tmp_path / "new").weights) == contents(weights)


@pytest.mark.parametrize("to", FORMATS)
@pytest.mark.parametrize("source", ["opt", "teacher"])
def test_googles_own_checkpoint_goes_into_every_format(
    tmp_path: Path, source: str, to: str
) -> None:
    require(to)
    convert(GOOGLE / source, tmp_path / "new", to=to)
    assert mobilebert.diff(GOOGLE / source, tmp_path / "new").same


@pytest.mark.parametrize("format", FORMATS)
def test_model_is_saved_and_loaded_in_every_format(tmp_path: Path, format: str) -> None:
    require(format)
    config, weights = make("default", "masked-lm")
    model = mobilebert.create(config, "masked-lm", backend="numpy", seed=4)
    mobilebert.save(model, tmp_path / "new", format=format)
    found = mobilebert.load(tmp_path / "new", backend="numpy")
    backend = mobilebert.get_backend("numpy")
    assert contents(backend.weights(found)) == contents(backend.weights(model))
    assert backend.weights(found).keys() == weights.keys()
