"""The NumPy backend: readable inference, the reference to read beside `model.md`'s formulas."""

from mobilebert_core.backend import BackendInfo

BACKEND = BackendInfo(
    name="numpy",
    implementation="mobilebert_numpy.backend:NumpyBackend",
    requires=("numpy",),
    install="pip install mobilebert",
    class_module="mobilebert_numpy.heads",
    class_prefix="Numpy",
    aliases=("np",),
    priority=10,
)
