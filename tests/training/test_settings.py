"""Settings: what is refused, all at once, and the way to JSON and back."""

import dataclasses
import json
from typing import Any

import pytest

from mobilebert_core.errors import ConfigError
from mobilebert_training.settings import TrainingSettings

WRONG: dict[str, list[Any]] = {
    "steps": [0, -1],
    "batch_size": [0],
    "micro_batches": [0, 33],
    "optimizer": ["sgd"],
    "learning_rate": [0.0, -1e-3, float("nan")],
    "schedule": ["step"],
    "warmup": [-0.1, 1.0],
    "weight_decay": [-0.01],
    "betas": [(0.9,), (0.9, 0.99, 0.999), (0.9, 1.0), (-0.1, 0.9)],
    "eps": [0.0],
    "clip_norm": [-1.0],
    "dtype": ["float16"],
    "evaluate_every": [-1],
    "save_every": [-1],
    "keep": [0],
    "patience": [0],
    "log_every": [0],
}
CHANGED = TrainingSettings(
    steps=7,
    batch_size=6,
    micro_batches=3,
    optimizer="lamb",
    learning_rate=3e-3,
    schedule="cosine",
    warmup=0.2,
    weight_decay=0.1,
    betas=(0.8, 0.9),
    eps=1e-8,
    clip_norm=0.5,
    dtype="bfloat16",
    seed=-5,
    evaluate_every=2,
    save_every=3,
    keep=4,
    patience=5,
    log_every=6,
)


@pytest.mark.parametrize(("name", "value"), [(n, each) for n in WRONG for each in WRONG[n]])
def test_a_setting_is_refused_when_it_means_nothing(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"{name} is .*expected"):
        TrainingSettings(**({"steps": 5} | {name: value}))


def test_every_setting_but_the_seed_has_a_rule() -> None:
    names = {each.name for each in dataclasses.fields(TrainingSettings)}
    assert names - WRONG.keys() == {"seed"}


def test_all_faults_are_told_when_there_are_several() -> None:
    with pytest.raises(ConfigError) as caught:
        TrainingSettings(steps=0, keep=0, schedule="none")
    assert all(name in str(caught.value) for name in ("steps is 0", "keep is 0", "schedule is"))


def test_settings_are_the_same_after_json() -> None:
    default = TrainingSettings(steps=1)
    assert all(
        getattr(CHANGED, each.name) != getattr(default, each.name)
        for each in dataclasses.fields(TrainingSettings)
    )
    assert TrainingSettings.from_dict(json.loads(json.dumps(CHANGED.to_dict()))) == CHANGED


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        CHANGED.steps = 8  # type: ignore[misc]
