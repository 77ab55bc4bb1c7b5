"""The JAX backend: native `flax.nnx` modules, jitted when called, ready for a device mesh."""

from mobilebert_core.backend import BackendInfo

BACKEND = BackendInfo(
    name="jax",
    implementation="mobilebert_jax.backend:JaxBackend",
    requires=("jax", "flax"),
    install='pip install "mobilebert[jax]"',
    class_module="mobilebert_jax.heads",
    class_prefix="Flax",
    aliases=("flax",),
    priority=20,
)
