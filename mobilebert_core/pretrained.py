"""`from_pretrained` and `save_pretrained` for the native classes of every backend."""

from pathlib import Path
from typing import Any, ClassVar, Self

from mobilebert_core import loading


class Pretrained:
    """Mixed into every model class.

    Attributes:
        head: name of the head, set by each class.
        backend_name: name of the backend, set by each backend's base class.
    """

    head: ClassVar[str]
    backend_name: ClassVar[str]

    @classmethod
    def from_pretrained(cls, source: str | Path, **options: Any) -> Self:
        """A model of this class with the weights of a checkpoint: `mobilebert.load`.

        Args:
            source: a folder, a weights file or a hub id.
            **options: those of `mobilebert.load` but `head` and `backend`, and configuration
                fields to change, e.g. `num_labels=3`.
        """
        model: Self = loading.load(source, cls.head, cls.backend_name, **options)
        return model

    def save_pretrained(self, folder: str | Path, **options: Any) -> Path:
        """Write a checkpoint folder: `mobilebert.save`."""
        return loading.save(self, folder, **options)
