"""The backend protocol for TensorFlow."""

from collections.abc import Iterable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mobilebert_core.backend import Feature
from mobilebert_core.config import MobileBertConfig
from mobilebert_core.errors import BackendError
from mobilebert_core.inputs import call_model, check_collect, loss_labels, split_labels
from mobilebert_core.outputs import Output, map_arrays
from mobilebert_tf.heads import MODELS
from mobilebert_tf.params import owned_parameters, to_array, to_canonical, to_tensor
from mobilebert_tf.pretrained import TFMobileBertPreTrainedModel

Array = np.ndarray[Any, np.dtype[Any]]


def check_keras() -> None:
    """Keras must compute with TensorFlow.

    Raises:
        BackendError: it was configured for another framework.
    """
    found = keras.backend.backend()
    if found != "tensorflow":
        raise BackendError(
            f"Keras is configured for {found!r}, but this backend needs 'tensorflow'; set "
            "KERAS_BACKEND=tensorflow in the environment before Keras is imported, or change "
            '"backend" in keras.json'
        )


class TFBackend:
    """Training and inference on CPU and GPU in float64, float32 and bfloat16."""

    name = "tf"
    features = frozenset(
        {
            Feature.FLOAT64,
            Feature.FLOAT32,
            Feature.BFLOAT16,
            Feature.LOSSES,
            Feature.GRADIENTS,
            Feature.HIDDEN_STATES,
            Feature.ATTENTIONS,
            Feature.INPUTS_EMBEDS,
            Feature.PREDICTION_POSITIONS,
            Feature.REPRODUCIBLE,
            Feature.OPTIMIZED,
        }
    )

    def __init__(self) -> None:
        check_keras()

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
    ) -> TFMobileBertPreTrainedModel:
        """A Keras model; see `mobilebert_core.backend.Backend`."""
        return MODELS[head](
            config,
            weights=weights,
            dtype=dtype,
            device=device,
            precision=precision,
            optimize=optimize,
        )

    def weights(self, model: TFMobileBertPreTrainedModel) -> dict[str, Array]:
        """The canonical weights; a tied pair once, under its owner's name."""
        model.canonical_only()
        owned = owned_parameters(model, model.config, model.head)
        return {name: to_canonical(to_array(each), flip) for name, (each, flip) in owned.items()}

    def run(
        self,
        model: TFMobileBertPreTrainedModel,
        batch: Mapping[str, Any],
        *,
        labels: Any = None,
        collect: Iterable[str] = (),
    ) -> Output[Array]:
        """One call without dropout: NumPy in, NumPy out."""
        names, given = check_collect(collect), split_labels(model.head, labels)
        return map_arrays(call_model(model, batch, given, names), to_array)

    def loss_and_gradients(
        self, model: TFMobileBertPreTrainedModel, batch: Mapping[str, Any], labels: Any
    ) -> tuple[float, dict[str, Array]]:
        """The loss without dropout and its gradient for every canonical weight.

        Raises:
            ConfigError: the model is optimised.
            InputError: the head has no loss, or labels are missing.
        """
        model.canonical_only()
        given = loss_labels(model.head, labels)
        owned = owned_parameters(model, model.config, model.head)
        merged = [name for name, (each, _) in owned.items() if not isinstance(each, keras.Variable)]
        if merged:
            raise BackendError(
                f"{', '.join(merged)} is computed from other variables (LoRA or a quantisation of "
                "Keras) and has no gradient of its own; use a tf.GradientTape on the model"
            )
        variables = [variable.value for variable, _ in owned.values()]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(variables)
            loss = call_model(model, batch, given, ()).loss
        gradients = tape.gradient(loss, variables, unconnected_gradients="zero")
        arrays = {
            name: to_canonical(to_array(gradient), flip)
            for (name, (_, flip)), gradient in zip(owned.items(), gradients, strict=True)
        }
        return float(loss), arrays

    def embed_words(self, model: TFMobileBertPreTrainedModel, ids: Array) -> Array:
        """The word embeddings of ids, (..., E); `mobilebert.predict` pads them with zeros."""
        return to_array(tf.gather(model.get_input_embeddings().embeddings, ids))

    def tensor(self, array: Array) -> tf.Tensor:
        """A tensor on TensorFlow's default device."""
        return to_tensor(array)
