"""Checkpoints on disk: opened lazily, checked, saved atomically.

`open_checkpoint` gives a `Checkpoint` whose weights are read when asked for, under canonical names
whatever the format; `save_checkpoint` replaces a folder in one step. Rules: files are untrusted,
nothing in them is ever executed, and each fault is a `CheckpointError`. One module for each format;
`formats.py` is their table. Read next: `reading.py`.
"""

from mobilebert_core.checkpoints.reading import Checkpoint, open_checkpoint
from mobilebert_core.checkpoints.store import StoredTensor, TensorStore
from mobilebert_core.checkpoints.writing import save_checkpoint

__all__ = ["Checkpoint", "StoredTensor", "TensorStore", "open_checkpoint", "save_checkpoint"]
