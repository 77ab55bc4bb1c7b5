"""The backend fixture: every installed backend, and only those that claim a marked feature."""

from typing import Any

import pytest

from mobilebert_core import registry
from mobilebert_core.backend import Feature

BACKENDS = sorted(registry.usable_names())


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
