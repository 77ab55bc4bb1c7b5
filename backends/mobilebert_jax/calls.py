"""Jitted calls of whole models at the cost of looking, not of taking them apart.

Flattening the modules of 24 layers takes longer than computing a short text. So a model's
structure is kept from call to call, and a call checks that every attribute of every module is
still the same object. Whatever changed (a module, a switch, a mode), the model is flattened anew;
values of parameters are read at each call. Compiled computations belong to the structure, so that
models of one structure share them.
"""

import weakref
from functools import partial
from operator import is_
from typing import Any, NamedTuple

import jax
from flax import nnx
from jax import Array

from mobilebert_core.inputs import Batch


class Structure:
    """Modules, switches and modes of a model: all that a computation depends on but arrays."""

    __slots__ = ("__weakref__", "treedef")

    def __init__(self, treedef: Any) -> None:
        self.treedef = treedef

    def __hash__(self) -> int:
        return hash(self.treedef)

    def __eq__(self, other: object) -> bool:
        # Comparing the modules takes milliseconds, and structures are mostly the same object.
        return self is other or (isinstance(other, Structure) and self.treedef == other.treedef)


class Snapshot(NamedTuple):
    """A model as it was when it was last taken apart.

    Attributes:
        structure: what its computations belong to.
        holders: variables, or arrays that are attributes themselves, in the order of the leaves.
        modules: of every module its attributes, their names and their values.
        drops: whether some dropout is active, so that a call needs a key.
    """

    structure: Structure
    holders: tuple[Any, ...]
    modules: tuple[tuple[dict[str, Any], tuple[str, ...], tuple[Any, ...]], ...]
    drops: bool

    def leaves(self) -> list[Any]:
        """The arrays as they are now."""
        return [
            each.get_raw_value() if isinstance(each, nnx.Variable) else each
            for each in self.holders
        ]

    def is_current(self) -> bool:
        """Whether every attribute of every module is the object that it was."""
        return all(
            tuple(attributes) == names and all(map(is_, attributes.values(), values))
            for attributes, names, values in self.modules
        )


_SNAPSHOTS: weakref.WeakKeyDictionary[nnx.Module, Snapshot] = weakref.WeakKeyDictionary()
_STRUCTURES: weakref.WeakValueDictionary[Structure, Structure] = weakref.WeakValueDictionary()


def snapshot_of(model: nnx.Module) -> Snapshot:
    """The structure of a model and what its arrays are held by; kept while nothing changes."""
    kept = _SNAPSHOTS.get(model)
    if kept is not None and kept.is_current():
        return kept
    modules, holders = _modules(model), _holders(model)
    drops = any(
        isinstance(module, nnx.Dropout) and not module.deterministic and module.rate > 0
        for module in modules
    )
    structure = Structure(jax.tree.structure(model))
    snapshot = Snapshot(
        _STRUCTURES.setdefault(structure, structure),
        tuple(holders),
        tuple((vars(each), tuple(vars(each)), tuple(vars(each).values())) for each in modules),
        drops,
    )
    attributes = {id(value) for module in modules for value in vars(module).values()}
    # What lies in a container of the user's own can change without an attribute changing.
    if all(id(holder) in attributes for holder in holders):
        _SNAPSHOTS[model] = snapshot
    return snapshot


def _holders(model: nnx.Module) -> list[Any]:
    """What holds each leaf: its variable, or the leaf itself where a variable holds several."""
    holders = []
    for each in jax.tree.leaves(model, is_leaf=lambda node: isinstance(node, nnx.Variable)):
        leaves = jax.tree.leaves(each)
        alone = isinstance(each, nnx.Variable) and each.get_raw_value() is leaves[0]
        holders += [each] if alone else leaves
    return holders


def _modules(module: nnx.Pytree) -> list[nnx.Pytree]:
    """A module and all those inside it."""
    found = [module]
    for value in vars(module).values():
        if isinstance(value, nnx.Pytree):
            found += _modules(value)
    return found


@partial(jax.jit, static_argnames=("structure", "collect"))
def compute(
    leaves: list[Array],
    structure: Structure,
    batch: Batch,
    labels: dict[str, Array],
    collect: tuple[str, ...],
    key: Array | None,
) -> Any:
    """The output of the model that leaves and structure make."""
    model = jax.tree.unflatten(structure.treedef, leaves)
    return model.rounded(model.compute(batch, labels, collect, key))


@partial(jax.jit, static_argnames=("structure", "names"))
def loss_and_gradients(
    leaves: list[Array],
    structure: Structure,
    names: tuple[str | None, ...],
    batch: Batch,
    labels: dict[str, Array],
) -> tuple[Array, dict[str, Array]]:
    """The loss of a model without dropout, and its gradient for every leaf that has a name."""

    def loss(trained: dict[str, Array]) -> Array:
        given = zip(names, leaves, strict=True)
        merged = [leaf if name is None else trained[name] for name, leaf in given]
        return compute(merged, structure, batch, labels, (), None).loss

    trained = {name: leaf for name, leaf in zip(names, leaves, strict=True) if name is not None}
    return jax.value_and_grad(loss)(trained)
