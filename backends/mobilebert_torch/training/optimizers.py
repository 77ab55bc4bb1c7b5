"""The optimisers of BERT's and MobileBERT's training.

AdamW here has no bias correction, as in Google's code (`AdamWeightDecayOptimizer`), and LAMB is
that of You et al. (2020), algorithm 2, without it too. Both leave biases and norms undecayed.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from mobilebert_core.errors import ConfigError


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Two groups: kernels and embeddings decay, biases and norms, which are `plain`, do not."""
    groups: list[dict[str, Any]] = [
        {"params": [], "weight_decay": weight_decay, "plain": False},
        {"params": [], "weight_decay": 0.0, "plain": True},
    ]
    for name, parameter in model.named_parameters():
        plain = name.endswith("bias") or "LayerNorm" in name
        groups[plain]["params"].append(parameter)
    return groups


class AdamW(torch.optim.Optimizer):
    """Adam with decoupled weight decay and without bias correction.

    Args:
        groups: parameters, or groups of them with a `weight_decay` each.
        lr: learning rate.
        betas: decay of the means of gradients and of their squares.
        eps: added to the root of the latter.
        weight_decay: fraction of a parameter that goes, times the learning rate.
    """

    def __init__(
        self,
        groups: Iterable[Any],
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(
            groups, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        )

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """One update; parameters without a gradient stay."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            parameters = [each for each in group["params"] if each.grad is not None]
            if parameters:
                self.apply(parameters, self.directions(parameters, group), group)
        return loss

    def directions(self, parameters: list[Tensor], group: dict[str, Any]) -> list[Tensor]:
        """Where each parameter goes, before the learning rate."""
        for each in parameters:
            if not self.state[each]:
                self.state[each]["mean"] = torch.zeros_like(each)
                self.state[each]["square"] = torch.zeros_like(each)
        gradients = [each.grad for each in parameters]
        means = [self.state[each]["mean"] for each in parameters]
        squares = [self.state[each]["square"] for each in parameters]
        first, second = group["betas"]
        torch._foreach_mul_(means, first)
        torch._foreach_add_(means, gradients, alpha=1 - first)
        torch._foreach_mul_(squares, second)
        torch._foreach_addcmul_(squares, gradients, gradients, 1 - second)
        roots = torch._foreach_sqrt(squares)
        torch._foreach_add_(roots, group["eps"])
        directions = torch._foreach_div(means, roots)
        if group["weight_decay"]:
            torch._foreach_add_(directions, parameters, alpha=group["weight_decay"])
        return list(directions)

    def apply(
        self, parameters: list[Tensor], directions: list[Tensor], group: dict[str, Any]
    ) -> None:
        """Go there."""
        torch._foreach_add_(parameters, directions, alpha=-group["lr"])


class Lamb(AdamW):
    """AdamW whose step is, for every kernel and embedding, as long as the parameter itself.

    Biases and norms, groups that are `plain`, take AdamW's step, as in You et al.'s own code.
    """

    def apply(
        self, parameters: list[Tensor], directions: list[Tensor], group: dict[str, Any]
    ) -> None:
        """Go there, at a pace of the parameter's norm over the direction's."""
        if group.get("plain"):
            super().apply(parameters, directions, group)
            return
        for parameter, direction in zip(parameters, directions, strict=True):
            length, pace = parameter.norm(), direction.norm()
            ratio = torch.where((length > 0) & (pace > 0), length / pace, torch.ones_like(length))
            parameter.sub_(direction * ratio * group["lr"])


OPTIMIZERS: dict[str, type[AdamW]] = {"adamw": AdamW, "lamb": Lamb}


def make_optimizer(
    name: str,
    model: nn.Module,
    *,
    weight_decay: float,
    betas: tuple[float, float],
    eps: float,
) -> AdamW:
    """An optimiser for a model, by its name.

    Raises:
        ConfigError: no optimiser has this name.
    """
    if name not in OPTIMIZERS:
        raise ConfigError(f"optimizer is {name!r}, expected one of {', '.join(OPTIMIZERS)}")
    return OPTIMIZERS[name](parameter_groups(model, weight_decay), betas=betas, eps=eps)
