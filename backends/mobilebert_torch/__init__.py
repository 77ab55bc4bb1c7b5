"""The PyTorch backend: native `torch.nn.Module`s with the names of the published checkpoints."""

from mobilebert_core.backend import BackendInfo

BACKEND = BackendInfo(
    name="torch",
    implementation="mobilebert_torch.backend:TorchBackend",
    requires=("torch",),
    install='pip install "mobilebert[torch]"',
    class_module="mobilebert_torch.heads",
    class_prefix="",
    aliases=("pt",),
    priority=40,
)
