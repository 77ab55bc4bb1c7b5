"""How parameters and batches are spread over a mesh with the axes `data` and `model`.

Batches are split by row over `data`. Over `model`, as in Megatron-LM (Shoeybi et al., 2019), the
first half of each pair of products is split by output and the second by input, so that a pair
needs one exchange; tables of the vocabulary are split by token. What no rule names is on every
device. A dimension that the axis does not divide stays whole, and so does one whose axis the mesh
does not have: any mesh is right, only some are faster.
"""

import re
from typing import Any

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

DATA, MODEL = "data", "model"

# Canonical name -> axis of each dimension of the native layout; kernels are (in, out).
_RULES: tuple[tuple[str, tuple[str | None, ...]], ...] = (
    (r"\.word_embeddings\.weight$", (MODEL, None)),
    (r"\.self\.(query|key|value)\.weight$", (None, MODEL)),
    (r"\.self\.(query|key|value)\.bias$", (MODEL,)),
    (r"\.intermediate\.dense\.weight$", (None, MODEL)),
    (r"\.intermediate\.dense\.bias$", (MODEL,)),
    (r"\.layer\..*\.output\.dense\.weight$", (MODEL, None)),
    (r"^cls\.predictions\.dense\.weight$", (None, MODEL)),
    (r"^cls\.predictions\.bias$", (MODEL,)),
)


def annotation(name: str) -> PartitionSpec:
    """The axes of a parameter by canonical name; empty where it is whole on every device."""
    for pattern, axes in _RULES:
        if re.search(pattern, name):
            return PartitionSpec(*axes)
    return PartitionSpec()


def automatic(mesh: Mesh) -> Mesh:
    """The same mesh whose axes leave the sharding of intermediate values to the compiler."""
    return Mesh(mesh.devices, mesh.axis_names, axis_types=(AxisType.Auto,) * len(mesh.axis_names))


def placement(spec: PartitionSpec, shape: tuple[int, ...], mesh: Mesh) -> NamedSharding:
    """Where an array goes: its axes as far as the mesh has them and they divide the dimension."""
    axes = (
        axis if axis in mesh.shape and size % mesh.shape[axis] == 0 else None
        for axis, size in zip(spec, shape, strict=False)
    )
    return NamedSharding(mesh, PartitionSpec(*axes))


def place_batch(value: Any, mesh: Mesh) -> Any:
    """An input or label split by row; what lies on the devices of the mesh stays as it is."""
    sharding = getattr(value, "sharding", None)
    if isinstance(sharding, NamedSharding) and automatic(sharding.mesh) == mesh:
        return jax.device_put(value, NamedSharding(mesh, sharding.spec))  # moves nothing
    if sharding is not None and sharding.device_set == set(mesh.devices.flat):
        return value
    return jax.device_put(value, placement(PartitionSpec(DATA), value.shape, mesh))
