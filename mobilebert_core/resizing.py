"""Another vocabulary size for canonical weights, the same in every backend.

V vocabulary  E embedding  H hidden
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from mobilebert_core.config import MobileBertConfig
from mobilebert_core.errors import ConfigError
from mobilebert_core.initialization import standard_normal
from mobilebert_core.schema import EXTRA_EMBEDDINGS, PREDICTION_BIAS, WORD_EMBEDDINGS

Array = np.ndarray[Any, np.dtype[Any]]


def resize_token_embeddings(
    config: MobileBertConfig, weights: Mapping[str, Array], vocab_size: int, *, seed: int = 0
) -> tuple[MobileBertConfig, dict[str, Array]]:
    """Weights for a vocabulary of another size, and the configuration that goes with them.

    Word embeddings (V, E), the extra block of the masked-lm head (H - E, V) and its bias (V,)
    change together. Tokens that stay keep their values bit for bit; the rows of new tokens are
    normal with `initializer_range`, a function of seed and token id alone; new biases are zero.

    Args:
        config: the configuration of the weights.
        weights: canonical weights of any head; not modified.
        vocab_size: the new V.
        seed: of the new rows.

    Raises:
        ConfigError: the size is below 1 or cuts off the padding token.
    """
    resized_config = config.replace(vocab_size=vocab_size)
    known, added = min(config.vocab_size, vocab_size), max(0, vocab_size - config.vocab_size)
    resized = dict(weights)
    if WORD_EMBEDDINGS not in resized:
        raise ConfigError(f"The weights hold no {WORD_EMBEDDINGS}: they are not canonical")

    if len(resized[WORD_EMBEDDINGS]) != config.vocab_size:
        raise ConfigError(
            f"{WORD_EMBEDDINGS} has {len(resized[WORD_EMBEDDINGS])} rows, expected vocab_size "
            f"({config.vocab_size}): weights and configuration belong to different models"
        )

    def new_rows(name: str, like: Array, width: int) -> Array:
        values = standard_normal(seed, f"{name}/token", config.vocab_size * width, added * width)
        scaled = values.reshape(added, width) * config.initializer_range
        return scaled.astype(np.float32).astype(like.dtype)

    table = resized[WORD_EMBEDDINGS]
    rows = new_rows(WORD_EMBEDDINGS, table, config.embedding_size)
    resized[WORD_EMBEDDINGS] = np.concatenate([table[:known], rows])  # (V, E)
    if EXTRA_EMBEDDINGS in resized:
        block = resized[EXTRA_EMBEDDINGS]
        columns = new_rows(EXTRA_EMBEDDINGS, block, config.hidden_size - config.embedding_size).T
        resized[EXTRA_EMBEDDINGS] = np.concatenate([block[:, :known], columns], axis=1)  # (H-E, V)
    if PREDICTION_BIAS in resized:
        bias = resized[PREDICTION_BIAS]
        resized[PREDICTION_BIAS] = np.concatenate([bias[:known], np.zeros(added, bias.dtype)])
    return resized_config, resized
