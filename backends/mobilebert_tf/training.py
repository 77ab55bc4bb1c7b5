"""What `fit`, `evaluate` and `predict` of Keras need to know about a MobileBERT.

Labels come as `y`, or in `x` under the names of the head's labels. Without a loss in `compile` the
head's own is used; with one, it sees the logits and `y`. Where tokens are labelled, metrics belong
to `weighted_metrics`, which leave out labels of -100.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import keras

from mobilebert_core.errors import InputError
from mobilebert_core.heads import get_head
from mobilebert_core.input_checks import IGNORED_LABEL
from mobilebert_core.outputs import Output

# What each label is held against; a head's only label belongs to its only logits.
_LOGITS = {
    "labels": ("logits", "prediction_logits"),
    "next_sentence_label": ("seq_relationship_logits",),
    "start_positions": ("start_logits",),
    "end_positions": ("end_logits",),
}
_LABELS_OF_TOKENS = ("masked-lm", "token-classification")


class KerasTraining:
    """Mixed into every model, before `keras.Model`."""

    head: str

    def train_step(self, data: Any) -> dict[str, Any]:
        """One step of `fit`; see `keras.Model.train_step`."""
        return super().train_step(self._with_labels(data))

    def test_step(self, data: Any) -> dict[str, Any]:
        """One step of `evaluate`; see `keras.Model.test_step`."""
        return super().test_step(self._with_labels(data))

    def predict_step(self, data: Any) -> Output[Any]:
        """One step of `predict`: everything but the loss, which has no rows to join."""
        output = super().predict_step(data)
        return dataclasses.replace(output, loss=None) if "loss" in output else output

    def make_train_function(self, force: bool = False) -> Any:
        """Compile a step of `fit`; with the optimizer's variables there, it is traced just once.

        Raises:
            ConfigError: the model is optimised.
        """
        self.canonical_only()
        if self.optimizer is not None and not self.optimizer.built:
            self.optimizer.build(self.trainable_variables)
        return super().make_train_function(force)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """The loss that `compile` was given, of the logits; else the head's own."""
        if self._compile_loss is not None:
            labels, logits = self._compared(x, y, y_pred)
            return super().compute_loss(x, labels, logits, sample_weight, training)
        if sample_weight is not None:
            raise InputError(
                "sample_weight or class_weight given, but the model's own loss weighs all rows "
                "alike; pass a loss to compile()"
            )
        if y_pred.get("loss") is None:
            wanted = get_head(self.head).labels
            needs = (
                f"give {' and '.join(wanted)}, in x or as y" if wanted else "pass one to compile()"
            )
            raise InputError(f"The {self.head} model gives no loss here; {needs}")
        losses = (y_pred.loss, *self.losses)  # each scaled for the replicas of a strategy
        return keras.ops.sum([self._aggregate_additional_loss(each) for each in losses])

    def compute_metrics(
        self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None
    ) -> dict[str, Any]:
        """The metrics that `compile` was given, of the logits and the labels in `y` or `x`.

        Labels of -100 have no weight in `weighted_metrics`, where a head labels tokens; Keras gives
        its `metrics` no weights at all, so that there they would count as wrong.
        """
        labels, logits = self._compared(x, y, y_pred)
        if self.head in _LABELS_OF_TOKENS and labels is not None and sample_weight is None:
            counts = keras.ops.not_equal(labels, IGNORED_LABEL)  # (B, S) or (B, P)
            sample_weight = keras.ops.cast(counts, "float32")
            labels = keras.ops.where(counts, labels, keras.ops.zeros_like(labels))
        return super().compute_metrics(x, labels, logits, sample_weight)

    def _with_labels(self, data: Any) -> Any:
        """The data, with `y` among the inputs when the model's own loss needs it there."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        if y is None or self._compile_loss is not None:
            return data
        inputs = x if isinstance(x, Mapping) else {"input_ids": x}
        return {**inputs, **self._named(y)}, None, sample_weight

    def _named(self, y: Any) -> dict[str, Any]:
        """Labels by name; a head with one label needs no name."""
        names = get_head(self.head).labels
        if isinstance(y, Mapping):
            return dict(y)
        if len(names) == 1:
            return {names[0]: y}
        if isinstance(y, list | tuple) and len(y) == len(names):
            return dict(zip(names, y, strict=True))
        raise InputError(f"y is a {type(y).__name__}; the {self.head} model needs {list(names)}")

    def _compared(self, x: Any, y: Any, output: Any) -> tuple[Any, Any]:
        """What a loss or metric compares: labels and logits, by label where there are two."""
        names = get_head(self.head).labels
        if not names:
            return y, dict(output)
        labels = self._named(y) if y is not None else {}
        if isinstance(x, Mapping):
            labels = {name: x[name] for name in names if name in x} | labels
        logits = {
            name: next(output[field] for field in _LOGITS[name] if field in output)
            for name in names
        }
        if len(names) == 1:
            return labels.get(names[0]), logits[names[0]]
        return (labels or None), logits
