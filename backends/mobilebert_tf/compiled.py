"""Compiled calls of a model: one graph serves every batch size and length.

Tracing 24 layers takes seconds, so the axes of a graph's inputs are left open. A further graph is
traced only for other kinds of inputs, for training, or for additional outputs.
"""

from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

Signature = tuple[Any, ...]


class CompiledCall:
    """A function on a mapping of tensors, compiled when it is first needed.

    Args:
        function: called with the tensors by name, and with keywords that are no tensors.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._graphs: dict[Signature, Any] = {}

    def __call__(
        self, tensors: Mapping[str, tf.Tensor], *, jit_compile: bool, **options: Any
    ) -> Any:
        """Run the graph for these inputs, through XLA if `jit_compile`."""
        kinds = {name: (each.dtype, each.shape.rank) for name, each in tensors.items()}
        signature = (*sorted(kinds.items()), jit_compile, *sorted(options.items()))
        graph = self._graphs.get(signature)
        if graph is None:
            graph = self._trace(tensors, jit_compile, options)
            self._graphs[signature] = graph
        return graph(dict(tensors))

    def clear(self) -> None:
        """Forget all graphs: the function computes something else now."""
        self._graphs.clear()

    def __len__(self) -> int:
        """How many graphs have been traced."""
        return len(self._graphs)

    def _trace(
        self, tensors: Mapping[str, tf.Tensor], jit_compile: bool, options: dict[str, Any]
    ) -> Any:
        def call(inputs: dict[str, tf.Tensor]) -> Any:
            return self._function(inputs, **options)

        specs = {
            name: tf.TensorSpec([None] * each.shape.rank, each.dtype, name)
            for name, each in tensors.items()
        }
        graph = tf.function(call, autograph=False, jit_compile=jit_compile or None)
        return graph.get_concrete_function(specs)
