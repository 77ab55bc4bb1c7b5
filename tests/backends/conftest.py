"""The backend fixture: every installed backend, and only those that claim a marked feature."""

import gc
import itertools
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from mobilebert_core import registry
from mobilebert_core.backend import Feature

BACKENDS = sorted(registry.usable_names())
_test_numbers = itertools.count(1)

if "jax" in BACKENDS:  # meaning is tested in float64, which JAX computes in only when told to
    import jax

    jax.config.update("jax_enable_x64", True)


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Any:
    """One installed backend; `@pytest.mark.needs(Feature.X)` leaves out those without it."""
    found = registry.get(request.param)
    marker = request.node.get_closest_marker("needs")
    for feature in marker.args if marker else ():
        assert isinstance(feature, Feature)
        if feature not in found.features:
            pytest.skip(f"the {found.name} backend does not claim {feature.value}")
    return found


@pytest.fixture(autouse=True)
def bounded_memory() -> Iterator[None]:
    """Compiled code of hundreds of models would fill the memory: drop it now and then."""
    yield
    if next(_test_numbers) % 100 == 0:
        gc.collect()
        if "jax" in sys.modules:
            sys.modules["jax"].clear_caches()


@pytest.fixture
def uncompiled() -> Any:
    """A context in which calls are not compiled: for models that are called just once.

    Compiling takes a hundred times as long as the call of a small model. What compiled calls
    compute is tested with fewer models, head by head.
    """

    @contextmanager
    def context(backend: Any) -> Iterator[None]:
        if backend.name == "jax":
            import jax

            with jax.disable_jit():
                yield
        elif backend.name == "tf":
            import tensorflow as tf

            tf.config.run_functions_eagerly(True)
            try:
                yield
            finally:
                tf.config.run_functions_eagerly(False)
        else:
            yield

    return context
