"""`train`: what is opened, what is chosen where nothing is said, and what a run is."""

import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import mobilebert
from mobilebert_core.checkpoints import save_checkpoint
from mobilebert_core.errors import BackendError, ConfigError, InputError, MissingDependencyError
from mobilebert_core.initialization import initial_weights
from mobilebert_training.run_description import describe_files, describe_weights
from mobilebert_training.training import train
from mobilebert_training.training_options import choose_settings, sort_options
from small_training import CONFIG, WORDS, opinions, running_text, tiny_model, tiny_tokenizer

FINE, TEXT = "sequence-classification", "masked-lm"
QUICK: dict[str, Any] = {"steps": 2, "batch_size": 4, "device": "cpu", "max_length": 16}
FRESH = r"ignore:.* holds no weights that fit:mobilebert.MobileBertWarning"


@pytest.fixture
def torch_there() -> None:
    pytest.importorskip("torch", reason="PyTorch's trainer is the only one")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return tiny_model(tmp_path / "source")


@pytest.mark.filterwarnings(FRESH)
@pytest.mark.usefixtures("torch_there")
def test_fine_tuning_learns_which_word_is_the_label(tmp_path: Path, source: Path) -> None:
    rows: list[Mapping[str, Any]] = []
    file = opinions(tmp_path)
    found = train(
        FINE,
        file,
        tmp_path / "run",
        validation_files=file,
        model=source,
        steps=40,
        batch_size=16,
        learning_rate=3e-3,
        evaluate_every=20,
        device="cpu",
        listeners=[rows.append],
    )
    assert found.metrics["accuracy"] == 1.0
    assert found.baseline["accuracy"] == 0.5
    assert rows[0] == {
        "event": "begin",
        "folder": str(tmp_path / "run"),
        "step": 0,
        "steps": 40,
        "batch_size": 16,
        "examples": 40,
        "labels": ["bad", "good"],
    }
    assert [row["step"] for row in rows if "metrics" in row] == [20, 40]
    trained = mobilebert.load(found.model, backend="numpy")
    (output,) = mobilebert.predict(
        trained, ["the film was very bad"], tokenizer=mobilebert.load_tokenizer(found.model)
    )
    assert trained.config.id2label[int(output["logits"].argmax())] == "bad"


@pytest.mark.filterwarnings(FRESH)
@pytest.mark.usefixtures("torch_there")
def test_a_finished_run_does_nothing_when_it_is_asked_for_again(
    tmp_path: Path, source: Path, recwarn: pytest.WarningsRecorder
) -> None:
    file = opinions(tmp_path)
    first = train(FINE, file, tmp_path / "run", model=source, **QUICK)
    log = (tmp_path / "run" / "log.jsonl").read_bytes()
    recwarn.clear()
    again = train(FINE, file, tmp_path / "run", model=source, **QUICK)
    assert (first.resumed_from, again.resumed_from) == (0, 2)
    assert again.metrics == first.metrics
    assert (tmp_path / "run" / "log.jsonl").read_bytes() == log
    assert not recwarn.list  # nothing of fresh weights, which the run has replaced long ago


@pytest.mark.filterwarnings(FRESH)
@pytest.mark.usefixtures("torch_there")
def test_a_run_is_the_same_when_paths_are_given_in_another_way(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(FINE, opinions(tmp_path), tmp_path / "run", model=source, **QUICK)
    monkeypatch.chdir(tmp_path)
    again = train(FINE, "opinions.tsv", "run", model="source", **QUICK)
    assert again.resumed_from == 2


@pytest.mark.filterwarnings(FRESH)
@pytest.mark.usefixtures("torch_there")
def test_another_run_in_the_folder_is_refused_and_told_apart(tmp_path: Path, source: Path) -> None:
    file = opinions(tmp_path)
    train(FINE, file, tmp_path / "run", model=source, **QUICK)
    file.write_text(file.read_text().replace("very", "long", 1))
    with pytest.raises(InputError) as caught:
        train(FINE, file, tmp_path / "run", model=source, **QUICK, learning_rate=0.5)
    message = str(caught.value)
    assert "learning_rate was 0.0001, now 0.5" in message
    assert "train_files was ['opinions.tsv sha256:" in message
    assert message.count("\n  - ") == 2


@pytest.mark.usefixtures("torch_there")
def test_fresh_weights_learn_running_text_from_a_teacher(tmp_path: Path) -> None:
    text, held_out = running_text(tmp_path), running_text(tmp_path, "held_out.txt", 12)
    teacher = tiny_model(tmp_path / "teacher", TEXT, seed=1)
    found = train(
        TEXT,
        [text],
        tmp_path / "run",
        validation_files=held_out,
        config=CONFIG,
        tokenizer=tmp_path / "teacher",
        teacher=teacher,
        transfer="progressive",
        **{**QUICK, "steps": 6},
    )
    stages = [
        json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()
    ]
    assert stages[0]["stage"] == "distillation"
    assert set(found.metrics) == {"loss", "perplexity", "accuracy"}
    description = json.loads((tmp_path / "run" / "run.json").read_text())
    assert description["transfer"]["strategy"] == "progressive"
    assert description["teacher"].startswith("teacher sha256:")
    assert description["model"].startswith("fresh sha256:")


@pytest.mark.parametrize(
    ("head", "positions", "words", "told"),
    [
        ("base", 32, 0, "has no masked-lm head, expected one"),
        (TEXT, 8, 0, "rows have 16 tokens, but the teacher reads 8"),
        (TEXT, 32, 1, "has other pieces than the student's"),
    ],
)
@pytest.mark.usefixtures("torch_there")
def test_a_teacher_that_cannot_teach_is_refused_and_nothing_is_written(
    head: str, positions: int, words: int, told: str, tmp_path: Path
) -> None:
    teacher, config = tmp_path / "teacher", CONFIG.replace(max_position_embeddings=positions)
    save_checkpoint(teacher, config, initial_weights(config, head, 1), head)
    tiny_tokenizer(teacher, WORDS[words:] + WORDS[:words])
    with pytest.raises(ConfigError, match=told):
        train(
            TEXT,
            running_text(tmp_path),
            tmp_path / "run",
            config=CONFIG,
            tokenizer=tiny_tokenizer(tmp_path / "pieces"),
            teacher=teacher,
            transfer="distillation",
            **QUICK,
        )
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("torch_there")
def test_too_many_processes_for_a_batch_are_refused_and_nothing_is_written(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mobilebert_torch.training.processes import Processes

    monkeypatch.setattr(Processes, "check_parts", refuse)
    with pytest.raises(ConfigError, match="too few rows"):
        train(FINE, opinions(tmp_path), tmp_path / "run", model=source, **QUICK)
    assert not (tmp_path / "run").exists()


def refuse(*arguments: Any) -> None:
    raise ConfigError("too few rows")


@pytest.mark.parametrize(
    ("head", "given", "expected"),
    [
        (FINE, {}, {"steps": math.ceil(5 * 100 / 32), "evaluate_every": 4, "save_every": 4}),
        (FINE, {"batch_size": 7}, {"steps": math.ceil(5 * 100 / 7), "optimizer": "adamw"}),
        (TEXT, {}, {"steps": math.ceil(10 * 100 / 64), "optimizer": "lamb", "save_every": 500}),
        (TEXT, {"optimizer": "adamw"}, {"learning_rate": 1e-4}),
        (TEXT, {"learning_rate": 0.25}, {"learning_rate": 0.25, "warmup": 0.1}),
    ],
)
def test_settings_suit_the_head_when_nothing_is_said(
    head: str, given: dict[str, Any], expected: dict[str, Any]
) -> None:
    chosen = choose_settings(head, 100, None, None, given, measured=True).to_dict()
    assert {name: chosen[name] for name in expected} == expected


def test_epochs_become_steps_that_are_rounded_up() -> None:
    chosen = choose_settings(FINE, 100, 0.5, None, {"batch_size": 33}, measured=False)
    assert (chosen.steps, chosen.evaluate_every, chosen.save_every) == (2, 0, 500)


@pytest.mark.parametrize(
    ("epochs", "steps", "error"), [(1.0, 3, InputError), (0.0, None, ConfigError)]
)
def test_lengths_that_mean_nothing_are_refused(
    epochs: float, steps: int | None, error: type[Exception]
) -> None:
    with pytest.raises(error, match="epochs is"):
        choose_settings(FINE, 100, epochs, steps, {}, measured=True)


@pytest.mark.parametrize(
    ("given", "measured", "told"),
    [
        ({"patience": 3}, False, "there are no validation data"),
        ({"patience": 3, "evaluate_every": 0}, True, "no evaluations: evaluate_every is 0"),
    ],
)
def test_patience_is_refused_where_nothing_is_measured(
    given: dict[str, Any], measured: bool, told: str
) -> None:
    with pytest.raises(InputError, match=f"patience is 3, but .*{told}"):
        choose_settings(TEXT, 100, None, None, given, measured=measured)


def test_options_are_sorted_into_settings_and_those_of_the_task() -> None:
    given = {"seed": 3, "text_pair": "b", "max_length": 9, "metric": None}
    assert sort_options(FINE, given) == ({"seed": 3}, {"text_pair": "b", "max_length": 9})


def test_unknown_options_are_all_named_with_what_was_meant() -> None:
    with pytest.raises(InputError) as caught:
        sort_options(TEXT, {"learning_rat": 1.0, "text_pair": "b"})
    assert "did you mean 'learning_rate'?" in str(caught.value)
    assert "'text_pair' is no option" in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "error", "told"),
    [
        ({"head": "base"}, ConfigError, "The head base is not trained"),
        ({"backend": "numpy"}, BackendError, "numpy has no trainer"),
        ({"teacher": "there"}, InputError, "transfer is for pretraining"),
        ({"transfer": "joint"}, InputError, "without a teacher"),
        ({"max_length": 33}, InputError, "max_length is 33, expected from 2 to 32"),
        ({"config": "nano"}, InputError, "model is .* and config is given too"),
        ({"config": "nano", "model": None}, InputError, "without a tokenizer"),
        ({"patience": 1, "validation_fraction": 0}, InputError, "patience is 1"),
    ],
)
@pytest.mark.usefixtures("torch_there")
def test_what_does_not_fit_is_refused_and_nothing_is_written(
    changes: dict[str, Any], error: type[Exception], told: str, tmp_path: Path, source: Path
) -> None:
    given = {"head": FINE, "model": source, "steps": 1} | changes
    with pytest.raises(error, match=told):
        train(given.pop("head"), opinions(tmp_path), tmp_path / "run", **given)
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("torch_there")
def test_a_vocabulary_of_another_size_is_refused_but_a_preset_takes_it(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer(tmp_path / "pieces")
    text = running_text(tmp_path)
    with pytest.raises(ConfigError, match="vocab_size is 17, the tokenizer has 16 pieces"):
        train(
            TEXT,
            text,
            tmp_path / "run",
            config=CONFIG.replace(vocab_size=17),
            tokenizer=tokenizer,
        )
    found = train(TEXT, text, tmp_path / "nano", config="nano", tokenizer=tokenizer, **QUICK)
    assert json.loads((found.model / "config.json").read_text())["vocab_size"] == 16


@pytest.mark.usefixtures("torch_there")
def test_a_missing_package_of_the_metrics_is_told_before_anything_is_written(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.metrics", None)  # as if it were not installed
    with pytest.raises(MissingDependencyError, match="need scikit-learn"):
        train(FINE, opinions(tmp_path), tmp_path / "run", model=source, **QUICK)
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("torch_there")
def test_saved_tokenizer_cuts_texts_where_the_models_positions_end(tmp_path: Path) -> None:
    text, own = running_text(tmp_path), tiny_tokenizer(tmp_path / "pieces")
    given: dict[str, Any] = {"config": CONFIG, **QUICK}
    found = train(TEXT, text, tmp_path / "run", tokenizer=tmp_path / "pieces", **given)
    assert own.model_max_length > CONFIG.max_position_embeddings
    assert mobilebert.load_tokenizer(found.model).model_max_length == CONFIG.max_position_embeddings


def test_files_are_told_by_name_and_content(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    digest = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert describe_files(tmp_path / "a") == [f"a {digest}"]
    assert describe_files({"yes": tmp_path / "a"}) == [f"yes=a {digest}"]
    with pytest.raises(InputError, match="b cannot be read"):
        describe_files([tmp_path / "b"])


def test_weights_are_told_by_names_and_values() -> None:
    import numpy as np

    one, two = {"a": np.zeros(2, np.float32)}, {"b": np.zeros(2, np.float32)}
    other = {"a": np.array([0, 1e-30], np.float32)}
    assert len({describe_weights(each) for each in (one, two, other)}) == 3
    assert describe_weights(one) == describe_weights({"a": np.zeros(4, np.float32)[::2]})
