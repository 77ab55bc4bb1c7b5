"""The backend protocol for PyTorch."""

import copy
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mobilebert_core.backend import Feature
from mobilebert_core.config import MobileBertConfig
from mobilebert_core.errors import ConfigError
from mobilebert_core.inputs import Batch, call_model, check_collect, loss_labels, split_labels
from mobilebert_core.outputs import Output, map_arrays
from mobilebert_torch.heads import MODELS
from mobilebert_torch.params import owned_parameters, to_array, to_tensor, unwrapped
from mobilebert_torch.pretrained import MobileBertPreTrainedModel

Array = np.ndarray[Any, np.dtype[Any]]


def evaluation_view(model: MobileBertPreTrainedModel) -> MobileBertPreTrainedModel:
    """The model itself in evaluation mode, else a copy in that mode with the same parameters.

    The caller's model is never switched: a training loop in another thread would lose its dropout.
    """
    model = unwrapped(model)
    if not any(module.training for module in model.modules()):
        return model
    shared = {id(each): each for each in (*model.parameters(), *model.buffers())}
    return copy.deepcopy(model, shared).eval()


def differentiable_view(model: MobileBertPreTrainedModel) -> MobileBertPreTrainedModel:
    """A copy in evaluation mode on the same memory whose parameters all require gradients.

    The caller's model keeps its frozen parameters and collects no gradients.
    """
    model = unwrapped(model)
    leaves = {id(each): nn.Parameter(each.detach()) for each in model.parameters()}
    return copy.deepcopy(model, leaves).eval()


class TorchBackend:
    """Training and inference on CPU and CUDA in float64, float32 and bfloat16."""

    name = "torch"
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
    optimizations = ("int8",)

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
    ) -> MobileBertPreTrainedModel:
        """A module in evaluation mode; see `mobilebert_core.backend.Backend`."""
        try:
            target = None if device is None else torch.device(device)
            torch.empty(0, device=target)
        except (RuntimeError, AssertionError) as error:
            raise ConfigError(
                f"device is {device!r}, which torch does not offer: {error}"
            ) from error
        model = MODELS[head](
            config,
            weights=weights,
            dtype=dtype,
            device=target,
            precision=precision,
            optimize=optimize,
        )
        return model.eval()

    def weights(self, model: MobileBertPreTrainedModel) -> dict[str, Array]:
        """The canonical weights; a tied pair once, under its owner's name."""
        unwrapped(model).canonical_only()
        owned = owned_parameters(model, model.config, model.head)
        return {name: to_array(parameter) for name, parameter in owned.items()}

    def run(
        self,
        model: MobileBertPreTrainedModel,
        batch: Mapping[str, Any],
        *,
        labels: Any = None,
        collect: Iterable[str] = (),
    ) -> Output[Array]:
        """One call in evaluation mode: NumPy in, NumPy out."""
        names, given = check_collect(collect), split_labels(model.head, labels)
        with torch.no_grad():
            return map_arrays(call_model(evaluation_view(model), batch, given, names), to_array)

    def run_packed(self, model: MobileBertPreTrainedModel, batch: Batch) -> Output[Array]:
        """`run` on texts side by side, for an optimised model; see `mobilebert_core.packing`."""
        view = evaluation_view(model)
        view.refuse_float16()
        with torch.no_grad():
            tensors = batch.map(lambda array: to_tensor(array).to(view.device))
            return map_arrays(view.rounded(view.compute(tensors, {}, ())), to_array)

    def embed_words(self, model: MobileBertPreTrainedModel, ids: Array) -> Array:
        """The word embeddings of ids, (B, S, E)."""
        table = unwrapped(model).get_input_embeddings().weight
        return to_array(table[to_tensor(ids).to(table.device)])

    def loss_and_gradients(
        self, model: MobileBertPreTrainedModel, batch: Mapping[str, Any], labels: Any
    ) -> tuple[float, dict[str, Array]]:
        """The loss in evaluation mode and its gradient for every canonical weight.

        Raises:
            InputError: the head has no loss, or labels are missing.
        """
        unwrapped(model).canonical_only()
        given = loss_labels(model.head, labels)
        with torch.inference_mode(False), torch.enable_grad():
            view = differentiable_view(model)
            owned = owned_parameters(view, view.config, view.head)
            loss = call_model(view, batch, given, ()).loss
            gradients = torch.autograd.grad(
                loss, list(owned.values()), allow_unused=True, materialize_grads=True
            )
        arrays = (to_array(gradient) for gradient in gradients)
        return float(loss.detach()), dict(zip(owned, arrays, strict=True))

    def tensor(self, array: Array) -> Tensor:
        """A tensor on torch's default device."""
        return to_tensor(array).to(torch.get_default_device())
