"""Between the names in a file and canonical names.

A format gives a `Naming`: where it keeps each canonical tensor, and what each name in a file stands
for. Rules of reading: every tensor of a file is known to some head, is of a kind that no model
needs (a note says so), or is part of an error that lists all such tensors. A tied tensor is checked
against its owner and dropped, or stands in for an owner that the file omits. Read next: a format's
module.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from mobilebert_core import schema
from mobilebert_core.checkpoints.store import DTYPES, StoredTensor, TensorStore
from mobilebert_core.config import MobileBertConfig
from mobilebert_core.errors import CheckpointError, raise_faults
from mobilebert_core.heads import HEADS

REPEATED = "that repeats another, to which it is tied"
_UNUSED = "that this configuration never uses"
# Norms in the PyTorch files of the first years.
_OLD_SUFFIXES = {".gamma": ".weight", ".beta": ".bias"}

_PARTS_OF_BASE = ("embeddings.", "encoder.", "pooler.")


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
class Place:
    """Where a file keeps a canonical tensor.

    Attributes:
        name: its name in the file.
        transposed: whether the file holds the transpose.
    """

    name: str
    transposed: bool = False

    def turned(self, tensor: StoredTensor) -> StoredTensor:
        """A canonical tensor in the file's layout, or the file's in the canonical one."""
        return tensor.transposed() if self.transposed else tensor


@dataclass(frozen=True)
class Naming:
    """How a format names the tensors of one configuration, in both directions.

    Attributes:
        place: canonical name and head -> where a file of that head keeps the tensor.
        translate: name in a file -> what it stands for.
        copies: tied tensors, by canonical name, that files repeat beside their owners.
    """

    place: Callable[[str, str], Place]
    translate: Translation
    copies: tuple[str, ...] = ()


@dataclass(frozen=True)
class Dropped:
    """A tensor of a file that is not among the canonical weights.

    Attributes:
        name: its name in the file.
        kind: says why; completes "a tensor".
    """

    name: str
    kind: str


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


def hugging_face_naming(config: MobileBertConfig) -> Naming:
    """Hugging Face's PyTorch files: canonical names, in a base model's without `mobilebert.`."""
    del config  # these names are the same for all

    def place(name: str, head: str) -> Place:
        return Place(name.removeprefix(schema.PREFIX) if head == "base" else name)

    def translate(name: str) -> FileName:
        if name.endswith("position_ids"):
            return FileName(name, ignored="of position ids, which count from 0")
        for old, new in _OLD_SUFFIXES.items():
            if name.endswith(old):
                name = name.removesuffix(old) + new
        return FileName(schema.PREFIX + name if name.startswith(_PARTS_OF_BASE) else name)

    return Naming(place, translate)


@dataclass(frozen=True, eq=False)
class CanonicalTensors:
    """The tensors of a file, sorted.

    Attributes:
        store: the owned tensors of all heads that the file has.
        origins: canonical name -> where in the file.
        dropped: what the file has beside these.
    """

    store: TensorStore
    origins: Mapping[str, Place]
    dropped: tuple[Dropped, ...]


def canonical_tensors(
    tensors: Mapping[str, StoredTensor],
    translate: Translation,
    config: MobileBertConfig,
    path: Path,
) -> CanonicalTensors:
    """Give the tensors of a file their canonical names.

    Args:
        tensors: the tensors by their names in the file.
        translate: what those names stand for.
        config: decides which names there are.
        path: the file, for errors.

    Raises:
        CheckpointError: lists every unknown tensor, every dtype that is none of weights, every
            name that stands for a tensor already there and every tied pair that disagrees.
    """
    vocabulary = Vocabulary.of(config)
    faults: list[str] = []
    origins, dropped = _sort(tensors, translate, vocabulary, faults)
    found = {name: origin.turned(tensors[origin.name]) for name, origin in origins.items()}
    owners = _owners(found, vocabulary, faults)
    raise_faults(CheckpointError, f"The tensors of {path} are not those of a MobileBERT", faults)
    repeated = found.keys() - set(owners.values())
    dropped += [Dropped(origins[name].name, REPEATED) for name in found if name in repeated]
    return CanonicalTensors(
        TensorStore({owner: found[name] for owner, name in owners.items()}),
        {owner: origins[name] for owner, name in owners.items()},
        tuple(dropped),
    )


def _sort(
    tensors: Mapping[str, StoredTensor],
    translate: Translation,
    vocabulary: Vocabulary,
    faults: list[str],
) -> tuple[dict[str, Place], list[Dropped]]:
    """Where each canonical name is, and what is ignored; the rest is faults."""
    origins: dict[str, Place] = {}
    ignored: list[Dropped] = []
    for name, tensor in tensors.items():
        meaning = translate(name)
        canonical = meaning.canonical
        if meaning.ignored or canonical in vocabulary.unused:
            ignored.append(Dropped(name, meaning.ignored or _UNUSED))
        elif canonical not in vocabulary:
            faults.append(f"unknown: {name} {tensor.shape}")
        elif canonical in origins:
            faults.append(f"twice: {name} stands for {canonical}, which another name stands for")
        elif tensor.dtype not in DTYPES:
            faults.append(f"dtype: {name} is {tensor.dtype}, expected one of {', '.join(DTYPES)}")
        else:
            origins[canonical] = Place(name, meaning.transposed)
    return origins, ignored


def _owners(
    found: Mapping[str, StoredTensor], vocabulary: Vocabulary, faults: list[str]
) -> dict[str, str]:
    """Owner -> the tensor with its values, itself or a copy; copies must not disagree."""
    owners: dict[str, str] = {}
    for owner, copies in vocabulary.owners.items():
        present = [name for name in (owner, *copies) if name in found]
        if not present:
            continue
        first, *others = present
        owners[owner] = first
        faults += [
            f"tied: {name} and {first} differ, expected the same values under both names"
            for name in others
            if not _identical(found[first], found[name])
        ]
    return owners


def _identical(first: StoredTensor, second: StoredTensor) -> bool:
    if (first.shape, first.dtype) != (second.shape, second.dtype):
        return False
    return first.read().tobytes() == second.read().tobytes()


def notes_of(dropped: Iterable[Dropped]) -> tuple[str, ...]:
    """One sentence for each kind of tensor that no model needs."""
    counts = Counter(each.kind for each in dropped if each.kind != REPEATED)
    return tuple(
        f"Ignored {count} tensor{'s' * (count > 1)} {kind}." for kind, count in counts.items()
    )


def tensors_to_write(
    tensors: Mapping[str, StoredTensor],
    naming: Naming,
    config: MobileBertConfig,
    head: str,
) -> dict[str, StoredTensor]:
    """Give the owned tensors of a head their names in a file, and add the copies it repeats."""
    named = {
        spec.name: tensors[spec.tied_to or spec.name]
        for spec in schema.tensors(config, head).values()
        if spec.name in tensors or (spec.name in naming.copies and spec.tied_to in tensors)
    }
    places = {name: naming.place(name, head) for name in named}
    return {place.name: place.turned(named[name]) for name, place in places.items()}
