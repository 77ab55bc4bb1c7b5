"""Names of the parameters of our Flax models: canonical ones with other leaves.

A parameter is named by the path to it in the tree, its keys joined by dots; kernels are (in, out).
The base model's tree has no `mobilebert` at its root. Read next: `flax_msgpack.py`,
`orbax_format.py`.
"""

from mobilebert_core.checkpoints.names import UNKNOWN, FileName, Naming, Place, Vocabulary
from mobilebert_core.config import MobileBertConfig
from mobilebert_core.schema import EXTRA_EMBEDDINGS, PREFIX

# Ending of a canonical name -> its native ending; the first that fits holds.
_ENDINGS = (
    ("_embeddings.weight", "_embeddings.embedding"),
    ("LayerNorm.weight", "LayerNorm.scale"),
    (".weight", ".kernel"),
)
# Levels around a tree of parameters: of Flax's variables, and of nnx.State.
_ROOT, _LEAF = "params.", ".value"


def flax_place(name: str, head: str) -> Place:
    """Where a Flax model has a canonical tensor.

    Args:
        name: canonical name.
        head: name of the head; the base model is its own root.
    """
    path = name.removeprefix(PREFIX) if head == "base" else name
    for ending, native in _ENDINGS:
        if path.endswith(ending):
            path = path.removesuffix(ending) + native
            break
    # The extra block stands as (H - E, V) in the checkpoints, which is (in, out) already.
    return Place(path, path.endswith(".kernel") and name != EXTRA_EMBEDDINGS)


def flax_naming(config: MobileBertConfig) -> Naming:
    """The names in files of Flax models, with or without the levels that libraries put around."""
    vocabulary = Vocabulary.of(config)
    names = (*vocabulary.owners, *vocabulary.copies, *vocabulary.unused)
    meanings = {
        place.name: FileName(name, place.transposed)
        for name in names
        for place in (flax_place(name, "base"), flax_place(name, ""))
    }

    def translate(name: str) -> FileName:
        return meanings.get(name.removeprefix(_ROOT).removesuffix(_LEAF), UNKNOWN)

    return Naming(flax_place, translate)
