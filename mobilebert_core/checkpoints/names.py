"""From the names in a file to canonical names.

Rules: every tensor of a file is known to some head, is of a kind that no model needs (a note says
so), or is part of an error that lists all such tensors. A tied tensor is checked against its owner
and dropped, or stands in for an owner that the file omits. Read next: a format's module.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from mobilebert_core import schema
from mobilebert_core.checkpoints.store import DTYPES, StoredTensor, TensorStore
from mobilebert_core.config import MobileBertConfig
from mobilebert_core.errors import CheckpointError, raise_faults
from mobilebert_core.heads import HEADS

_UNUSED = "that this configuration never uses"
# Norms in the PyTorch files of the first years.
_OLD_SUFFIXES = {".gamma": ".weight", ".beta": ".bias"}


@dataclass(frozen=True)
class FileName:
    """What a name in a file stands for.

    Attributes:
        canonical: canonical name, which need not be one of this model.
        transposed: whether the file holds the transpose.
        ignored: says of which kind a tensor is that no model needs; completes "Ignored 2 tensors".
    """

    canonical: str
    transposed: bool = False
    ignored: str = ""


UNKNOWN = FileName("")
Translation = Callable[[str], FileName]


@dataclass(frozen=True)
class Vocabulary:
    """All canonical names that a configuration can have, over all heads.

    Attributes:
        owners: owned name -> names of the tensors that repeat it, in the order of the computation.
        copies: the tensors that repeat others.
        unused: tensors that other programs store and that no output depends on.
    """

    owners: Mapping[str, tuple[str, ...]]
    copies: frozenset[str]
    unused: frozenset[str]

    def __contains__(self, name: str) -> bool:
        return name in self.owners or name in self.copies or name in self.unused

    @classmethod
    def of(cls, config: MobileBertConfig) -> "Vocabulary":
        """The names of one configuration."""
        specs: dict[str, schema.TensorSpec] = {}
        unused: set[str] = set()
        for head in HEADS:
            specs |= schema.tensors(config, head)
            unused |= schema.unused_tensors(config, head).keys()
        tied = [spec for spec in specs.values() if spec.tied_to is not None]
        owners = {
            name: tuple(copy.name for copy in tied if copy.tied_to == name)
            for name, spec in specs.items()
            if spec.tied_to is None
        }
        return cls(owners, frozenset(spec.name for spec in tied), frozenset(unused))


def hugging_face_names(config: MobileBertConfig) -> Translation:
    """The translation of names in Hugging Face's PyTorch files: with or without `mobilebert.`."""
    vocabulary = Vocabulary.of(config)

    def translate(name: str) -> FileName:
        if name.endswith("position_ids"):
            return FileName(name, ignored="of position ids, which count from 0")
        for old, new in _OLD_SUFFIXES.items():
            if name.endswith(old):
                name = name.removesuffix(old) + new
        prefixed = schema.PREFIX + name
        return FileName(prefixed if prefixed in vocabulary else name)

    return translate


def to_hugging_face(name: str, head: str) -> str:
    """The name of a canonical tensor in a file of Hugging Face; a base model's has no prefix."""
    return name.removeprefix(schema.PREFIX) if head == "base" else name


def canonical_tensors(
    tensors: Mapping[str, StoredTensor],
    translate: Translation,
    config: MobileBertConfig,
    path: Path,
) -> tuple[TensorStore, tuple[str, ...]]:
    """Give the tensors of a file their canonical names.

    Args:
        tensors: the tensors by their names in the file.
        translate: what those names stand for.
        config: decides which names there are.
        path: the file, for errors.

    Returns:
        The owned tensors of all heads that the file has, and one note for each kind of tensor that
        was left out.

    Raises:
        CheckpointError: lists every unknown tensor, every dtype that is none of weights, every
            name that stands for a tensor already there and every tied pair that disagrees.
    """
    vocabulary = Vocabulary.of(config)
    faults: list[str] = []
    found, ignored = _sort(tensors, translate, vocabulary, faults)
    store = _owners(found, vocabulary, faults)
    raise_faults(CheckpointError, f"The tensors of {path} are not those of a MobileBERT", faults)
    return store, tuple(
        f"Ignored {count} tensor{'s' * (count > 1)} {kind}." for kind, count in ignored.items()
    )


def _sort(
    tensors: Mapping[str, StoredTensor],
    translate: Translation,
    vocabulary: Vocabulary,
    faults: list[str],
) -> tuple[dict[str, StoredTensor], Counter[str]]:
    """The tensors by canonical name, and how many of each kind were ignored; the rest is faults."""
    found: dict[str, StoredTensor] = {}
    ignored: Counter[str] = Counter()
    for name, tensor in tensors.items():
        meaning = translate(name)
        canonical = meaning.canonical
        if meaning.ignored or canonical in vocabulary.unused:
            ignored[meaning.ignored or _UNUSED] += 1
        elif canonical not in vocabulary:
            faults.append(f"unknown: {name} {tensor.shape}")
        elif canonical in found:
            faults.append(f"twice: {name} stands for {canonical}, which another name stands for")
        elif tensor.dtype not in DTYPES:
            faults.append(f"dtype: {name} is {tensor.dtype}, expected one of {', '.join(DTYPES)}")
        else:
            found[canonical] = tensor.transposed() if meaning.transposed else tensor
    return found, ignored


def _owners(
    found: Mapping[str, StoredTensor], vocabulary: Vocabulary, faults: list[str]
) -> TensorStore:
    """The owned tensors, each from itself or from a copy; copies must not disagree."""
    owners: dict[str, StoredTensor] = {}
    for owner, copies in vocabulary.owners.items():
        present = [name for name in (owner, *copies) if name in found]
        if not present:
            continue
        first, *others = present
        owners[owner] = found[first]
        faults += [
            f"tied: {name} and {first} differ, expected the same values under both names"
            for name in others
            if not _identical(found[first], found[name])
        ]
    return TensorStore(owners)


def _identical(first: StoredTensor, second: StoredTensor) -> bool:
    if (first.shape, first.dtype) != (second.shape, second.dtype):
        return False
    return first.read().tobytes() == second.read().tobytes()
