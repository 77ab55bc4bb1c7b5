"""The values that options of `mobilebert train` may have, as the library names them."""

from enum import StrEnum


class Head(StrEnum):
    """What is trained."""

    MASKED_LM = "masked-lm"
    PRETRAINING = "pretraining"
    NEXT_SENTENCE_PREDICTION = "next-sentence-prediction"
    SEQUENCE_CLASSIFICATION = "sequence-classification"
    MULTIPLE_CHOICE = "multiple-choice"
    TOKEN_CLASSIFICATION = "token-classification"
    QUESTION_ANSWERING = "question-answering"


class Strategy(StrEnum):
    """How a teacher is learnt from."""

    PROGRESSIVE = "progressive"
    JOINT = "joint"
    AUXILIARY = "auxiliary"
    DISTILLATION = "distillation"


class Optimizer(StrEnum):
    """What updates the parameters."""

    ADAMW = "adamw"
    LAMB = "lamb"


class Schedule(StrEnum):
    """What follows the warm-up."""

    LINEAR = "linear"
    COSINE = "cosine"
    CONSTANT = "constant"


class Dtype(StrEnum):
    """What products are computed in."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


class Parallel(StrEnum):
    """What the processes of torchrun share."""

    DDP = "ddp"
    FSDP = "fsdp"


class ProblemType(StrEnum):
    """What a label is."""

    SINGLE = "single_label_classification"
    SEVERAL = "multi_label_classification"
    NUMBER = "regression"


class Format(StrEnum):
    """What a file of examples holds."""

    TSV = "tsv"
    CSV = "csv"
    JSONL = "jsonl"
    CONLL = "conll"
    JSON = "json"
