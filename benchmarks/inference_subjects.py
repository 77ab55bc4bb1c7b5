"""What `inference.py` compares: for each name a function that loads the checkpoint.

Each gives a call, ids in and logits out as NumPy arrays, and the model itself. Frameworks are
imported inside, for a process has one subject. Read next: `inference_worker.py`.

B batch  S sequence
"""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

HEAD = "sequence-classification"
THREADS = os.cpu_count() or 1

Call = Callable[[np.ndarray[Any, Any]], Any]


def random_ids(shape: tuple[int, int], seed: int = 0) -> np.ndarray[Any, Any]:
    """Ids of ordinary words, (B, S)."""
    return np.random.default_rng(seed).integers(1000, 30000, shape)


def ours(folder: Path, backend: str, *, xla: bool = False, **options: Any) -> tuple[Call, Any]:
    """This library: native arrays in, as a user of the framework has them."""
    import mobilebert

    model = mobilebert.load(folder, backend=backend, **options)
    if xla:
        model.compile(jit_compile=True)
    if backend == "torch":
        import torch

        torch.set_num_threads(THREADS)
        return _torch_call(model, options.get("device")), model
    return lambda ids: np.asarray(model(input_ids=ids).logits), model


def _torch_call(model: Any, device: str | None) -> Call:
    import torch

    def call(ids: np.ndarray[Any, Any]) -> Any:
        with torch.inference_mode():
            tensor = torch.from_numpy(ids).to(device or "cpu")
            return model(input_ids=tensor).logits.float().cpu().numpy()

    return call


def transformers_torch(folder: Path, *, compiled: bool = False, **options: Any) -> tuple[Call, Any]:
    """Transformers 5: eager with its fused attention, or compiled with frozen weights."""
    import torch
    from transformers import MobileBertForSequenceClassification

    torch.set_num_threads(THREADS)
    device = options.pop("device", None)
    if "dtype" in options:
        options["dtype"] = getattr(torch, options["dtype"])
    model = MobileBertForSequenceClassification.from_pretrained(folder, **options)
    model = model.eval().to(device or "cpu")
    if compiled:
        import torch._inductor.config as inductor

        inductor.freezing = device is None  # weights as constants, in the layout a CPU wants
        model = torch.compile(model, dynamic=False)  # the fastest code: for each shape its own
    return _torch_call(model, device), model


def transformers_tf(folder: Path, mode: str) -> tuple[Call, Any]:
    """Transformers 4.57 on TensorFlow, with an interpreter of its own."""
    import tensorflow as tf
    from transformers import TFMobileBertForSequenceClassification

    model = TFMobileBertForSequenceClassification.from_pretrained(folder)
    function: Any = model
    if mode != "eager":
        function = tf.function(lambda ids: model(ids).logits, jit_compile=mode == "xla" or None)

    def call(ids: np.ndarray[Any, Any]) -> Any:
        output = function(tf.constant(ids))
        return np.asarray(output.logits if mode == "eager" else output)

    return call, model


def onnxruntime(folder: Path, file: str) -> tuple[Call, Any]:
    """ONNX Runtime on transformers' export."""
    import onnxruntime as runtime

    options = runtime.SessionOptions()
    options.intra_op_num_threads = THREADS
    session = runtime.InferenceSession(
        str(folder / file), options, providers=["CPUExecutionProvider"]
    )
    return lambda ids: session.run(["logits"], {"input_ids": ids})[0], session


def openvino(folder: Path) -> tuple[Call, Any]:
    """OpenVINO on the same export; one request at a time, in full float32."""
    import openvino as ov

    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": THREADS,
        "INFERENCE_PRECISION_HINT": "f32",
    }
    compiled = ov.Core().compile_model(str(folder / "model.onnx"), "CPU", settings)
    request = compiled.create_infer_request()
    return lambda ids: np.array(request.infer({"input_ids": ids})["logits"]), compiled


def products(folder: Path) -> tuple[Call, Any]:
    """The matrix products of the folded layers and nothing else: the limit."""
    import torch

    from mobilebert_core.config import MobileBertConfig

    torch.set_num_threads(THREADS)
    config = MobileBertConfig.from_dict(json.loads((folder / "config.json").read_text()))
    hidden, width, inner = config.hidden_size, config.true_hidden_size, config.intermediate_size
    networks = [(width, inner), (inner, width)] * config.num_feedforward_networks
    shapes = [(hidden, 4 * width), (width, width), *networks, (width, hidden)]
    layers = [
        [torch.randn(shape) / shape[0] ** 0.5 for shape in shapes]
        for _ in range(config.num_hidden_layers)
    ]
    inputs: dict[tuple[int, int], Any] = {}

    def call(ids: np.ndarray[Any, Any]) -> None:
        tokens = ids.size
        for kernels in layers:
            for kernel in kernels:
                key = tokens, kernel.shape[0]
                if key not in inputs:
                    inputs[key] = torch.randn(key)
                torch.mm(inputs[key], kernel)

    return call, layers


def export(folder: Path) -> None:
    """Write `model.onnx` and `model.int8.onnx` of transformers' model into the folder."""
    import torch
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from transformers import MobileBertForSequenceClassification

    model = MobileBertForSequenceClassification.from_pretrained(folder, attn_implementation="eager")

    class LogitsOnly(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model.eval()

        def forward(self, input_ids: Any) -> Any:
            return self.model(input_ids=input_ids).logits

    torch.onnx.export(
        LogitsOnly(),
        (torch.from_numpy(random_ids((2, 16))),),
        str(folder / "model.onnx"),
        input_names=["input_ids"],
        output_names=["logits"],
        dynamic_axes={"input_ids": {0: "batch", 1: "length"}, "logits": {0: "batch"}},
        opset_version=17,
        dynamo=False,
    )
    quantize_dynamic(
        folder / "model.onnx", folder / "model.int8.onnx", per_channel=True,
        weight_type=QuantType.QInt8,
    )  # fmt: skip


SUBJECTS: dict[str, Callable[[Path], tuple[Call, Any]]] = {
    "matrix products alone": products,
    "transformers eager": transformers_torch,
    "transformers compiled": lambda folder: transformers_torch(folder, compiled=True),
    "ONNX Runtime": lambda folder: onnxruntime(folder, "model.onnx"),
    "ONNX Runtime int8": lambda folder: onnxruntime(folder, "model.int8.onnx"),
    "OpenVINO": openvino,
    "transformers TF eager": lambda folder: transformers_tf(folder, "eager"),
    "transformers TF function": lambda folder: transformers_tf(folder, "function"),
    "transformers TF XLA": lambda folder: transformers_tf(folder, "xla"),
    **{
        f"{backend} {kind}": lambda folder, backend=backend, kind=kind: ours(
            folder, backend, optimize=kind == "folded"
        )
        for backend in ("torch", "tf", "jax", "numpy")
        for kind in ("plain", "folded")
    },
    "tf folded XLA": lambda folder: ours(folder, "tf", xla=True, optimize=True),
    "torch folded bfloat16": lambda folder: ours(folder, "torch", optimize=True, dtype="bfloat16"),
    "torch folded int8": lambda folder: ours(folder, "torch", optimize="int8"),
    "jax folded bfloat16": lambda folder: ours(folder, "jax", optimize=True, dtype="bfloat16"),
}
CUDA: dict[str, Callable[[Path], tuple[Call, Any]]] = {
    f"cuda {name} {dtype}": lambda folder, make=make, dtype=dtype: make(folder, dtype)
    for dtype in ("float32", "bfloat16")
    for name, make in {
        "transformers eager": lambda folder, dtype: transformers_torch(
            folder, device="cuda", dtype=dtype, attn_implementation="sdpa"
        ),
        "transformers compiled": lambda folder, dtype: transformers_torch(
            folder, compiled=True, device="cuda", dtype=dtype, attn_implementation="sdpa"
        ),
        "plain": lambda folder, dtype: ours(folder, "torch", device="cuda", dtype=dtype),
        "folded": lambda folder, dtype: ours(
            folder, "torch", device="cuda", dtype=dtype, optimize=True
        ),
    }.items()
}
TEXT_SUBJECTS = {  # whether all sentences are computed, or a sample of them
    "transformers eager": True,
    "torch folded": True,
    "torch folded int8": False,
    "numpy folded": False,
    "tf folded": False,
    "jax folded": False,
}
