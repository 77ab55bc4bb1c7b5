"""What `save`, `load_model` and `export` of Keras need to know about a MobileBERT."""

from pathlib import Path
from typing import Any, Self

import keras

from mobilebert_core.config import MobileBertConfig
from mobilebert_core.heads import get_head
from mobilebert_core.initialization import initial_weights


class KerasSaving:
    """Mixed into every model, before `keras.Model`."""

    head: str
    config: MobileBertConfig

    def get_config(self) -> dict[str, Any]:
        """What `from_config` needs, as JSON.

        Raises:
            ConfigError: the model is optimised.
        """
        self.canonical_only()
        return {
            "config": self.config.to_dict(),
            "add_pooling_layer": self.has_pooling_layer,
            "gradient_checkpointing": self.gradient_checkpointing,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
            "precision": self.precision,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Self:
        """A model with fresh weights, as Keras' own models have; `load_model` loads them next."""
        own = MobileBertConfig.from_dict(config["config"])
        pooled = config["add_pooling_layer"]
        weights = initial_weights(own, cls.head, seed=0, add_pooling_layer=pooled)
        policy = keras.dtype_policies.deserialize(config["dtype"])
        known = {"precision": config["precision"]} if config.get("precision") else {}
        model = cls(own, weights=weights, dtype=policy, name=config["name"], **known)
        if config["gradient_checkpointing"]:
            model.gradient_checkpointing_enable()
        return model

    def save_weights(self, *arguments: Any, **options: Any) -> None:
        """Write the variables; see `keras.Model.save_weights`.

        Raises:
            ConfigError: the model is optimised.
        """
        self.canonical_only()
        super().save_weights(*arguments, **options)

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compile as the saved model was; Keras leaves this to a class with its own `compile`."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.optimizer is not None:
            self.optimizer.build(self.trainable_variables)

    def export(
        self,
        filepath: str | Path,
        format: str = "tf_saved_model",
        verbose: bool | None = None,
        input_signature: Any = None,
        **options: Any,
    ) -> None:
        """Write an artifact for inference, e.g. a SavedModel for TensorFlow Serving.

        The SavedModel's default signature takes int64 `input_ids`, `attention_mask` and
        `token_type_ids` of any batch size and length, and gives the head's fields by name.

        Args:
            filepath: where to.
            format: see `keras.Model.export`.
            verbose: whether Keras prints a message.
            input_signature: a list that holds one mapping of `keras.InputSpec` by input name, to
                serve other inputs or other integer types.
            **options: see `keras.Model.export`.
        """
        if input_signature is None:
            shape = (None, None, None) if get_head(self.head).choices else (None, None)
            names = ("input_ids", "attention_mask", "token_type_ids")
            input_signature = [
                {name: keras.InputSpec(shape=shape, dtype="int64", name=name) for name in names}
            ]
        if format != "tf_saved_model":  # those formats know nothing of output dataclasses
            inputs = {
                name: keras.Input(batch_shape=each.shape, dtype=each.dtype, name=name)
                for name, each in input_signature[0].items()
            }
            plain = keras.Model(inputs, dict(self(inputs)))
            plain.export(filepath, format, verbose, input_signature, **options)
            return
        archive = keras.export.ExportArchive()
        archive.track(self)
        archive.add_endpoint("serve", lambda inputs: dict(self(inputs)), input_signature, **options)
        archive.write_out(filepath, verbose=verbose is not False)
