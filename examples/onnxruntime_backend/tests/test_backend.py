"""What is this backend's own; the conformance suite holds it to the numbers."""

import math
import subprocess
import sys
from typing import Any

import numpy as np
import onnx
import pytest

import mobilebert
from mobilebert_core import registry
from mobilebert_core.backend import Feature
from mobilebert_core.errors import BackendError, ConfigError, InputError
from mobilebert_core.heads import HEADS
from mobilebert_onnxruntime import BACKEND
from mobilebert_onnxruntime.graph import Graph
from mobilebert_onnxruntime.heads import make_graph
from mobilebert_onnxruntime.layers import gelu, layer_norm

SIZES: dict[str, Any] = {
    "vocab_size": 61,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 20,
    "max_position_embeddings": 19,
    "embedding_size": 10,
    "intra_bottleneck_size": 12,
}


def create(head: str = "base", dtype: str = "float64", **changes: Any) -> Any:
    """A small model of this backend."""
    config = mobilebert.Config(**(SIZES | changes))
    return mobilebert.create(config, head=head, backend="onnxruntime", dtype=dtype)


def evaluate(graph: Graph, result: str, x: Any) -> Any:
    """What a graph of one argument `x` gives."""
    graph.output(result, x.shape)
    return graph.session().run(None, {"x": x})[0]


def test_entry_point_offers_the_description() -> None:
    assert registry.find("onnxruntime") is BACKEND
    assert registry.find("ort") is BACKEND


def test_listing_backends_imports_no_framework() -> None:
    lines = (
        "import sys, mobilebert",
        "assert mobilebert.backends()['onnxruntime'].installed",
        "sys.exit(bool({'onnx', 'onnxruntime'} & sys.modules.keys()))",
    )

    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], check=False)

    assert done.returncode == 0


def test_claims_are_what_the_readme_says() -> None:
    assert registry.get("onnxruntime").features == {
        Feature.FLOAT64,
        Feature.FLOAT32,
        Feature.LOSSES,
        Feature.HIDDEN_STATES,
        Feature.ATTENTIONS,
        Feature.PREDICTION_POSITIONS,
    }


def test_another_backend_stays_the_default() -> None:
    assert registry.default_name() != "onnxruntime"


@pytest.mark.parametrize("head", HEADS)
def test_classes_are_offered_by_the_facade(head: str) -> None:
    model = create(head)

    assert type(model) is getattr(mobilebert, f"OnnxRuntime{HEADS[head].class_name}")


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_narrow_dtypes_are_refused(dtype: str) -> None:
    with pytest.raises(ConfigError, match=f"onnxruntime backend does not compute in {dtype}"):
        create(dtype=dtype)


def test_another_device_is_refused() -> None:
    config = mobilebert.Config(**SIZES)

    with pytest.raises(ConfigError, match="device is 'cuda'; the onnxruntime backend runs on"):
        mobilebert.create(config, backend="onnxruntime", device="cuda")


def test_gradients_are_refused() -> None:
    model = create("masked-lm")
    ids = np.array([[1, 2]])

    with pytest.raises(BackendError, match="onnxruntime backend computes no gradients"):
        registry.get("onnxruntime").loss_and_gradients(model, {"input_ids": ids}, ids)


def test_embeddings_are_refused_with_a_way_out() -> None:
    model = create()
    batch = {"inputs_embeds": np.zeros((1, 3, 10))}

    with pytest.raises(InputError, match=r"inputs_embeds given, but .* pass input_ids"):
        model(**batch)
    with pytest.raises(InputError, match=r"inputs_embeds given, but .* pass input_ids"):
        registry.get("onnxruntime").run(model, batch)


def test_weights_are_no_part_of_the_serialized_graph() -> None:
    config = mobilebert.Config(num_hidden_layers=2)
    model = mobilebert.create(config, head="masked-lm", backend="onnxruntime")

    graph = make_graph(config, "masked-lm", model.parameters, "float32")

    assert sum(array.nbytes for array in model.parameters.values()) > 20_000_000
    assert len(graph.serialize()) < 200_000


@pytest.mark.parametrize("head", HEADS)
def test_graph_is_valid_onnx_and_reads_every_weight(head: str) -> None:
    model = create(head)

    graph = make_graph(model.config, head, model.parameters, "float64")

    complete = onnx.load_from_string(graph.serialize())
    for tensor in complete.graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            array = model.parameters[tensor.name]
            tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    onnx.checker.check_model(complete, full_check=True)
    assert graph.used_weights.keys() == model.parameters.keys()


def test_two_sessions_give_the_same_bits() -> None:
    outputs = [create("masked-lm", "float32")([[5, 6, 7]]).logits.tobytes() for _ in range(3)]

    assert len(set(outputs)) == 1


def test_parameters_cannot_be_changed_behind_the_session() -> None:
    model = create()

    with pytest.raises(ValueError, match="read-only"):
        model.parameters["mobilebert.embeddings.LayerNorm.weight"] += 1


def test_gelu_is_exact_in_float64() -> None:
    graph = Graph({}, "float64")
    x = np.concatenate([np.linspace(-11, 11, 4401), [1e-300, -1e-300, 1e200, -1e200]])
    graph.input("x", x.shape, graph.element_type)

    values = evaluate(graph, gelu(graph, "x"), x)

    expected = np.array([each * 0.5 * math.erfc(-each / math.sqrt(2)) for each in x])
    assert np.abs(values - expected).max() <= 4e-15
    assert (np.abs(values - expected) <= 1e-13 * np.abs(expected)).all()


def test_layer_norm_keeps_epsilon_in_float64() -> None:
    weights = {"norm.weight": np.linspace(1, 2, 24), "norm.bias": np.linspace(-1, 1, 24)}
    graph = Graph(weights, "float64")
    x = 0.05 * np.random.default_rng(0).normal(size=(7, 24))
    graph.input("x", x.shape, graph.element_type)

    values = evaluate(graph, layer_norm(graph, "x", "norm", 1e-3), x)

    centered = x - x.mean(-1, keepdims=True)
    deviation = np.sqrt(np.square(centered).mean(-1, keepdims=True) + 1e-3)
    expected = centered / deviation * weights["norm.weight"] + weights["norm.bias"]
    assert np.abs(values - expected).max() <= 1e-14


def test_layer_norm_is_stable_far_from_zero_in_float32() -> None:
    weights = {"norm.weight": np.ones(24, np.float32), "norm.bias": np.zeros(24, np.float32)}
    graph = Graph(weights, "float32")
    x = (1000 + np.random.default_rng(0).normal(size=(7, 24))).astype(np.float32)
    graph.input("x", x.shape, graph.element_type)

    values = evaluate(graph, layer_norm(graph, "x", "norm", 1e-12), x)

    assert np.abs(values.std(axis=-1) - 1).max() <= 1e-3
