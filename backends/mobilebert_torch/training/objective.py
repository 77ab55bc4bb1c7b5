"""What is minimised: the head's own loss, and with a teacher the losses of knowledge transfer.

B batch  S sequence  H hidden  A heads  P prediction positions  V vocabulary
"""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mobilebert_core.input_checks import IGNORED_LABEL
from mobilebert_core.inputs import Batch
from mobilebert_torch.encoder import Backbone, attention_bias, computing_dtype
from mobilebert_torch.losses import cross_entropy
from mobilebert_training.counting import label_counts
from mobilebert_training.task import Array
from mobilebert_training.transfer import Stage, TransferSettings


class Objective(nn.Module):
    """The loss of a part of a batch, as its share of the whole batch's loss.

    The shares of all parts add up to the loss of the batch, and so do their gradients.

    Args:
        model: what is trained.
        teacher: what it learns from, or None; put into evaluation mode.
        settings: the weights of the losses, where there is a teacher.
    """

    def __init__(
        self, model: Any, teacher: Any = None, settings: TransferSettings | None = None
    ) -> None:
        super().__init__()
        self.model, self.settings = model, settings
        self.teacher = (teacher,)  # in a tuple: no module of ours, its parameters are not trained
        if teacher is not None:
            teacher.eval()
        self.stage = Stage(name="training", steps=1)

    def forward(
        self,
        inputs: Mapping[str, Array],
        labels: Mapping[str, Array] | None = None,
        counts: Mapping[str, int] | None = None,
    ) -> Any:
        """The share of the loss, or without labels the output of the model.

        Args:
            inputs: of the model.
            labels: of its head, with
            counts: how many of them count in the whole batch, and `rows`, its rows.
        """
        if labels is None or counts is None:
            return self.model(**inputs)
        if self.settings is None:
            return self.own_loss(inputs, labels, counts)
        return self.transfer_loss(inputs, labels, counts)

    def own_loss(
        self,
        inputs: Mapping[str, Array],
        labels: Mapping[str, Array],
        counts: Mapping[str, int],
    ) -> Tensor:
        """The loss of the labels alone."""
        if len(labels) == 1:
            ((name, count),) = label_counts(labels).items()
            if count:
                return self.model(**inputs, **labels).loss * (count / counts[name])
            return self.model(**inputs).logits.sum() * 0  # no label here: nothing to learn
        if self.model.head != "pretraining":
            loss: Tensor = self.model(**inputs, **labels).loss
            return loss * (len(next(iter(labels.values()))) / counts["rows"])
        output = self.model(**inputs)
        logits = {
            "labels": output.prediction_logits,
            "next_sentence_label": output.seq_relationship_logits,
        }
        return sum_of_shares(logits, labels, counts)

    def transfer_loss(
        self,
        inputs: Mapping[str, Array],
        labels: Mapping[str, Array],
        counts: Mapping[str, int],
    ) -> Tensor:
        """The losses of the stage: layers, and where it predicts labels and distillation."""
        (teacher,), settings, stage = self.teacher, self.settings, self.stage
        batch, targets = self.model.prepare({**inputs, **labels})
        depth = None if stage.predicts else 1 + max(stage.transferred)
        with torch.no_grad():
            expected = encode(teacher.mobilebert, batch, depth, bool(stage.transferred))
        found = encode(self.model.mobilebert, batch, depth, bool(stage.transferred))
        share = len(batch.token_type_ids) / counts["rows"]
        loss = found[0][-1].sum() * 0
        for layer in stage.transferred:
            maps, wanted = found[0][layer + 1], expected[0][layer + 1]
            discrepancy, statistics = feature_map_losses(maps, wanted)
            attention = attention_loss(found[1][layer], expected[1][layer])
            layer_loss = settings.feature_map * discrepancy + settings.statistics * statistics
            loss = loss + share * (layer_loss + settings.attention * attention)
        if stage.predicts:
            loss = loss + self.prediction_loss(batch, targets, counts, found, expected)
        return loss

    def prediction_loss(
        self,
        batch: Batch,
        targets: dict[str, Tensor],
        counts: Mapping[str, int],
        found: tuple[list[Tensor], list[Tensor]],
        expected: tuple[list[Tensor], list[Tensor]],
    ) -> Tensor:
        """Labels and the teacher's predictions at masked tokens, and the pairs (section 3.4)."""
        (teacher,), weight = self.teacher, self.settings.distillation
        logits = self.model.cls.predictions(found[0][-1], batch.prediction_positions)  # (B, P, V)
        with torch.no_grad():
            wanted = teacher.cls.predictions(expected[0][-1], batch.prediction_positions)
        counted = targets["labels"] != IGNORED_LABEL  # (B, P)
        loss = logits.sum() * 0
        if counted.any():
            distance = distillation_loss(logits[counted], wanted[counted])
            own = cross_entropy(logits, targets["labels"])
            share = int(counted.sum()) / counts["labels"]
            loss = loss + share * (weight * distance + (1 - weight) * own)
        if "next_sentence_label" in targets:
            pooled = self.model.mobilebert.pooler(found[0][-1])
            pairs = self.model.cls.seq_relationship(pooled)  # (B, 2)
            loss = loss + cross_entropy(pairs, targets["next_sentence_label"]) * (
                len(pairs) / counts["next_sentence_label"]
            )
        return loss


def sum_of_shares(
    logits: Mapping[str, Tensor], labels: Mapping[str, Array], counts: Mapping[str, int]
) -> Tensor:
    """The cross-entropies of several labels, each by its share of the whole batch."""
    own = label_counts(labels)
    total = sum(each.sum() * 0 for each in logits.values())
    for name, values in logits.items():
        if own[name]:
            targets = torch.as_tensor(labels[name], device=values.device)
            total = total + cross_entropy(values, targets) * (own[name] / counts[name])
    return total


def encode(
    backbone: Backbone, batch: Batch, depth: int | None, attentions: bool
) -> tuple[list[Tensor], list[Tensor]]:
    """Hidden states (B, S, H), embeddings first, and attentions (B, A, S, S) of the first layers.

    Args:
        backbone: embeddings and layers.
        batch: prepared inputs.
        depth: how many layers; None: all.
        attentions: whether probabilities are wanted, without which a fused kernel is quicker.
    """
    states, probabilities = [backbone.embeddings(batch)], []
    bias = attention_bias(batch.attention_mask, computing_dtype(states[0]))
    for layer in backbone.encoder.layer[:depth]:
        hidden_states, attention = layer(states[-1], bias, not attentions)
        states.append(hidden_states)
        probabilities.append(attention)
    return states, probabilities


def feature_map_losses(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """The discrepancy of two feature maps (B, S, H), in two parts (section 3.4).

    Returns:
        The mean squared difference of the maps, each token's normalised; and that of the tokens'
        means and variances.
    """
    student, teacher = student.float(), teacher.float()
    width = student.shape[-1:]
    normalised = F.mse_loss(F.layer_norm(student, width), F.layer_norm(teacher, width))
    means = F.mse_loss(student.mean(dim=-1), teacher.mean(dim=-1))
    variances = F.mse_loss(student.var(dim=-1, correction=0), teacher.var(dim=-1, correction=0))
    return normalised, means + variances


def attention_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Kullback-Leibler divergence of two attentions (B, A, S, S), mean over rows and heads."""
    tiny = torch.finfo(torch.float32).tiny
    student, teacher = student.float().clamp_min(tiny), teacher.float().clamp_min(tiny)
    return (teacher * (teacher.log() - student.log())).sum(dim=-1).mean()


def distillation_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Cross-entropy of two rows of logits (N, V), the teacher's as the target, mean over N."""
    return F.cross_entropy(student.float(), teacher.float().softmax(dim=-1))
