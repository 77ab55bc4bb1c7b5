"""The TensorFlow backend: native Keras 3 models that train with `fit` and export as SavedModels."""

from mobilebert_core.backend import BackendInfo

BACKEND = BackendInfo(
    name="tf",
    implementation="mobilebert_tf.backend:TFBackend",
    requires=("tensorflow", "keras"),
    install='pip install "mobilebert[tf]"',
    class_module="mobilebert_tf.heads",
    class_prefix="TF",
    aliases=("tensorflow",),
    priority=30,
)
