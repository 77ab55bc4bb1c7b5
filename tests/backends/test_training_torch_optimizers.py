"""The optimisers against plain formulas and against torch's own."""

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from metrics import relative_error  # noqa: E402
from mobilebert_core.errors import ConfigError  # noqa: E402
from mobilebert_torch.training.optimizers import (  # noqa: E402
    OPTIMIZERS,
    make_optimizer,
    parameter_groups,
)
from mobilebert_training.randomness import generator  # noqa: E402
from training_runs import make_model  # noqa: E402

Array = np.ndarray[Any, np.dtype[Any]]
RATE, DECAY, BETAS, EPS = 0.02, 0.1, (0.85, 0.95), 1e-3
SHAPES = {"kernel": (4, 3), "bias": (5,), "zeros": (2, 6)}
CLOSE = 1e-12


def start() -> dict[str, Array]:
    draw = generator(1)
    return {n: draw.normal(size=s) * (n != "zeros") for n, s in SHAPES.items()}


def gradients(step: int) -> dict[str, Array]:
    draw = generator(2, step)
    return {name: draw.normal(size=shape) for name, shape in SHAPES.items()}


def trained(name: str, decay: float = DECAY, steps: int = 5) -> dict[str, Array]:
    """What the optimiser makes of float64 parameters."""
    parameters = {n: torch.nn.Parameter(torch.tensor(each)) for n, each in start().items()}
    groups = [
        {
            "params": [each],
            "weight_decay": 0.0 if n == "bias" else decay,
            "plain": n == "bias",
        }
        for n, each in parameters.items()
    ]
    optimizer = OPTIMIZERS[name](groups, lr=RATE, betas=BETAS, eps=EPS)
    for step in range(steps):
        for n, gradient in gradients(step).items():
            parameters[n].grad = torch.tensor(gradient)
        optimizer.step()
    return {n: each.detach().numpy() for n, each in parameters.items()}


def expected(name: str, decay: float, steps: int = 5) -> dict[str, Array]:
    """Adam with decoupled decay, and LAMB (You et al., 2020, algorithm 2), uncorrected."""
    values = start()
    for n, value in values.items():
        mean, square = np.zeros_like(value), np.zeros_like(value)
        for step in range(steps):
            gradient = gradients(step)[n]
            mean = BETAS[0] * mean + (1 - BETAS[0]) * gradient
            square = BETAS[1] * square + (1 - BETAS[1]) * gradient**2
            update = mean / (np.sqrt(square) + EPS) + (n != "bias") * decay * value
            length, pace = np.sqrt((value**2).sum()), np.sqrt((update**2).sum())
            scaled = name == "lamb" and n != "bias" and length > 0 and pace > 0
            value = value - RATE * update * (length / pace if scaled else 1.0)
        values[n] = value
    return values


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("parameter", SHAPES)
@pytest.mark.parametrize("decay", [DECAY, 0.0])
def test_updates_are_those_of_the_formula(name: str, parameter: str, decay: float) -> None:
    found, wanted = trained(name, decay), expected(name, decay)
    assert relative_error(found[parameter], wanted[parameter]) < CLOSE


def test_updates_are_torchs_when_its_bias_correction_is_undone() -> None:
    """Torch divides the mean by 1 - b1^t and the root by sqrt(1 - b2^t): undo it in rate and eps.

    Decay is torch's rate times it, so that what is undone in the rate is undone there as well.
    """
    parameters = {n: torch.nn.Parameter(torch.tensor(each)) for n, each in start().items()}
    optimizer = torch.optim.AdamW(list(parameters.values()), lr=RATE, betas=BETAS)
    for step in range(5):
        first, second = (1 - beta ** (step + 1) for beta in BETAS)
        rate = RATE * first / second**0.5
        for group in optimizer.param_groups:
            group |= {"lr": rate, "eps": EPS / second**0.5, "weight_decay": DECAY * RATE / rate}
        for n, gradient in gradients(step).items():
            parameters[n].grad = torch.tensor(gradient)
        optimizer.step()
    ours = trained("adamw")
    for n in ("kernel", "zeros"):
        assert relative_error(ours[n], parameters[n].detach().numpy()) < CLOSE


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_parameter_stays_when_it_has_no_gradient(name: str) -> None:
    still, moved = (torch.nn.Parameter(torch.ones(3)) for _ in range(2))
    optimizer = OPTIMIZERS[name]([still, moved], lr=RATE)
    moved.grad = torch.ones(3)
    optimizer.step()
    assert (still == 1).all()
    assert (moved != 1).all()
    assert list(optimizer.state) == [moved]


def test_a_closure_is_called_with_gradients_on() -> None:
    parameter = torch.nn.Parameter(torch.tensor([2.0]))

    def closure() -> Any:
        loss = (parameter**2).sum()
        loss.backward()
        return loss

    assert OPTIMIZERS["adamw"]([parameter]).step(closure).item() == 4
    assert parameter.item() < 2


@pytest.mark.parametrize("head", ["pretraining", "question-answering"])
@pytest.mark.parametrize("norm", ["no_norm", "layer_norm"])
def test_biases_and_norms_do_not_decay_and_all_else_does(head: str, norm: str) -> None:
    model = make_model(head, normalization_type=norm)
    decaying, plain = parameter_groups(model, 0.25)
    assert (decaying["weight_decay"], plain["weight_decay"]) == (0.25, 0.0)
    assert (decaying["plain"], plain["plain"]) == (False, True)
    assert all(each.dim() == 2 for each in decaying["params"])
    assert all(each.dim() == 1 for each in plain["params"])
    assert len(decaying["params"] + plain["params"]) == len(list(model.parameters()))


def test_an_unknown_optimizer_is_refused() -> None:
    with pytest.raises(ConfigError, match="'sgd', expected one of adamw, lamb"):
        make_optimizer("sgd", torch.nn.Linear(2, 2), weight_decay=0.0, betas=BETAS, eps=EPS)


def test_an_optimizer_has_the_settings_that_it_is_given() -> None:
    layer = torch.nn.Linear(2, 2)
    optimizer = make_optimizer("lamb", layer, weight_decay=0.5, betas=(0.1, 0.2), eps=0.3)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.5, 0.0]
    assert {(group["betas"], group["eps"]) for group in optimizer.param_groups} == {
        ((0.1, 0.2), 0.3)
    }
