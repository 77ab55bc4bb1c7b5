"""The backend protocol for ONNX Runtime."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from mobilebert_core.backend import Feature
from mobilebert_core.config import MobileBertConfig
from mobilebert_core.errors import BackendError, ConfigError
from mobilebert_core.inputs import check_collect, prepare, split_labels
from mobilebert_core.outputs import Output
from mobilebert_onnxruntime.models import MODELS, OnnxRuntimeMobileBertPreTrainedModel

Array = np.ndarray[Any, np.dtype[Any]]


class OnnxRuntimeBackend:
    """Inference in float64 and float32 on the CPU."""

    name = "onnxruntime"
    features = frozenset(
        {
            Feature.FLOAT64,
            Feature.FLOAT32,
            Feature.LOSSES,
            Feature.HIDDEN_STATES,
            Feature.ATTENTIONS,
            Feature.PREDICTION_POSITIONS,
        }
    )

    def build(
        self,
        config: MobileBertConfig,
        head: str,
        weights: Mapping[str, Array],
        *,
        dtype: str = "float32",
        device: str | None = None,
    ) -> OnnxRuntimeMobileBertPreTrainedModel:
        """A model that owns a copy of the weights; see `mobilebert_core.backend.Backend`."""
        if device not in (None, "cpu"):
            raise ConfigError(f"device is {device!r}; the onnxruntime backend runs on 'cpu' only")
        return MODELS[head](config, weights=weights, dtype=dtype)

    def weights(self, model: OnnxRuntimeMobileBertPreTrainedModel) -> dict[str, Array]:
        """The canonical weights."""
        return {name: array.copy() for name, array in model.parameters.items()}

    def run(
        self,
        model: OnnxRuntimeMobileBertPreTrainedModel,
        batch: Mapping[str, Any],
        *,
        labels: Any = None,
        collect: Iterable[str] = (),
    ) -> Output[Array]:
        """One call: NumPy in, NumPy out."""
        names = check_collect(collect)
        given = split_labels(model.head, labels)
        checked, targets = prepare(model.config, model.head, batch, given)
        output: Output[Array] = model.compute(checked, targets, names)
        return output

    def loss_and_gradients(
        self, model: OnnxRuntimeMobileBertPreTrainedModel, batch: Mapping[str, Any], labels: Any
    ) -> tuple[float, dict[str, Array]]:
        """ONNX Runtime computes what a graph says, not its derivative.

        Raises:
            BackendError: always; the backend does not claim `Feature.GRADIENTS`.
        """
        raise BackendError(
            "The onnxruntime backend computes no gradients; load the model with backend='torch'"
        )

    def tensor(self, array: Array) -> Array:
        """The array itself: models take and return NumPy arrays."""
        return array
