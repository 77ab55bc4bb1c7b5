"""Law 5: what only moves numbers moves every bit of them."""

import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import ml_dtypes
import numpy as np

from mobilebert_conformance import generator
from mobilebert_conformance.cases import Case
from mobilebert_conformance.metrics import Comparison, bits_differ, worst_of
from mobilebert_conformance.records import Record
from mobilebert_conformance.subject import Subject
from mobilebert_conformance.weights import Array
from mobilebert_core import loading
from mobilebert_core.backend import DTYPES, Feature
from mobilebert_core.checkpoints import open_checkpoint, save_checkpoint
from mobilebert_core.checkpoints.formats import FORMATS
from mobilebert_core.config import MobileBertConfig
from mobilebert_core.conversion import convert
from mobilebert_core.errors import ConfigError, MissingDependencyError
from mobilebert_core.schema import owned_tensors


def check_weights(subject: Subject, case: Case) -> Iterator[Record]:
    """Clause 5.1: the weights of a model are those that it was built from, in every dtype.

    They are the model's own: what happens to the given arrays afterwards is nothing to it.
    """
    for dtype in (name for name in DTYPES if subject.claims(Feature(name))):
        given = {name: as_dtype(each, dtype) for name, each in case.make_weights().items()}
        expected = {name: each.copy() for name, each in given.items()}
        model = subject.build(case, dtype, given)
        for array in given.values():
            array[...] = 0
        yield _record(subject, "5.1", case, dtype, subject.backend.weights(model), expected)


def check_saved(subject: Subject, case: Case) -> Iterator[Record]:
    """Clause 5.2: a model that is saved and loaded again has the same weights and configuration."""
    dtype = subject.widest
    model = subject.model(case, dtype)
    loaded = subject.reloaded(model)
    expected = subject.backend.weights(model)
    yield _record(subject, "5.2", case, dtype, subject.backend.weights(loaded), expected)
    same = (loaded.config, loaded.head) == (case.config, case.head)
    fault = "" if same else f"{loaded.head}: {loaded.config}, expected {case.head}: {case.config}"
    yield subject.record(
        "5.2", case=case, dtype=dtype, quantity="configuration and head", fault=fault
    )


def check_converted(subject: Subject, case: Case) -> Iterator[Record]:
    """Clause 5.4: through every format of checkpoint, one after the other, weights keep their bits.

    A format that needs a package which is not installed, or that cannot express the configuration,
    is left out; Orbax, which imports JAX, is taken where JAX is there already.
    """
    dtype = subject.widest
    given = {name: as_dtype(each, dtype) for name, each in case.make_weights().items()}
    held = subject.backend.weights(subject.build(case, dtype, given))
    with tempfile.TemporaryDirectory() as folder:
        last = save_checkpoint(Path(folder) / "first", case.config, held, case.head)
        for format in FORMATS:
            if format == "orbax" and "jax" not in sys.modules:
                continue
            destination = Path(folder) / format
            try:
                convert(last, destination, to=format)
            except (MissingDependencyError, ConfigError):
                continue
            last = destination
            weights = open_checkpoint(last).weights
            loaded = subject.backend.weights(subject.build(case, dtype, weights))
            for quantity, found in (("in", weights), ("loaded from", loaded)):
                record = _record(subject, "5.4", case, dtype, found, given)
                yield replace(record, quantity=f"weights {quantity} {format}")


def check_fresh(subject: Subject, case: Case) -> Iterator[Record]:
    """Clause 5.3: fresh weights are those of the specified generator."""
    model = loading.create(case.config, case.head, subject.name, seed=5)
    expected = fresh_weights(case.config, case.head, seed=5)
    yield _record(subject, "5.3", case, "float32", subject.backend.weights(model), expected)


def fresh_weights(config: MobileBertConfig, head: str, seed: int) -> dict[str, Array]:
    """Kernels and tables normal, biases zero, norms one, the padding token's embedding zero."""
    made = {}
    for name, spec in owned_tensors(config, head).items():
        if name.endswith(".bias"):
            values = np.zeros(spec.shape)
        elif ".LayerNorm." in name:
            values = np.ones(spec.shape)
        else:
            values = config.initializer_range * generator.normal(seed, name, spec.shape)
        if name.endswith("word_embeddings.weight") and config.pad_token_id is not None:
            values[config.pad_token_id] = 0
        made[name] = values.astype(np.float32)
    return made


def as_dtype(array: Array, dtype: str) -> Array:
    """An array in a dtype by name, bfloat16 included."""
    return array.astype(getattr(ml_dtypes, dtype, dtype), copy=True)


def _record(
    subject: Subject,
    clause: str,
    case: Case,
    dtype: str,
    found: Mapping[str, Array],
    expected: Mapping[str, Array],
) -> Record:
    comparisons = {name: bits_differ(found.get(name), each) for name, each in expected.items()}
    for name in found.keys() - expected.keys():
        comparisons[name] = Comparison(np.inf, 0, "no tensor of the schema")
    return subject.record(
        clause, worst_of(comparisons), case=case, dtype=dtype, quantity="weights", limit=0.0
    )
