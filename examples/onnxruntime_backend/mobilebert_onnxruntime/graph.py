"""An ONNX graph as it grows, and the session that runs it.

Rules: a value is known by its name, a str. Weights keep their canonical names and layouts. They are
no part of the serialised graph, which could hold 2 GB at most, but are handed to the session.
Read next: `layers.py`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

Array = np.ndarray[Any, np.dtype[Any]]

OPSET = 18  # the first in which ReduceMean takes its axes as an input
IR_VERSION = 8  # its companion: a newer one would only shut out older runtimes
ERRORS_ONLY = 3


class Graph:
    """Nodes, constants and references to weights, in the order in which they are added.

    Arguments:
        weights: canonical weights in the dtype of the computation.
        dtype: `float32` or `float64`.
    """

    def __init__(self, weights: Mapping[str, Array], dtype: str) -> None:
        self.weights = weights
        self.dtype = np.dtype(dtype)
        self.element_type = helper.np_dtype_to_tensor_dtype(self.dtype)
        self.nodes: list[Any] = []
        self.inputs: list[Any] = []
        self.outputs: list[Any] = []
        self.constants: dict[tuple[Any, ...], Any] = {}
        self.used_weights: dict[str, Any] = {}

    def input(self, name: str, shape: Sequence[str | int], element_type: int) -> str:
        """Declare an argument of the graph; a str in its shape names a free size."""
        self.inputs.append(helper.make_tensor_value_info(name, element_type, shape))
        return name

    def output(self, name: str, shape: Sequence[str | int]) -> str:
        """Declare a result: the value that some node calls so."""
        self.outputs.append(helper.make_tensor_value_info(name, self.element_type, shape))
        return name

    def weight(self, name: str) -> str:
        """A canonical weight."""
        if name not in self.used_weights:
            tensor = TensorProto(
                name=name, data_type=self.element_type, dims=self.weights[name].shape
            )
            tensor.data_location = TensorProto.EXTERNAL
            tensor.external_data.add(key="location", value="in memory")
            self.used_weights[name] = tensor
        return name

    def number(self, value: float) -> str:
        """A scalar in the dtype of the computation."""
        return self._constant(np.array(value, self.dtype))

    def integers(self, *values: int) -> str:
        """A vector of integers: axes, shapes, indices."""
        return self._constant(np.array(values, np.int64))

    def _constant(self, value: Array) -> str:
        key = (value.dtype.name, value.shape, value.tobytes())
        if key not in self.constants:
            name = f"constant_{len(self.constants)}"
            self.constants[key] = numpy_helper.from_array(value, name)
        return str(self.constants[key].name)

    def node(
        self, operator: str, *inputs: str, output: str | None = None, **attributes: Any
    ) -> str:
        """Append an operator of ONNX and return the name of its result."""
        name = output or f"{operator}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name

    def serialize(self) -> bytes:
        """The model file, without the weights."""
        initializers = [*self.constants.values(), *self.used_weights.values()]
        graph = helper.make_graph(self.nodes, "MobileBERT", self.inputs, self.outputs, initializers)
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION
        )
        return bytes(model.SerializeToString())

    def session(self) -> onnxruntime.InferenceSession:
        """What runs the graph on the CPU, with its own copy of the weights."""
        options = onnxruntime.SessionOptions()
        options.log_severity_level = ERRORS_ONLY
        options.use_deterministic_compute = True
        names = list(self.used_weights)
        values = [onnxruntime.OrtValue.ortvalue_from_numpy(self.weights[name]) for name in names]
        options.add_external_initializers(names, values)
        return onnxruntime.InferenceSession(
            self.serialize(), options, providers=["CPUExecutionProvider"]
        )
