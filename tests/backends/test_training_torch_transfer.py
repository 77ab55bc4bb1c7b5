"""Knowledge transfer: the losses against plain formulas, and what each stage trains.

B batch  S sequence  H hidden  A heads  V vocabulary
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import mobilebert  # noqa: E402
from metrics import relative_error  # noqa: E402
from mobilebert_torch.training.objective import (  # noqa: E402
    Objective,
    attention_loss,
    distillation_loss,
    encode,
    feature_map_losses,
)
from mobilebert_training.counting import label_counts, split_batch  # noqa: E402
from mobilebert_training.randomness import generator  # noqa: E402
from mobilebert_training.transfer import STRATEGIES, TransferSettings, plan_stages  # noqa: E402
from training_runs import RandomRows, Run, make_pair, make_trainer  # noqa: E402

Array = np.ndarray[Any, np.dtype[Any]]
CLOSE = 2e-6  # the losses are computed in float32


def two(*shape: int) -> tuple[Array, Array]:
    draw = generator(3)
    return 2 * draw.normal(size=shape) + 0.5, draw.normal(size=shape)


def softmax(scores: Array) -> Array:
    raised = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return raised / raised.sum(axis=-1, keepdims=True)


def expected_feature_map(student: Array, teacher: Array) -> tuple[float, float]:
    def normal(maps: Array) -> Array:
        variance = maps.var(axis=-1, keepdims=True)
        return (maps - maps.mean(axis=-1, keepdims=True)) / np.sqrt(variance + 1e-5)

    means = (student.mean(-1) - teacher.mean(-1)) ** 2
    variances = (student.var(-1) - teacher.var(-1)) ** 2
    discrepancy = ((normal(student) - normal(teacher)) ** 2).mean()
    return float(discrepancy), float(means.mean() + variances.mean())


def expected_attention(student: Array, teacher: Array) -> float:
    return float((teacher * np.log(teacher / student)).sum(axis=-1).mean())


def expected_distillation(student: Array, teacher: Array) -> float:
    return float(-(softmax(teacher) * np.log(softmax(student))).sum(axis=-1).mean())


def tensors(*arrays: Array) -> list[Any]:
    return [torch.tensor(each) for each in arrays]


def test_the_loss_of_feature_maps_is_that_of_the_formula() -> None:
    maps = two(3, 5, 16)
    found = feature_map_losses(*tensors(*maps))
    assert relative_error(np.array(found), np.array(expected_feature_map(*maps))) < CLOSE


def test_the_loss_of_attentions_is_that_of_the_formula() -> None:
    attentions = [softmax(each) for each in two(3, 2, 5, 7)]
    found = attention_loss(*tensors(*attentions))
    assert float(found) == pytest.approx(expected_attention(*attentions), rel=CLOSE)
    assert float(found) > 0


def test_the_loss_of_predictions_is_that_of_the_formula() -> None:
    logits = two(5, 11)
    found = distillation_loss(*tensors(*logits))
    assert float(found) == pytest.approx(expected_distillation(*logits), rel=CLOSE)


def test_losses_of_layers_are_zero_when_both_are_the_same() -> None:
    (maps, _), attention = two(3, 5, 16), softmax(two(3, 2, 5, 5)[0])
    assert [float(each) for each in feature_map_losses(*tensors(maps, maps))] == [0, 0]
    assert float(attention_loss(*tensors(attention, attention))) == 0


def test_the_loss_of_attentions_is_finite_when_tokens_are_hidden() -> None:
    student, teacher = tensors(*(softmax(each) for each in two(3, 2, 5, 5)))
    student[..., 3:], teacher[..., 3:] = 0, 0
    student = (student / student.sum(-1, keepdim=True)).requires_grad_()
    loss = attention_loss(student, teacher / teacher.sum(-1, keepdim=True))
    loss.backward()
    assert float(loss.detach()) > 0
    assert student.grad.isfinite().all()


def setting(head: str, strategy: str) -> tuple[Objective, Any, Any, Any]:
    student, teacher = make_pair(head, strategy)
    transfer = TransferSettings(
        strategy=strategy, feature_map=0.7, statistics=0.3, attention=1.9, distillation=0.4
    )
    rows = RandomRows(head, padded=False).rows(np.arange(6))
    inputs, labels = split_batch(rows, head)
    return Objective(student, teacher, transfer), inputs, labels, transfer


def encoded(model: Any, inputs: Any) -> tuple[list[Array], list[Array]]:
    with torch.no_grad():
        states, attentions = encode(model.mobilebert, model.prepare(inputs)[0], None, True)
    return [each.double().numpy() for each in states], [
        each.double().numpy() for each in attentions
    ]


@pytest.mark.parametrize("head", ["masked-lm", "pretraining"])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_loss_of_every_stage_is_the_sum_of_its_parts(head: str, strategy: str) -> None:
    objective, inputs, labels, transfer = setting(head, strategy)
    counts = label_counts(labels) | {"rows": 6}
    own, its = (encoded(each, inputs) for each in (objective.model, objective.teacher[0]))
    for stage in plan_stages(transfer, 20, 2):
        objective.stage = stage
        wanted = 0.0
        for layer in stage.transferred:
            discrepancy, statistics = expected_feature_map(own[0][layer + 1], its[0][layer + 1])
            wanted += 0.7 * discrepancy + 0.3 * statistics
            wanted += 1.9 * expected_attention(own[1][layer], its[1][layer])
        if stage.predicts:
            wanted += predicted(objective, inputs, labels)
        loss = objective(inputs, labels, counts)
        assert float(loss.detach()) == pytest.approx(wanted, rel=1e-5), stage.name


def predicted(objective: Objective, inputs: Any, labels: Any) -> float:
    """0.4 of the teacher's predictions, 0.6 of the labels', and the pairs."""
    with torch.no_grad():
        outputs = [each(**inputs) for each in (objective.model, objective.teacher[0])]
    pairs = "next_sentence_label" in labels
    names = "prediction_logits" if pairs else "logits"
    logits = [getattr(each, names).double().numpy() for each in outputs]
    counted = labels["labels"] != -100
    student, teacher = (each[counted] for each in logits)
    chances = softmax(student)[np.arange(len(student)), labels["labels"][counted]]
    loss = 0.4 * expected_distillation(student, teacher) - 0.6 * np.log(chances).mean()
    if pairs:
        chances = softmax(outputs[0].seq_relationship_logits.double().numpy())
        loss -= np.log(chances[np.arange(6), labels["next_sentence_label"]]).mean()
    return float(loss)


def snapshot(model: Any) -> dict[str, Array]:
    return {name: each.detach().numpy().copy() for name, each in model.named_parameters()}


def changed(before: dict[str, Array], after: dict[str, Array]) -> set[str]:
    return {name for name in before if (before[name] != after[name]).any()}


@pytest.mark.parametrize("strategy", ["progressive", "joint"])
def test_a_stage_trains_its_layers_and_nothing_else(strategy: str, tmp_path: Path) -> None:
    trainer = make_trainer(Run(tmp_path, "pretraining", {"steps": 10}, strategy=strategy))
    step = 0
    for stage in trainer.stages:
        before = snapshot(trainer.model)
        for _ in range(stage.steps):
            trainer.enter_stage(step)
            trainer.update(step)
            step += 1
        found = changed(before, snapshot(trainer.model))
        layers = [f"encoder.layer.{layer}." for layer in stage.trained or ()]
        learnt = {n for n in before if not layers or any(each in n for each in layers)}
        assert found == learnt, stage.name


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_lowers_its_losses_and_leaves_the_teacher_alone(
    strategy: str, tmp_path: Path
) -> None:
    settings = {"steps": 40, "batch_size": 17, "learning_rate": 1e-2}
    trainer = make_trainer(Run(tmp_path, "pretraining", settings, strategy=strategy))
    (teacher,) = trainer.objective.teacher
    before = snapshot(teacher)
    trainer.train()
    rows = [row for row in trainer.folder.log() if "loss" in row]
    for stage in trainer.stages:
        losses = [row["loss"] for row in rows if row["stage"] == stage.name]
        assert losses[-1] < 0.9 * losses[0], stage.name
    assert not changed(before, snapshot(teacher))
    assert not any(each.requires_grad and each.grad is not None for each in teacher.parameters())


def test_the_optimiser_forgets_at_the_beginning_of_a_stage_and_only_then(tmp_path: Path) -> None:
    trainer = make_trainer(Run(tmp_path, "pretraining", {"steps": 12}, strategy="progressive"))
    second = trainer.stages[0].steps
    assert second > 1
    remembered = []
    for step in range(second + 1):
        trainer.enter_stage(step)
        remembered.append(bool(trainer.optimizer.state))
        trainer.update(step)
    assert remembered == [False, *[True] * (second - 1), False]


def test_the_teacher_is_in_evaluation_mode_while_the_student_trains(tmp_path: Path) -> None:
    student, teacher = make_pair("masked-lm", "auxiliary", dropout=0.5)
    Objective(student, teacher.train(), TransferSettings(strategy="auxiliary"))
    assert not any(each.training for each in teacher.modules())


def test_the_student_begins_with_the_teachers_embeddings_and_head() -> None:
    student, teacher = make_pair("pretraining", "progressive")
    backend = mobilebert.get_backend("torch")
    own, its = backend.weights(student), backend.weights(teacher)
    shared = [n for n in own if n.startswith(("mobilebert.embeddings.", "cls."))]
    for name in shared:
        same = (own[name] == its[name]).all()
        assert same != name.startswith("mobilebert.embeddings.LayerNorm"), name
