"""The strategies of knowledge transfer as stages of a run (Sun et al., 2020, section 3.5).

- `auxiliary` (AKT): one stage; what is predicted and all layers at once.
- `joint` (JKT): all layers at once, then pretraining distillation.
- `progressive` (PKT): layer by layer, the layers below frozen, then pretraining distillation.
- `distillation`: no layers, only what the teacher predicts.

JKT and PKT copy the teacher's embeddings and masked-lm head first and leave them alone while layers
are transferred. Google's code compares the statistics of feature maps with those of every layer
and divides hidden states by the temperature; here, as in the paper, a layer is compared with its
own counterpart and nothing is divided.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mobilebert_core.config import MobileBertConfig
from mobilebert_core.errors import ConfigError, raise_faults

Array = np.ndarray[Any, np.dtype[Any]]

STRATEGIES = ("auxiliary", "joint", "progressive", "distillation")
_COPIED = ("vocab_size", "embedding_size", "hidden_size", "max_position_embeddings",
           "type_vocab_size", "trigram_input")  # fmt: skip
_EMBEDDINGS = "mobilebert.embeddings."
_PROBES = 2048  # tokens at which the scale of the teacher's embeddings is measured
_MATCHED = ("num_hidden_layers", "num_attention_heads", "hidden_size")


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A part of a run with one objective.

    Attributes:
        name: for the log.
        steps: how many updates.
        transferred: layers whose feature maps and attention are compared, from 0.
        trained: layers that learn; None: the whole model.
        predicts: whether labels count too, and the teacher's predictions.
    """

    name: str
    steps: int
    transferred: tuple[int, ...] = ()
    trained: tuple[int, ...] | None = None
    predicts: bool = True


@dataclass(frozen=True, kw_only=True)
class TransferSettings:
    """How a student learns from a teacher.

    Attributes:
        strategy: one of `STRATEGIES`.
        transfer_fraction: of the steps, that JKT and PKT spend on layers.
        distillation: weight of the teacher's predictions; 1 minus it is that of the labels.
        feature_map: weight of the feature maps' normalised discrepancy.
        statistics: weight of the discrepancy of their means and variances.
        attention: weight of the attention's.
    """

    strategy: str = "progressive"
    transfer_fraction: float = 0.4
    distillation: float = 0.5
    feature_map: float = 1.0
    statistics: float = 1.0
    attention: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what means nothing."""
        faults = []
        if self.strategy not in STRATEGIES:
            faults.append(f"strategy is {self.strategy!r}, expected one of {', '.join(STRATEGIES)}")
        if not 0 < self.transfer_fraction < 1:
            faults.append(
                f"transfer_fraction is {self.transfer_fraction}, expected above 0, below 1"
            )
        if not 0 <= self.distillation <= 1:
            faults.append(f"distillation is {self.distillation}, expected from 0 to 1")
        for name in ("feature_map", "statistics", "attention"):
            if getattr(self, name) < 0:
                faults.append(f"{name} is {getattr(self, name)}, expected at least 0")
        raise_faults(ConfigError, "The settings of knowledge transfer are invalid", faults)

    @property
    def copies_embeddings(self) -> bool:
        """Whether the student starts with the teacher's embeddings and masked-lm head."""
        return self.strategy in ("joint", "progressive")


def plan_stages(settings: TransferSettings | None, steps: int, num_layers: int) -> list[Stage]:
    """The stages of a run; without a teacher there is one.

    Raises:
        ConfigError: there are fewer steps than stages.
    """
    layers = tuple(range(num_layers))
    if settings is None:
        return [Stage(name="training", steps=steps)]
    if settings.strategy == "distillation":
        return [Stage(name="distillation", steps=steps)]
    if settings.strategy == "auxiliary":
        return [Stage(name="auxiliary", steps=steps, transferred=layers)]
    on_layers = round(steps * settings.transfer_fraction)
    parts = 1 if settings.strategy == "joint" else num_layers
    if on_layers < parts or steps <= on_layers:
        raise ConfigError(
            f"{steps} steps with a transfer_fraction of {settings.transfer_fraction} give "
            f"{on_layers} for {parts} stages of layers and {steps - on_layers} for distillation, "
            "expected at least one for each; give more steps"
        )
    if parts == 1:
        stages = [Stage(name="layers", steps=on_layers, transferred=layers, trained=layers,
                        predicts=False)]  # fmt: skip
    else:
        ends = [round(on_layers * (layer + 1) / parts) for layer in layers]
        stages = [
            Stage(
                name=f"layer {layer}",
                steps=end - start,
                transferred=(layer,),
                trained=(layer,),
                predicts=False,
            )
            for layer, start, end in zip(layers, [0, *ends], ends, strict=False)
        ]
    return [*stages, Stage(name="distillation", steps=steps - on_layers)]


def check_pair(
    student: MobileBertConfig,
    teacher: MobileBertConfig,
    settings: TransferSettings,
    length: int = 0,
) -> None:
    """Refuse a teacher whose layers, or whose copied parts, do not fit the student's.

    Args:
        student: its configuration.
        teacher: likewise.
        settings: how the teacher is learnt from.
        length: tokens of a row, which both read.

    Raises:
        ConfigError: lists what differs.
    """
    names: tuple[str, ...] = ("vocab_size",)
    if settings.strategy != "distillation":
        names += _MATCHED
    if settings.copies_embeddings:
        names += _COPIED
    faults = [
        f"{name} is {getattr(student, name)}, the teacher's {getattr(teacher, name)}"
        for name in dict.fromkeys(names)
        if getattr(student, name) != getattr(teacher, name)
    ]
    if teacher.type_vocab_size < student.type_vocab_size and "type_vocab_size" not in names:
        faults.append(
            f"the teacher tells {teacher.type_vocab_size} kinds of texts apart, the student "
            f"{student.type_vocab_size}"
        )
    if teacher.max_position_embeddings < length:
        faults.append(
            f"rows have {length} tokens, but the teacher reads {teacher.max_position_embeddings}; "
            "give a smaller max_length"
        )
    raise_faults(ConfigError, "The student does not fit its teacher", faults)


def stage_at(stages: list[Stage], step: int) -> tuple[int, int]:
    """Which stage a step belongs to, and how many steps of it came before."""
    for number, stage in enumerate(stages):
        if step < stage.steps:
            return number, step
        step -= stage.steps
    return len(stages) - 1, stages[-1].steps


def copy_from_teacher(
    student_config: MobileBertConfig,
    student_weights: Mapping[str, Array],
    teacher_config: MobileBertConfig,
    teacher_weights: Mapping[str, Array],
) -> dict[str, Array]:
    """The student's weights with the teacher's embeddings and head.

    A teacher with layer normalisation divides embeddings by their deviation; a student without
    multiplies by the mean of what the teacher divides by, measured on random tokens, and so begins
    at the teacher's scale.

    Args:
        student_config: of the student.
        student_weights: canonical, of its whole model.
        teacher_config: of the teacher.
        teacher_weights: canonical.
    """
    weights = dict(student_weights)
    for name, values in teacher_weights.items():
        is_shared = name.startswith((_EMBEDDINGS, "cls."))
        if is_shared and name in weights and weights[name].shape == values.shape:
            weights[name] = values
    norms = (student_config.normalization_type, teacher_config.normalization_type)
    if norms == ("no_norm", "layer_norm"):
        mean, deviation = _embedding_scale(teacher_config, teacher_weights)
        scale, shift = (f"{_EMBEDDINGS}LayerNorm.{each}" for each in ("weight", "bias"))
        gamma = teacher_weights[scale] / deviation
        weights[scale] = gamma.astype(teacher_weights[scale].dtype)
        weights[shift] = (teacher_weights[shift] - gamma * mean).astype(weights[scale].dtype)
    return weights


def _embedding_scale(config: MobileBertConfig, weights: Mapping[str, Array]) -> tuple[float, float]:
    """Mean and deviation of a token's embedding before its normalisation, means over tokens."""
    draw = np.random.default_rng(0)
    table = weights[f"{_EMBEDDINGS}word_embeddings.weight"].astype(np.float64)  # (V, E)
    times = 3 if config.trigram_input else 1
    words = table[draw.integers(0, len(table), (_PROBES, times))].reshape(_PROBES, -1)
    kernel = weights.get(f"{_EMBEDDINGS}embedding_transformation.weight")
    if kernel is not None:
        words = words @ kernel.T + weights[f"{_EMBEDDINGS}embedding_transformation.bias"]
    positions = weights[f"{_EMBEDDINGS}position_embeddings.weight"]  # (positions, H)
    types = weights[f"{_EMBEDDINGS}token_type_embeddings.weight"]  # (2, H)
    sums = words + positions[draw.integers(0, len(positions), _PROBES)] + types[0]
    return float(sums.mean()), float(sums.std(axis=1).mean())
