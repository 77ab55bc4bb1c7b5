"""Transformers' TensorFlow MobileBERT (4.57, on Keras 2): what the tests against it share.

`nox -s reference_tf` makes its environment; anywhere else a test file that imports this one is
skipped.
"""

from typing import Any

import pytest

from mobilebert_core.config import MobileBertConfig

tf_keras = pytest.importorskip("tf_keras", reason="the reference runs on Keras 2")
tf = pytest.importorskip("tensorflow", reason="the reference runs on TensorFlow")
transformers = pytest.importorskip("transformers", reason="the reference is not installed")
if int(transformers.__version__.split(".")[0]) >= 5:
    pytest.skip("transformers 5 has no TensorFlow models", allow_module_level=True)


def widen_queries_and_keys(model: Any, config: MobileBertConfig) -> None:
    """Let queries and keys read the hidden states where nothing is shared.

    Slip: it feeds them the H wide states and builds them T wide (decision 1).
    """
    if config.query_input_size != config.true_hidden_size:
        wide = transformers.MobileBertConfig(**model.config.to_dict())
        wide.true_hidden_size = config.query_input_size
        for layer in model.mobilebert.encoder.layer:
            layer.attention.self.config = wide  # read again only when the kernels are made
