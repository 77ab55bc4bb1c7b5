"""The backend protocol for JAX."""

from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from mobilebert_core.backend import Feature
from mobilebert_core.config import MobileBertConfig
from mobilebert_core.inputs import (
    call_model,
    check_batch,
    check_collect,
    loss_labels,
    split_labels,
)
from mobilebert_core.outputs import Output, map_arrays
from mobilebert_core.precision import REPRODUCIBLE
from mobilebert_jax.calls import loss_and_gradients, snapshot_of
from mobilebert_jax.heads import MODELS
from mobilebert_jax.params import owned_parameters, to_array, to_canonical
from mobilebert_jax.pretrained import FlaxMobileBertPreTrainedModel

Array = np.ndarray[Any, np.dtype[Any]]


def evaluation_view(model: FlaxMobileBertPreTrainedModel) -> FlaxMobileBertPreTrainedModel:
    """The model itself where no dropout is active, else a view without it of the same arrays.

    The caller's model is never switched: a training loop in another thread would lose its dropout.
    """
    if not snapshot_of(model).drops:
        return model
    return nnx.view(model, deterministic=True)


def _features(backend: "JaxBackend") -> frozenset[Feature]:
    """What is offered as JAX is set now: float64 is its user's choice."""
    del backend
    always = {
        Feature.FLOAT32,
        Feature.BFLOAT16,
        Feature.LOSSES,
        Feature.GRADIENTS,
        Feature.HIDDEN_STATES,
        Feature.ATTENTIONS,
        Feature.INPUTS_EMBEDS,
        Feature.PREDICTION_POSITIONS,
        Feature.OPTIMIZED,
    }
    wide = {Feature.FLOAT64, Feature.REPRODUCIBLE}
    return frozenset(always | wide if jax.config.jax_enable_x64 else always)


class JaxBackend:
    """Training and inference on every device of JAX in float32, bfloat16 and, if set, float64."""

    name = "jax"
    dtype_hints: Mapping[str, str] = dict.fromkeys(
        ("float64", REPRODUCIBLE),
        'JAX computes in float64 only after jax.config.update("jax_enable_x64", True), '
        "or with JAX_ENABLE_X64=1",
    )

    features = property(_features)

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
    ) -> FlaxMobileBertPreTrainedModel:
        """A module in evaluation mode; see `mobilebert_core.backend.Backend`."""
        model = MODELS[head](
            config,
            weights=weights,
            dtype=dtype,
            device=device,
            precision=precision,
            optimize=optimize,
        )
        model.eval()
        return model

    def weights(self, model: FlaxMobileBertPreTrainedModel) -> dict[str, Array]:
        """The canonical weights; a tied pair once, under its owner's name."""
        model.canonical_only()
        owned = owned_parameters(model, model.config, model.head)
        return {
            name: to_canonical(name, parameter.get_value()) for name, parameter in owned.items()
        }

    def run(
        self,
        model: FlaxMobileBertPreTrainedModel,
        batch: Mapping[str, Any],
        *,
        labels: Any = None,
        collect: Iterable[str] = (),
    ) -> Output[Array]:
        """One call in evaluation mode: NumPy in, NumPy out."""
        names, given = check_collect(collect), split_labels(model.head, labels)
        return map_arrays(call_model(evaluation_view(model), batch, given, names), to_array)

    def loss_and_gradients(
        self, model: FlaxMobileBertPreTrainedModel, batch: Mapping[str, Any], labels: Any
    ) -> tuple[float, dict[str, Array]]:
        """The loss in evaluation mode and its gradient for every canonical weight.

        Raises:
            ConfigError: the model is optimised.
            InputError: the head has no loss, or labels are missing.
        """
        model.canonical_only()
        given = loss_labels(model.head, labels)
        check_batch(model.head, batch)
        view = evaluation_view(model)
        inputs, targets = view.prepare({**batch, **given})
        snapshot = snapshot_of(view)
        owned = owned_parameters(view, view.config, view.head)
        names = {id(parameter): name for name, parameter in owned.items()}
        loss, gradients = loss_and_gradients(
            snapshot.leaves(),
            snapshot.structure,
            tuple(names.get(id(holder)) for holder in snapshot.holders),
            inputs,
            targets,
        )
        return float(loss), {name: to_canonical(name, gradients[name]) for name in owned}

    def embed_words(self, model: FlaxMobileBertPreTrainedModel, ids: Array) -> Array:
        """The word embeddings of ids, (..., E); `mobilebert.predict` pads them with zeros."""
        return np.asarray(model.get_input_embeddings().embedding.get_value())[ids]

    def tensor(self, array: Array) -> jax.Array:
        """An array on JAX's default device; without float64, integers have 32 bits too."""
        return jnp.array(array)
