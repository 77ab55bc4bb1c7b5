"""Gradient checkpointing: a layer's states are computed again in the backward pass, not kept.

N tokens  H hidden  A heads
"""

import keras
import tensorflow as tf


class DrawnSeed(keras.random.SeedGenerator):
    """Stands in for a seed generator that has given its next seed already."""

    def __init__(self, seed: tf.Tensor) -> None:
        self.seed = seed

    def next(self, ordered: bool = True) -> tf.Tensor:
        """The seed."""
        return self.seed


def recompute(
    layer: keras.layers.Layer, tokens: tf.Tensor, bias: tf.Tensor | None, shape: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Run a layer of the encoder in training, and once more in the backward pass.

    The second run must drop the same values: the seeds are drawn before the first one.

    Args:
        layer: called with the other arguments.
        tokens: (N, H).
        bias: of attention, or None.
        shape: [B, S, A, D].
    """
    parts = [each for each in layer._flatten_layers() if isinstance(each, keras.layers.Dropout)]
    parts = [each for each in parts if each.rate > 0]
    generators = [each.seed_generator for each in parts]

    def run(tokens: tf.Tensor, *seeds: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        try:
            for part, seed in zip(parts, seeds, strict=True):
                object.__setattr__(part, "seed_generator", DrawnSeed(seed))
            return layer(tokens, bias, shape, training=True)
        finally:
            for part, generator in zip(parts, generators, strict=True):
                object.__setattr__(part, "seed_generator", generator)

    seeds = [tf.identity(generator.next()) for generator in generators]
    return tf.recompute_grad(run)(tokens, *seeds)
