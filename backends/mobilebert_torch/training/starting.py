"""What `mobilebert_training.training` asks of a framework's trainer; PyTorch's answer."""

import torch

from mobilebert_torch.training.processes import Processes
from mobilebert_torch.training.trainer import Trainer

__all__ = ["Trainer", "open_processes"]


def open_processes(style: str, device: str | None) -> Processes:
    """The processes of a run, on a GPU where there is one and no device is named."""
    if device is None and torch.cuda.is_available():
        device = "cuda"
    return Processes(style, device)
