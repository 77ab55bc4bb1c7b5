"""What the eight JAX models share: parameters, input checks and the call.

B batch  C choices  S sequence  P prediction positions  E embedding
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from jax.sharding import Mesh

from mobilebert_core import outputs
from mobilebert_core.backend import NO_FLOAT16
from mobilebert_core.config import MobileBertConfig
from mobilebert_core.errors import ConfigError, InputError
from mobilebert_core.folding import without_encoder
from mobilebert_core.inputs import (
    INPUT_NAMES,
    LABEL_NAMES,
    Batch,
    check_names,
    collected,
    read_call,
)
from mobilebert_core.precision import SMALLEST_FLOAT32
from mobilebert_core.pretrained import GradientCheckpointing, Pretrained, with_call_signature
from mobilebert_jax.calls import compute, snapshot_of
from mobilebert_jax.folded import folded_encoder
from mobilebert_jax.params import load_canonical, owned_parameters
from mobilebert_jax.sharding import annotation, automatic, place_batch, placement


class FlaxMobileBertPreTrainedModel(Pretrained, GradientCheckpointing, nnx.Module):
    """What the eight models share: parameters, input checks and the call.

    Args:
        config: the configuration.
        weights: canonical weights, copied; None makes fresh ones.
        seed: of fresh weights, and of dropout where no `rngs` are given.
        dtype: `float32`, `bfloat16`, or `float64` if JAX is set to compute in it; None is float32.
        device: where the parameters live, e.g. `gpu` or `cpu:1`; None is JAX's default device.
        precision: `reproducible` computes in float64 and rounds outputs to float32, once.
        optimize: True folds the encoder's weights; see `mobilebert.load`.
        rngs: gives the random stream of dropout; a stream of its own is split off.
    """

    backend_name = "jax"
    batching = "shapes"

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "head" in vars(cls):  # a user's subclass keeps its own signature
            cls.__call__ = with_call_signature(cls.__call__, cls.head, ("rngs",))

    def __init__(
        self,
        config: MobileBertConfig,
        *,
        weights: Mapping[str, np.ndarray[Any, Any]] | None = None,
        seed: int = 0,
        dtype: str | None = None,
        device: str | jax.Device | None = None,
        precision: str | None = None,
        optimize: bool | str = False,
        rngs: nnx.Rngs | None = None,
    ) -> None:
        native = jnp.dtype(self.checked_dtype(dtype, precision))
        target = find_device(device)
        weights = self.checked_weights(config, weights, seed)
        self.config, self.precision = config, precision
        self.mesh: Mesh | None = None
        self.make_modules(config, weights)  # no values yet: they come from the weights, one by one
        self.optimized = bool(self.checked_optimization(config, optimize))
        own = without_encoder(weights) if self.optimized else weights
        load_canonical(self, self.head, own, dtype=native, device=target)
        if self.optimized:
            encoder = folded_encoder(config, weights, dtype=native, device=target)
            getattr(self, "mobilebert", self).encoder = encoder
            self.eval()
        streams = nnx.Rngs(dropout=int(seed) & 0xFFFFFFFF) if rngs is None else rngs
        self.rngs = streams.dropout.fork()

    def make_modules(self, config: MobileBertConfig, weights: Mapping[str, Any]) -> None:
        """Create the modules; their parameters are filled in afterwards."""
        raise NotImplementedError

    def compute(
        self,
        batch: Batch,
        labels: dict[str, Array],
        collect: tuple[str, ...],
        key: Array | None = None,
    ) -> outputs.Output[Array]:
        """The head's output dataclass; the key is for dropout, where that is active."""
        raise NotImplementedError

    @property
    def device(self) -> jax.Device | None:
        """Where the parameters live; None when they are spread over several devices."""
        devices = self.get_input_embeddings().embedding.get_value().devices()
        return next(iter(devices)) if len(devices) == 1 else None

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the parameters."""
        return np.dtype(self.get_input_embeddings().embedding.get_value().dtype)

    def get_input_embeddings(self) -> nnx.Embed:
        """The word embeddings."""
        return getattr(self, "mobilebert", self).embeddings.word_embeddings

    def shard(self, mesh: Mesh) -> None:
        """Spread the parameters over a mesh, and from now on the batches of calls.

        Batches are split by row over the axis `data`, parameters over the axis `model`; see
        `sharding.py`. Either may be absent, and what it does not divide is whole on every device.
        Arrays for a training step of your own go on `model.mesh`, whose axes are automatic.

        Args:
            mesh: e.g. `jax.make_mesh((2, 4), ("data", "model"))`.

        Raises:
            ConfigError: the model is optimised.
        """
        self.canonical_only()
        self.mesh = automatic(mesh)
        for name, parameter in owned_parameters(self, self.config, self.head).items():
            value = parameter.get_value()
            target = placement(annotation(name), value.shape, self.mesh)
            parameter.set_value(jax.device_put(value, target))

    @staticmethod
    def to_float32(array: Array) -> Array:
        """See `mobilebert_core.precision.round_output`."""
        small = (jnp.abs(array) < SMALLEST_FLOAT32) & (array != 0)  # zeros keep their gradient
        return jnp.where(small, 0, array).astype(jnp.float32)

    def __call__(
        self,
        input_ids: Any = None,
        attention_mask: Any = None,
        token_type_ids: Any = None,
        position_ids: Any = None,
        inputs_embeds: Any = None,
        *,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        rngs: nnx.Rngs | nnx.RngStream | Array | None = None,
        **options: Any,
    ) -> Any:
        """Run the model on JAX arrays, NumPy arrays or lists, compiled for their shapes.

        Args:
            input_ids: (B, S), or (B, C, S) for multiple choice.
            attention_mask: same shape, 1 where attended; or 4-D. Default: everywhere.
            token_type_ids: same shape. Default: zeros.
            position_ids: same shape. Default: 0, 1, 2, ...
            inputs_embeds: (..., S, E) instead of `input_ids`.
            output_attentions: return the attention probabilities of every layer.
            output_hidden_states: return the hidden states of every layer.
            return_dict: False returns a tuple of the present fields.
            rngs: streams, a stream or a key for the dropout of this call, in place of the
                model's own stream; ignored where no dropout is active.
            **options: the head's labels, and `prediction_positions` (B, P) for masked-lm heads.

        Raises:
            InputError: lists everything that does not fit; the check waits for JAX arrays to be
                computed. Not checked where JAX traces the inputs, whose values are unknown.
            ConfigError: the parameters are float16.
        """
        inputs = {
            "input_ids": input_ids,
            "attention_mask": attention_mask,
            "token_type_ids": token_type_ids,
            "position_ids": position_ids,
            "inputs_embeds": inputs_embeds,
        }
        batch, labels = self.prepare(inputs | options)
        collect = collected(output_hidden_states, output_attentions)
        snapshot = snapshot_of(self)
        key = draw_key(self.rngs if rngs is None else rngs) if snapshot.drops else None
        output = compute(snapshot.leaves(), snapshot.structure, batch, labels, collect, key)
        return output.to_tuple() if return_dict is False else output

    def prepare(self, given: Mapping[str, Any]) -> tuple[Batch, dict[str, Array]]:
        """Check the arguments of a call, make arrays of them and fill in the defaults."""
        given = {name: value for name, value in given.items() if value is not None}
        check_names(self.head, given, INPUT_NAMES + LABEL_NAMES)
        self.refuse_float16()
        if values_are_known(*given.values()):
            given = self.check_values(given)
        else:
            given = {name: jnp.asarray(value) for name, value in given.items()}
        labels = {name: given[name] for name in LABEL_NAMES if name in given}
        source = given["input_ids"] if "input_ids" in given else given["inputs_embeds"][..., 0]
        if "token_type_ids" not in given:
            given["token_type_ids"] = np.zeros(source.shape, np.int32)
        positions = given.get("position_ids", np.arange(source.shape[-1], dtype=np.int32))
        broadcast = jnp.broadcast_to if isinstance(positions, Array) else np.broadcast_to
        given["position_ids"] = broadcast(positions, source.shape)
        if self.mesh is not None and values_are_known(*given.values()):
            given = {name: place_batch(value, self.mesh) for name, value in given.items()}
            labels = {name: given[name] for name in labels}
        return Batch(**{name: given.get(name) for name in INPUT_NAMES}), labels

    def refuse_float16(self) -> None:
        """Raise where a product would be computed in float16, which overflows at 65504."""
        if self.dtype == np.float16:
            raise ConfigError(
                f"The model computes in float16, but {NO_FLOAT16}; use bfloat16 or float32"
            )

    def check_values(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments, checked; what is no JAX array as a NumPy array of one dtype a kind.

        One dtype a kind: int32 and int64 ids must not be compiled for apart.
        """
        views = {name: view(name, value) for name, value in given.items()}
        arrays, targets = read_call(self.config, self.head, views)
        checked = dict(given)
        for name, array in (arrays | targets).items():
            if isinstance(given[name], Array):
                continue
            if name == "attention_mask":
                checked[name] = array.astype(bool)
            elif array.dtype.kind in "biu":
                checked[name] = narrowed(array)
            else:
                wide = np.dtype(jnp.promote_types(self.dtype, jnp.float32))
                checked[name] = array.astype(wide)
        return checked


def values_are_known(*arguments: object) -> bool:
    """Whether a call is an ordinary one: nothing is traced, or lies in another process."""
    return not any(
        isinstance(each, jax.core.Tracer)
        or (isinstance(each, Array) and not each.is_fully_addressable)
        for each in arguments
    )


def view(name: str, value: Any) -> Any:
    """What core can check of an argument: a JAX array's values, of embeddings the shape only."""
    if not isinstance(value, Array):
        return value
    if name == "inputs_embeds" and jnp.issubdtype(value.dtype, jnp.floating):
        return np.broadcast_to(np.zeros((), value.dtype), value.shape)
    return np.asarray(value)


def narrowed(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Integers as int32; those beyond, which only positions of answers may be, at its ends."""
    if not np.can_cast(array.dtype, np.int32):
        own, limits = np.iinfo(array.dtype), np.iinfo(np.int32)
        array = np.clip(array, max(own.min, limits.min), limits.max)
    return array.astype(np.int32)


def find_device(device: str | jax.Device | None) -> jax.Device | None:
    """The device of a name such as `cpu`, `gpu` or `cpu:1`; None stays None.

    Raises:
        ConfigError: JAX does not offer it.
    """
    if device is None or isinstance(device, jax.Device):
        return device
    platform, _, number = str(device).partition(":")
    try:
        offered = jax.devices(platform)
    except RuntimeError as error:
        raise ConfigError(f"device is {device!r}, which JAX does not offer: {error}") from error
    found = [each for each in offered if not number or str(each.id) == number]
    if not found:
        raise ConfigError(
            f"device is {device!r}, which JAX does not offer; it offers "
            f"{', '.join(f'{platform}:{each.id}' for each in offered)}"
        )
    return found[0]


def draw_key(rngs: Any) -> Array:
    """The next key of streams or of a stream, or the key itself.

    Raises:
        InputError: it is none of these.
    """
    if isinstance(rngs, nnx.Rngs):
        return rngs.dropout()
    if isinstance(rngs, nnx.RngStream):
        return rngs()
    if isinstance(rngs, Array):
        return rngs
    raise InputError(
        f"rngs is a {type(rngs).__name__}, expected nnx.Rngs, one of its streams or a JAX key"
    )
