"""The ONNX Runtime backend: inference on a graph that is built from configuration and weights."""

from mobilebert_core.backend import BackendInfo

BACKEND = BackendInfo(
    name="onnxruntime",
    implementation="mobilebert_onnxruntime.backend:OnnxRuntimeBackend",
    requires=("onnx", "onnxruntime"),
    install="pip install onnx onnxruntime",
    class_module="mobilebert_onnxruntime.models",
    class_prefix="OnnxRuntime",
    aliases=("ort",),
)
