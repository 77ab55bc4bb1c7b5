"""What is special to JAX's folded encoder: no parameters for training code, transformations."""

import copy
import pickle
from typing import Any

import numpy as np
import pytest

jax = pytest.importorskip("jax")
nnx = pytest.importorskip("flax.nnx")

import mobilebert  # noqa: E402
from metrics import token_error  # noqa: E402
from mobilebert_conformance.cases import small_config  # noqa: E402
from mobilebert_conformance.weights import random_weights  # noqa: E402
from mobilebert_core.errors import ConfigError  # noqa: E402
from models import random_batch  # noqa: E402

HEAD = "token-classification"


def build(**options: Any) -> Any:
    config = small_config(HEAD)
    weights = random_weights(config, HEAD)
    return mobilebert.get_backend("jax").build(config, HEAD, weights, optimize=True, **options)


def test_encoder_has_no_parameters() -> None:
    model = build()

    assert not jax.tree.leaves(nnx.state(model.mobilebert.encoder, nnx.Param))
    assert jax.tree.leaves(nnx.state(model.mobilebert.encoder, nnx.Variable))


def test_encoder_of_plain_weights_is_never_filled(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[str] = []

    def load(model: Any, head: str, weights: Any, **options: Any) -> None:
        given.extend(weights)
        original(model, head, weights, **options)

    module = pytest.importorskip("mobilebert_jax.pretrained")
    original = module.load_canonical
    monkeypatch.setattr(module, "load_canonical", load)
    build()

    assert given
    assert not [name for name in given if ".encoder." in name]


def test_model_is_in_evaluation_mode_when_made_by_its_class() -> None:
    config = small_config(HEAD, hidden_dropout_prob=0.5)
    weights = random_weights(config, HEAD)
    backend = mobilebert.get_backend("jax")
    expected = backend.run(backend.build(config, HEAD, weights), random_batch(config, HEAD))

    model = type(build())(config, weights=weights, optimize=True)

    found = model(**random_batch(config, HEAD)).logits
    assert token_error(np.asarray(found), expected.logits) < 1e-5


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_copies_compute_the_same(copied: Any) -> None:
    model = build()
    batch = random_batch(model.config, HEAD)

    assert (copied(model)(**batch).logits == model(**batch).logits).all()


def test_model_is_an_argument_of_jit() -> None:
    model = build()
    batch = random_batch(model.config, HEAD)

    found = nnx.jit(lambda model, batch: model(**batch).logits)(model, batch)

    assert token_error(np.asarray(found), np.asarray(model(**batch).logits)) < 1e-5


def test_vmap_runs_the_model_over_groups_of_texts() -> None:
    model = build()
    batch = random_batch(model.config, HEAD)
    batches = [batch, {name: array[::-1] for name, array in batch.items()}]
    stacked = {name: np.stack([each[name] for each in batches]) for name in batch}

    found = jax.vmap(lambda given: model(**given).logits)(stacked)

    for each, given in zip(found, batches, strict=True):
        assert token_error(np.asarray(each), np.asarray(model(**given).logits)) < 1e-5


def test_shard_is_refused() -> None:
    model = build()

    with pytest.raises(ConfigError, match="optimised"):
        model.shard(jax.make_mesh((1, 1), ("data", "model")))

    assert model.mesh is None
