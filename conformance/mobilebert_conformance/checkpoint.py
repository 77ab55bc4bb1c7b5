"""Cases of the user's own checkpoint: its configuration, its weights, its head."""

import math
from functools import lru_cache

import numpy as np

from mobilebert_conformance.cases import Case, frozen, make_case
from mobilebert_conformance.weights import Array
from mobilebert_core.checkpoints import Checkpoint
from mobilebert_core.checkpoints.writing import config_of_folder
from mobilebert_core.errors import CheckpointError
from mobilebert_core.fitting import fit_weights
from mobilebert_core.heads import HEADS
from mobilebert_core.loading import choose_head, open_source
from mobilebert_core.schema import owned_tensors

_HEAVY = 3_000_000  # weights: beyond it a computation takes seconds


def own_cases(source: str, heads: tuple[str, ...] = ()) -> tuple[Case, ...]:
    """A case for each head.

    Args:
        source: a folder, a weights file, a packaged name or a hub id.
        heads: names of heads; none takes the checkpoint's own.

    Raises:
        CheckpointError: the source is absent, damaged or does not fit.
        ConfigError: its configuration is invalid.
    """
    checkpoint = open_source(source)
    chosen = heads or (choose_head(checkpoint, None),)
    return tuple(_own_case(checkpoint, head) for head in chosen)


def _own_case(checkpoint: Checkpoint, head: str) -> Case:
    if head not in HEADS:
        raise CheckpointError(f"No head is called {head!r}; expected one of {', '.join(HEADS)}")

    config = config_of_folder(checkpoint.config, head)
    fitted = fit_weights(checkpoint, config, head)

    @lru_cache(1)
    def weights() -> dict[str, Array]:
        return frozen({name: np.asarray(fitted[name]).astype(np.float64) for name in fitted})

    count = sum(math.prod(spec.shape) for spec in owned_tensors(config, head).values())
    return make_case("checkpoint", head, config, weights=weights, heavy=count > _HEAVY)
