"""The process of one subject of `inference.py`.

`python inference_worker.py NAME FOLDER` reads one JSON object a line from standard input
(`{"shape": [1, 128], "seconds": 0.2}`, the same with `"logits": true`, or `{"texts": [...]}`) and
answers with one line each. A process of its own keeps thread pools, memory and versions of subjects
apart. `export` for NAME writes the ONNX files into the folder.
"""

import contextlib
import importlib.metadata
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from inference_subjects import CUDA, SUBJECTS, Call, export, random_ids
from subjects import memory

PACKAGES = ("torch", "transformers", "tensorflow", "jax", "numpy", "onnxruntime", "openvino")
MOST = 20  # calls of a turn


def predictor(name: str, model: Any, folder: Path) -> Callable[[list[str]], list[Any]]:
    """Texts to results: the pipeline of transformers, or `mobilebert.predict`."""
    if name.startswith("transformers"):
        from transformers import BertTokenizerFast, pipeline

        tokenizer = BertTokenizerFast(str(folder / "vocab.txt"))
        classify = pipeline("text-classification", model=model, tokenizer=tokenizer)
        return lambda texts: list(classify(texts, batch_size=32, truncation=True))
    import mobilebert

    own = mobilebert.load_tokenizer(folder)
    return lambda texts: list(mobilebert.predict(model, texts, tokenizer=own, progress=False))


def score(result: Any) -> float:
    """The probability of the second label, from either kind of result."""
    if isinstance(result, dict):
        likely = float(result["score"])
        return likely if result["label"] == "LABEL_1" else 1 - likely
    first, second = np.asarray(result.logits, np.float64)
    return float(1 / (1 + np.exp(first - second)))


def timed_calls(call: Call, ids: np.ndarray[Any, Any], seconds: float) -> list[float]:
    """Times of calls for about so many seconds; one that is short and the first is left out.

    The first call of a turn finds the caches full of another subject's weights.
    """
    times: list[float] = []
    while len(times) <= MOST and (not times or sum(times[1:]) < seconds):
        started = time.perf_counter()
        call(ids)
        times.append(time.perf_counter() - started)
        if times[0] >= seconds:
            return times
    return times[1:]


def serve(name: str, folder: Path) -> None:
    """Load the model, then answer requests until the input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer

    def answer(**fields: Any) -> None:
        print(json.dumps(fields), file=answers, flush=True)

    started = time.perf_counter()
    call, model = {**SUBJECTS, **CUDA}[name](folder)
    answer(load=time.perf_counter() - started, versions=versions())
    predict = None
    for line in sys.stdin:
        request = json.loads(line)
        if "texts" in request:
            predict = predict or predictor(name, model, folder)
            started = time.perf_counter()
            found = predict(request["texts"])
            seconds = time.perf_counter() - started
            answer(seconds=seconds, scores=[score(each) for each in found])
            continue
        ids = random_ids(tuple(request["shape"]))
        if "logits" in request:
            logits = call(ids)
            answer(logits=None if logits is None else np.asarray(logits, np.float64).tolist())
        else:
            answer(times=timed_calls(call, ids, request["seconds"]), memory=memory("VmHWM"))


def versions() -> dict[str, str]:
    """Of the packages that matter, where installed."""
    found = {}
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


if __name__ == "__main__":
    if sys.argv[1] == "export":
        export(Path(sys.argv[2]))
    else:
        serve(sys.argv[1], Path(sys.argv[2]))
