"""Law 10: a backend does what it claims and refuses the rest, with everyone's errors."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from mobilebert_conformance.cases import Case
from mobilebert_conformance.records import Record
from mobilebert_conformance.subject import Subject
from mobilebert_core.backend import DTYPES, Feature
from mobilebert_core.errors import ConfigError, InputError, MobileBertError
from mobilebert_core.inputs import read, split_labels
from mobilebert_core.precision import choose_dtype, choose_optimization


def check_features(subject: Subject, case: Case) -> Iterator[Record]:
    """Clauses 10.1 and 10.2: what is claimed works; what is not raises one of our errors.

    Args:
        subject: the backend.
        case: of a head with a loss and with prediction positions.
    """
    for feature in Feature:
        claimed = feature in subject.backend.features
        attempt = _ATTEMPTS[feature]
        fault = ""
        try:
            wrong = attempt(subject, case, feature)
        except MobileBertError as error:
            fault = f"claimed, but raises {type(error).__name__}: {error}" if claimed else ""
        except Exception as error:
            fault = f"raises {type(error).__name__}, expected one of our errors: {error}"
            fault = f"claimed, but {fault}" if claimed else f"not claimed, and {fault}"
        else:
            fault = wrong if claimed else "not claimed, but no error is raised"
        clause = "10.1" if claimed else "10.2"
        yield subject.record(clause, case=case, quantity=feature.value, fault=fault)


def _dtype(subject: Subject, case: Case, feature: Feature) -> str:
    output = subject.backend.run(subject.build(case, feature.value), case.inputs)
    found = {np.asarray(each).dtype.name for each in output.to_tuple()}
    return "" if found == {feature.value} else f"outputs are {', '.join(sorted(found))}"


def _loss(subject: Subject, case: Case, feature: Feature) -> str:
    model = subject.build(case, subject.widest)
    output = subject.backend.run(model, case.inputs, labels=dict(case.labels))
    return "" if output.get("loss") is not None else "the output has no loss"


def _gradients(subject: Subject, case: Case, feature: Feature) -> str:
    model = subject.build(case, subject.widest)
    _, found = subject.backend.loss_and_gradients(model, case.inputs, dict(case.labels))
    return "" if found else "there are no gradients"


def _collected(subject: Subject, case: Case, feature: Feature) -> str:
    name = feature.value.replace(" ", "_")
    model = subject.build(case, subject.widest)
    output = subject.backend.run(model, case.inputs, collect=(name,))
    return "" if output.get(name) else f"the output has no {name}"


def _embeds(subject: Subject, case: Case, feature: Feature) -> str:
    shape = (*case.shape, case.config.embedding_size)
    return _plain(
        subject, case, {"inputs_embeds": np.linspace(-1, 1, np.prod(shape)).reshape(shape)}
    )


def _positions(subject: Subject, case: Case, feature: Feature) -> str:
    chosen = np.zeros((case.shape[0], 2), np.int64)
    return _plain(subject, case, {**case.inputs, "prediction_positions": chosen})


def _plain(subject: Subject, case: Case, inputs: Mapping[str, Any]) -> str:
    output = subject.backend.run(subject.build(case, subject.widest), inputs)
    return "" if len(output) else "the output has no field"


def _reproducible(subject: Subject, case: Case, feature: Feature) -> str:
    dtype = choose_dtype(subject.backend, None, feature.value)
    model = subject.build(case, dtype, precision=feature.value)
    output = subject.backend.run(model, case.inputs)
    found = {np.asarray(each).dtype.name for each in output.to_tuple()}
    return "" if found == {"float32"} else f"outputs are {', '.join(sorted(found))}"


def _optimized(subject: Subject, case: Case, feature: Feature) -> str:
    if not choose_optimization(subject.backend, case.config, True):
        raise ConfigError(f"The {subject.name} backend has no {feature.value} models")
    case = replace(case, optimize=True)
    model = subject.build(case, subject.widest)
    subject.backend.run(model, case.inputs)
    return "" if getattr(model, "optimized", False) else "the model does not say that it is"


_ATTEMPTS: dict[Feature, Callable[[Subject, Case, Feature], str]] = {
    **{Feature(name): _dtype for name in DTYPES},
    Feature.LOSSES: _loss,
    Feature.GRADIENTS: _gradients,
    Feature.HIDDEN_STATES: _collected,
    Feature.ATTENTIONS: _collected,
    Feature.INPUTS_EMBEDS: _embeds,
    Feature.PREDICTION_POSITIONS: _positions,
    Feature.REPRODUCIBLE: _reproducible,
    Feature.OPTIMIZED: _optimized,
}


def bad_calls(case: Case) -> dict[str, tuple[dict[str, Any], Any]]:
    """Inputs and labels of a masked-lm model that every backend must refuse alike."""
    config, ids = case.config, np.asarray(case.inputs["input_ids"])
    rows, length = ids.shape
    good = {"input_ids": ids}
    return {
        "an id beyond the vocabulary": ({"input_ids": ids + config.vocab_size}, None),
        "a negative id": ({"input_ids": ids - config.vocab_size}, None),
        "ids that are no integers": ({"input_ids": ids / 2}, None),
        "an empty batch": ({"input_ids": ids[:0]}, None),
        "ids of one axis": ({"input_ids": ids[0]}, None),
        "no ids": ({}, None),
        "too long": ({"input_ids": np.zeros((2, config.max_position_embeddings + 1), int)}, None),
        "a mask of another shape": (good | {"attention_mask": np.ones((rows, length + 1))}, None),
        "a mask of other values": (good | {"attention_mask": np.full((rows, length), 2)}, None),
        "a token type too large": (
            good | {"token_type_ids": np.full((rows, length), config.type_vocab_size)},
            None,
        ),
        "a position too large": (
            good | {"position_ids": np.full((rows, length), config.max_position_embeddings)},
            None,
        ),
        "a label beyond the classes": (good, {"labels": ids + config.vocab_size}),
        "labels of another shape": (good, {"labels": ids[:, 1:]}),
        "an unknown label": (good, {"start_positions": ids[:, 0]}),
        "an unknown input": (good | {"input_idz": ids}, None),
    }


def check_errors(subject: Subject, case: Case) -> Iterator[Record]:
    """Clause 10.3: wrong calls raise an InputError with the words of the specification."""
    model = subject.model(case, subject.widest)
    for name, (inputs, labels) in bad_calls(case).items():
        if labels is not None and not subject.claims(Feature.LOSSES):
            continue
        expected = _message(partial(_read, case, inputs, labels))
        found = _message(partial(subject.backend.run, model, inputs, labels=labels))
        fault = "" if found == expected and expected else f"{found!r}, expected {expected!r}"
        yield subject.record("10.3", case=case, quantity=name, fault=fault)


def _read(case: Case, inputs: Mapping[str, Any], labels: Any) -> None:
    """The specification of the checks, which every backend shares."""
    read(case.config, case.head, inputs, split_labels(case.head, labels))


def _message(call: Callable[[], Any]) -> str:
    try:
        call()
    except InputError as error:
        return str(error)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""
