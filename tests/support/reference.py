"""Transformers' PyTorch MobileBERT with random float64 weights: the independent truth.

Its known slips are mended here, each marked with "Slip" and the decision of the specification that
it breaks; no limit is wider for one. Where PyTorch or transformers is absent, a test file that
imports this one is skipped.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mobilebert_conformance.weights import random_tensor
from mobilebert_core.heads import HEADS
from mobilebert_core.schema import PREFIX

torch = pytest.importorskip("torch", reason="the reference runs on PyTorch")
transformers = pytest.importorskip("transformers", reason="the reference is not installed")

Array = np.ndarray[Any, np.dtype[Any]]
LOWEST = np.finfo(np.float64).min


@dataclass(frozen=True)
class Reference:
    """A model of transformers and the problem type that it was made for."""

    model: Any
    head: str
    problem_type: str | None

    def __call__(self, inputs: Mapping[str, Any], labels: Mapping[str, Any]) -> Any:
        """The output as transformers gives it, hidden states and attentions included."""
        given = {**inputs, **labels}
        if np.ndim(given.get("attention_mask")) == 4:
            # Slip (decision 3): four axes are taken for the bias itself.
            given["attention_mask"] = np.where(given["attention_mask"] != 0, 0.0, LOWEST)
        arguments = {name: torch.as_tensor(each) for name, each in given.items()}
        # Slip (decision 8): it writes what it infers from the labels of a call into its config.
        self.model.config.problem_type = self.problem_type
        return self.model(**arguments, output_hidden_states=True, output_attentions=True)

    def run(self, inputs: Mapping[str, Any], labels: Mapping[str, Any]) -> dict[str, Any]:
        """Outputs as NumPy arrays, by field."""
        with torch.no_grad():
            output = self(inputs, labels)
        return {
            name: tuple(each.numpy() for each in value)
            if isinstance(value, tuple)
            else value.numpy()
            for name, value in output.items()
        }

    def gradients(
        self, inputs: Mapping[str, Any], labels: Mapping[str, Any]
    ) -> dict[str, Array | None]:
        """The loss's gradient by canonical name; None for a parameter that was never used."""
        self.model.zero_grad()
        self(inputs, labels).loss.backward()
        found = self.parameters().items()
        return {name: None if each.grad is None else each.grad.numpy() for name, each in found}

    def parameters(self) -> dict[str, Any]:
        """The model's parameters by canonical name; a tied one once."""
        return _parameters(self.model, self.head)


def make_reference(head: str, **changes: Any) -> Reference:
    """A model with the weights of `mobilebert_conformance.weights.random_weights`.

    Args:
        head: name of the head.
        **changes: fields of the configuration; of what is not given, transformers' own defaults.
    """
    if head == "question-answering":
        changes = changes | {"num_labels": 2}  # the reference builds its two outputs from it
    if changes.get("hidden_act") == "gelu_tanh":
        changes = changes | {"hidden_act": "gelu_pytorch_tanh"}
    config = transformers.MobileBertConfig(**changes)
    config._attn_implementation = "eager"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it makes a tensor without elements, and says so
        model = getattr(transformers, HEADS[head].class_name)(config).double().eval()
    with torch.no_grad():
        for name, parameter in _parameters(model, head).items():
            values = random_tensor(config, name, tuple(parameter.shape))
            parameter.copy_(torch.as_tensor(values))
    for module in model.modules():
        if isinstance(module, torch.nn.LayerNorm):
            module.eps = config.layer_norm_eps  # Slip (decision 5): two of them use 1e-5
    # Slip (decision 12): the padding token's row gets no gradient from the text.
    model.get_input_embeddings().padding_idx = None
    return Reference(model, head, changes.get("problem_type"))


def save_reference(reference: Reference, folder: Path) -> None:
    """A checkpoint folder, written by transformers' own code."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the reference's own business
        reference.model.save_pretrained(folder)


def _parameters(model: Any, head: str) -> dict[str, Any]:
    prefix = PREFIX if head == "base" else ""
    return {f"{prefix}{name}": each for name, each in model.named_parameters()}
