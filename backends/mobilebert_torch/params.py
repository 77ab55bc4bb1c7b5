"""Canonical weights <-> PyTorch parameters: the base model drops a prefix, nothing else differs."""

from collections.abc import Mapping
from typing import Any

import ml_dtypes
import numpy as np
import torch
from torch import nn

from mobilebert_core.config import MobileBertConfig
from mobilebert_core.schema import PREFIX, tensors

Array = np.ndarray[Any, np.dtype[Any]]


def native_name(name: str, head: str) -> str:
    """The name in the state dict: canonical, but for the base model, which is its own root."""
    return name.removeprefix(PREFIX) if head == "base" else name


def unwrapped(model: Any) -> Any:
    """The model that torch.compile may have wrapped."""
    return getattr(model, "_orig_mod", model)


def to_tensor(array: Array) -> torch.Tensor:
    """A tensor with a copy of an array; bfloat16 included, which torch.from_numpy refuses."""
    if array.dtype == ml_dtypes.bfloat16:
        return torch.tensor(array.view(np.int16)).view(torch.bfloat16)
    return torch.tensor(array)


def to_array(tensor: torch.Tensor) -> Array:
    """An array with a copy of a tensor's values; bfloat16 included."""
    tensor = tensor.detach().cpu()
    if tensor.dtype == torch.bfloat16:
        return tensor.contiguous().view(torch.int16).numpy().view(ml_dtypes.bfloat16).copy()
    return tensor.numpy().copy()


def load_canonical(
    model: nn.Module,
    head: str,
    weights: Mapping[str, Array],
    *,
    dtype: torch.dtype,
    device: torch.device,
) -> None:
    """Give a model made on the meta device its parameters, one tensor at a time."""
    for name in weights:
        parameter = nn.Parameter(to_tensor(weights[name]).to(device, dtype))
        module, _, attribute = native_name(name, head).rpartition(".")
        setattr(model.get_submodule(module), attribute, parameter)


def owned_parameters(
    model: nn.Module, config: MobileBertConfig, head: str
) -> dict[str, nn.Parameter]:
    """The parameters under canonical names; each tied pair once, under its owner's name."""
    native = dict(unwrapped(model).named_parameters(remove_duplicate=False))
    return {
        spec.name: native[native_name(spec.name, head)]
        for spec in tensors(config, head).values()
        if spec.tied_to is None and native_name(spec.name, head) in native
    }
