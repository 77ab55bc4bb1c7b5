"""Every backend against transformers' PyTorch MobileBERT, in float64, on its own files."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metrics import output_errors
from mobilebert_conformance.cases import SMALL, VARIANTS, problem_cases, small_config
from mobilebert_core import loading
from mobilebert_core.config import MobileBertConfig
from mobilebert_core.heads import HEADS
from models import random_batch, random_labels
from reference import Reference, make_reference, save_reference

LIMIT = 1e-11
COLLECT = ("hidden_states", "attentions")


@dataclass(frozen=True)
class Saved:
    """A reference, its checkpoint folder and the configuration that is read from there."""

    reference: Reference
    folder: Path
    config: MobileBertConfig


def make_saved(head: str, folder: Path, **changes: Any) -> Saved:
    """A reference with random weights, saved by its own code."""
    reference = make_reference(head, **changes)
    save_reference(reference, folder)
    return Saved(reference, folder, MobileBertConfig.from_json_file(folder / "config.json"))


@pytest.fixture(scope="module")
def references(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Makes each reference once."""
    made: dict[tuple[str, str], Saved] = {}

    def get(head: str, variant: str) -> Saved:
        key = head, variant
        if key not in made:
            folder = tmp_path_factory.mktemp(f"{head}-{variant}")
            made[key] = make_saved(head, folder, **(SMALL | VARIANTS[variant]))
        return made[key]

    return get


# Every head and every variant; their product is the business of the oracle, which is held to the
# same reference, and of the conformance suite.
PAIRS = [(head, "default") for head in HEADS] + [("base", name) for name in VARIANTS]


@pytest.mark.parametrize(("head", "variant"), dict.fromkeys(PAIRS))
def test_outputs_agree_when_transformers_wrote_the_checkpoint(
    head: str, variant: str, backend: Any, references: Any, uncompiled: Any
) -> None:
    saved = references(head, variant)
    batch = random_batch(saved.config, head)
    labels = random_labels(saved.config, head, batch)
    model = loading.load(saved.folder, backend=backend.name)

    with uncompiled(backend):
        output = backend.run(model, batch, labels=labels or None, collect=COLLECT)

    errors = output_errors(output, saved.reference.run(batch, labels))
    assert max(errors.values()) <= LIMIT, errors


@pytest.mark.parametrize("variant", VARIANTS)
def test_configuration_is_read_back_when_transformers_wrote_it(
    variant: str, references: Any
) -> None:
    saved = references("base", variant)

    assert saved.config == small_config(**VARIANTS[variant])


PROBLEM_CASES = {case.name: case for case in problem_cases()}


@pytest.mark.parametrize("name", PROBLEM_CASES)
def test_classification_loss_agrees_for_every_problem_type(
    name: str, backend: Any, tmp_path: Path
) -> None:
    case = PROBLEM_CASES[name]
    problem = {"num_labels": case.config.num_labels, "problem_type": case.config.problem_type}
    saved = make_saved(case.head, tmp_path, **(SMALL | problem))
    model = loading.load(tmp_path, backend=backend.name)

    output = backend.run(model, case.inputs, labels=case.labels, collect=COLLECT)

    errors = output_errors(output, saved.reference.run(case.inputs, case.labels))
    assert max(errors.values()) <= LIMIT, errors
    assert saved.config == model.config == case.config


def test_loss_is_nan_when_every_label_is_ignored(backend: Any, references: Any) -> None:
    saved = references("token-classification", "default")
    batch = random_batch(saved.config, "token-classification")
    labels = {"labels": np.full((3, 11), -100)}
    model = loading.load(saved.folder, backend=backend.name)

    output = backend.run(model, batch, labels=labels)

    assert np.isnan(output["loss"])
    assert np.isnan(saved.reference.run(batch, labels)["loss"])


def test_positions_and_embeddings_agree_when_given(backend: Any, references: Any) -> None:
    saved = references("base", "default")
    config = saved.config
    generator = np.random.default_rng(5)
    batch = {
        "inputs_embeds": generator.normal(size=(2, 7, config.embedding_size)),
        "position_ids": generator.integers(0, config.max_position_embeddings, (2, 7)),
    }
    model = loading.load(saved.folder, backend=backend.name)

    output = backend.run(model, batch, collect=COLLECT)

    errors = output_errors(output, saved.reference.run(batch, {}))
    assert max(errors.values()) <= LIMIT, errors


@pytest.mark.slow
def test_outputs_agree_when_the_model_has_24_layers(
    backend: Any, tmp_path: Path, uncompiled: Any
) -> None:
    saved = make_saved("pretraining", tmp_path)
    batch = random_batch(saved.config, "pretraining")
    labels = random_labels(saved.config, "pretraining", batch)
    model = loading.load(tmp_path, backend=backend.name)

    with uncompiled(backend):
        output = backend.run(model, batch, labels=labels or None, collect=COLLECT)

    errors = output_errors(output, saved.reference.run(batch, labels))
    assert max(errors.values()) <= LIMIT, errors
