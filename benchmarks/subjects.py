"""What benchmarks have in common: the checkpoints they work on, and the memory of this process.

Linux gives the peak as VmHWM, and resets it on writing 5 to /proc/self/clear_refs. Where that is
not permitted, an earlier peak may hide a part of what is measured.
"""

from pathlib import Path

from mobilebert_core.checkpoints import save_checkpoint
from mobilebert_core.config import MobileBertConfig
from mobilebert_core.initialization import initial_weights

HEAD = "pretraining"
STATUS = Path("/proc/self/status")


def memory(field: str) -> int:
    """Bytes that /proc/self/status gives for a field, e.g. VmRSS now or VmHWM at the peak."""
    for line in STATUS.read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"{STATUS} has no {field}")


def reset_peak() -> bool:
    """Make the current memory the peak; False where that is not permitted."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    # Some sandboxes accept the write and ignore it.
    return memory("VmHWM") - memory("VmRSS") < 2**20


def make(folder: Path, config: MobileBertConfig) -> str:
    """A checkpoint with fresh weights."""
    return str(save_checkpoint(folder, config, initial_weights(config, HEAD, seed=0), HEAD))


def tiny_config() -> MobileBertConfig:
    """All parts of the model, little memory."""
    return MobileBertConfig(
        vocab_size=100,
        hidden_size=16,
        num_hidden_layers=2,
        intermediate_size=16,
        embedding_size=8,
        intra_bottleneck_size=8,
        max_position_embeddings=16,
    )
