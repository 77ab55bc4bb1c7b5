"""The backend protocol for NumPy."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from mobilebert_core.backend import Feature
from mobilebert_core.config import MobileBertConfig
from mobilebert_core.errors import BackendError, ConfigError
from mobilebert_core.inputs import Batch, call_model, check_collect, split_labels
from mobilebert_core.outputs import Output
from mobilebert_numpy.heads import MODELS
from mobilebert_numpy.params import to_canonical
from mobilebert_numpy.pretrained import NumpyMobileBertPreTrainedModel

Array = np.ndarray[Any, np.dtype[Any]]


class NumpyBackend:
    """Inference in float64 and float32, with nothing but NumPy."""

    name = "numpy"
    features = frozenset(
        {
            Feature.FLOAT64,
            Feature.FLOAT32,
            Feature.LOSSES,
            Feature.HIDDEN_STATES,
            Feature.ATTENTIONS,
            Feature.INPUTS_EMBEDS,
            Feature.PREDICTION_POSITIONS,
            Feature.REPRODUCIBLE,
            Feature.OPTIMIZED,
        }
    )

    def build(
        self,
        config: MobileBertConfig,
        head: str,
        weights: Mapping[str, Array],
        *,
        dtype: str | None = None,
        device: str | None = None,
        precision: str | None = None,
        optimize: bool | str = False,
    ) -> NumpyMobileBertPreTrainedModel:
        """A model that owns a copy of the weights; see `mobilebert_core.backend.Backend`."""
        if device not in (None, "cpu"):
            raise ConfigError(f"device is {device!r}; the numpy backend runs on 'cpu' only")
        return MODELS[head](
            config, weights=weights, dtype=dtype, precision=precision, optimize=optimize
        )

    def weights(self, model: NumpyMobileBertPreTrainedModel) -> dict[str, Array]:
        """The canonical weights."""
        model.canonical_only()
        return to_canonical(model.parameters)

    def run(
        self,
        model: NumpyMobileBertPreTrainedModel,
        batch: Mapping[str, Any],
        *,
        labels: Any = None,
        collect: Iterable[str] = (),
    ) -> Output[Array]:
        """One call: NumPy in, NumPy out."""
        names, given = check_collect(collect), split_labels(model.head, labels)
        output: Output[Array] = call_model(model, batch, given, names)
        return output

    def run_packed(self, model: NumpyMobileBertPreTrainedModel, batch: Batch) -> Output[Array]:
        """`run` on texts side by side, for an optimised model; see `mobilebert_core.packing`."""
        output: Output[Array] = model.rounded(model.compute(batch, {}, ()))
        return output

    def embed_words(self, model: NumpyMobileBertPreTrainedModel, ids: Array) -> Array:
        """The word embeddings of ids, (B, S, E)."""
        return model.mobilebert.embeddings.word_embeddings(ids)

    def loss_and_gradients(
        self, model: NumpyMobileBertPreTrainedModel, batch: Mapping[str, Any], labels: Any
    ) -> tuple[float, dict[str, Array]]:
        """NumPy has no automatic differentiation.

        Raises:
            BackendError: always; the backend does not claim `Feature.GRADIENTS`.
        """
        raise BackendError(
            "The numpy backend computes no gradients; load the model with backend='torch'"
        )

    def tensor(self, array: Array) -> Array:
        """The array itself."""
        return array
