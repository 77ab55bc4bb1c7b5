"""`mobilebert predict`: what each head says of lines of text."""

import json
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import mobilebert
from mobilebert.cli import app
from mobilebert_conformance.cases import small_config
from mobilebert_core.answer_spans import make_windows
from mobilebert_core.outputs import QuestionAnsweringOutput
from mobilebert_core.prediction import predict
from mobilebert_core.prediction_words import WORDS as PREDICTED
from mobilebert_core.prediction_words import Reader

runner = CliRunner()

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "c", "d"]


@pytest.fixture
def tokenizer() -> Any:
    vocabulary = {word: number for number, word in enumerate(WORDS)}
    return mobilebert.MobileBertTokenizer(vocab=vocabulary, model_max_length=512)


@pytest.fixture
def folder(tmp_path: Path, tokenizer: Any, request: pytest.FixtureRequest) -> Path:
    model = mobilebert.create(small_config(request.param), request.param, "numpy")
    return mobilebert.save(model, tmp_path / "model", tokenizer=tokenizer)


def command(folder: Path, text: str, *options: str) -> list[Any]:
    """The JSON lines that the command prints for a text on standard input."""
    arguments = ["predict", str(folder), "--backend", "numpy", "--json", *options]
    result = runner.invoke(app, arguments, input=text)
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.mark.parametrize("folder", ["sequence-classification"], indirect=True)
def test_it_gives_the_label_of_each_line(folder: Path, tokenizer: Any) -> None:
    texts = ["a b c", "", "d"]
    model = mobilebert.load(folder, backend="numpy")
    expected = [output.logits for output in predict(model, texts, tokenizer=tokenizer)]

    lines = command(folder, "\n".join(texts))

    assert [line["text"] for line in lines] == texts
    for line, logits in zip(lines, expected, strict=True):
        assert line["label"] == model.config.id2label[int(logits.argmax())]
        assert line["score"] == pytest.approx(np.exp(logits).max() / np.exp(logits).sum(), rel=1e-4)


@pytest.mark.parametrize("folder", ["token-classification"], indirect=True)
def test_it_labels_each_word_by_its_first_token(folder: Path) -> None:
    vocabulary = {word: number for number, word in enumerate([*WORDS, "##c"])}
    own = mobilebert.MobileBertTokenizer(vocab=vocabulary)
    own.save_pretrained(folder)
    text = "Ac,\tx b"
    model = mobilebert.load(folder, backend="numpy")
    (output,) = predict(model, [text], tokenizer=own)  # [CLS] a ##c [UNK] [UNK] b [SEP]
    logits = output.logits[[1, 3, 4, 5]].astype(np.float64)  # a , x b
    scores = np.exp(logits).max(axis=1) / np.exp(logits).sum(axis=1)

    (line,) = command(folder, text, "--no-optimize")

    assert [each["word"] for each in line["words"]] == ["Ac", ",", "x", "b"]
    assert [text[each["start"] : each["end"]] for each in line["words"]] == ["Ac", ",", "x", "b"]
    best = [model.config.id2label[each] for each in logits.argmax(axis=1).tolist()]
    assert [each["label"] for each in line["words"]] == best
    assert [each["score"] for each in line["words"]] == pytest.approx(scores, rel=1e-4)


@pytest.mark.parametrize("folder", ["masked-lm"], indirect=True)
def test_it_gives_five_tokens_for_each_mask(folder: Path) -> None:
    config = small_config("masked-lm", vocab_size=len(WORDS))
    model = mobilebert.create(config, "masked-lm", "numpy")
    mobilebert.save(model, folder, tokenizer=mobilebert.load_tokenizer(folder))

    lines = command(folder, "a [MASK] [MASK]\nb\n")

    assert [[len(each) for each in line["masks"]] for line in lines] == [[5, 5], []]
    scores = [each["score"] for each in lines[0]["masks"][0]]
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("folder", ["sequence-classification"], indirect=True)
def test_it_cuts_a_text_that_is_too_long_and_says_so(folder: Path) -> None:
    lines = command(folder, "a\n" + "b " * 30)

    assert [line.get("truncated", False) for line in lines] == [False, True]


@pytest.mark.parametrize("folder", ["sequence-classification"], indirect=True)
def test_it_writes_json_lines_to_a_file(folder: Path, tmp_path: Path) -> None:
    source, target = tmp_path / "texts", tmp_path / "results"
    source.write_text("a\nb\n", encoding="utf-8")

    result = runner.invoke(
        app, ["predict", str(folder), str(source), "--backend", "numpy", "--output", str(target)]
    )

    assert (result.exit_code, result.stdout) == (0, "")
    lines = target.read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["text"] for line in lines] == ["a", "b"]


@pytest.mark.parametrize("folder", ["sequence-classification"], indirect=True)
@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7])
def test_a_label_of_several_holds_from_the_threshold_on(
    folder: Path, tokenizer: Any, threshold: float
) -> None:
    kind = "multi_label_classification"
    config = small_config(problem_type=kind, num_labels=40, initializer_range=0.5)
    model = mobilebert.create(config, "sequence-classification", "numpy")
    mobilebert.save(model, folder, tokenizer=tokenizer)
    (output,) = predict(model, ["a b"], tokenizer=tokenizer)
    held = np.flatnonzero(1 / (1 + np.exp(-output.logits)) > threshold)
    assert 0 < len(held) < 40

    (line,) = command(folder, "a b", "--threshold", str(threshold))

    assert [each["label"] for each in line["labels"]] == [f"LABEL_{each}" for each in held]


@pytest.mark.parametrize("folder", ["next-sentence-prediction"], indirect=True)
def test_it_says_whether_the_second_text_follows(folder: Path, tokenizer: Any) -> None:
    texts = [("a", "b c"), ("d", "d"), ("c b", "a")]
    model = mobilebert.load(folder, backend="numpy")
    logits = [each.logits for each in predict(model, texts, tokenizer=tokenizer)]

    lines = command(folder, "\n".join("\t".join(each) for each in texts))

    expected = [("follows", "does not follow")[int(each.argmax())] for each in logits]
    assert [line["label"] for line in lines] == expected


@pytest.mark.parametrize("folder", ["multiple-choice"], indirect=True)
def test_it_chooses_among_as_many_texts_as_a_line_has(folder: Path, tokenizer: Any) -> None:
    lines = ["a\tb\tc d a\tb b", "d d\ta\tc"]
    model = mobilebert.load(folder, backend="numpy")
    rows = [line.split("\t") for line in lines]
    pairs = [[(text, choice) for choice in choices] for text, *choices in rows]
    best = [int(each.logits.argmax()) for each in predict(model, pairs, tokenizer=tokenizer)]

    found = command(folder, "\n".join(lines))

    assert [each["choice"] for each in found] == best
    assert [each["answer"] for each in found] == [
        row[1 + place] for row, place in zip(rows, best, strict=True)
    ]


@pytest.mark.parametrize("folder", ["question-answering"], indirect=True)
def test_it_answers_with_the_likeliest_words_of_the_passage(folder: Path, tokenizer: Any) -> None:
    question, passage = "a c", "b a,  d c"
    model = mobilebert.load(folder, backend="numpy")
    (output,) = predict(model, [(question, passage)], tokenizer=tokenizer)
    starts, ends = output.start_logits.astype(np.float64), output.end_logits.astype(np.float64)
    first = 4  # [CLS] a c [SEP]
    spans = [(start, end) for start, end in product(range(first, 9), repeat=2) if start <= end]
    start, end = max(spans, key=lambda span: starts[span[0]] + ends[span[1]])
    places = [0, *range(first, 9)]  # [CLS], b a , d c
    total = np.log(np.exp(starts[places]).sum()) + np.log(np.exp(ends[places]).sum())
    characters = {4: (0, 1), 5: (2, 3), 6: (3, 4), 7: (6, 7), 8: (8, 9)}

    (line,) = command(folder, f"{question}\t{passage}")

    expected = (characters[start][0], characters[end][1])
    assert (line["start"], line["end"]) == expected
    assert line["answer"] == passage[slice(*expected)]
    assert line["score"] == pytest.approx(np.exp(starts[start] + ends[end] - total), rel=1e-4)
    assert line["no_answer_score"] == pytest.approx(np.exp(starts[0] + ends[0] - total), rel=1e-4)


@pytest.mark.parametrize("folder", ["question-answering"], indirect=True)
def test_it_looks_for_an_answer_in_all_windows_of_a_long_passage(
    folder: Path, tokenizer: Any
) -> None:
    passage = " ".join(np.random.default_rng(3).choice(WORDS[5:], 90))
    model = mobilebert.load(folder, backend="numpy")
    limit = model.config.max_position_embeddings
    windows = list(make_windows(tokenizer, [("a", passage)], limit))
    rows = [
        {"input_ids": each.input_ids, "token_type_ids": each.token_type_ids} for each in windows
    ]
    best: list[tuple[float, int, int]] = []
    none = []
    for window, output in zip(windows, predict(model, rows), strict=True):
        places = range(window.first, window.first + len(window.offsets))
        starts, ends = output.start_logits.astype(float), output.end_logits.astype(float)
        best += [
            (starts[i] + ends[j], *window.offsets[[i - window.first, j - window.first], [0, 1]])
            for i, j in product(places, repeat=2)
            if i <= j < i + 30
        ]
        kept = [0, *places]
        total = np.log(np.exp(starts[kept]).sum()) + np.log(np.exp(ends[kept]).sum())
        none.append(np.exp(starts[0] + ends[0] - total))
    lines = [f"a\t{passage}", "b\tc", f"a\t{passage}"]

    found = command(folder, "\n".join(lines))

    assert len(windows) > 2
    assert [each["text"] for each in found] == lines
    _, start, end = max(best)
    for each in (found[0], found[2]):
        assert (each["start"], each["end"]) == (start, end)
        assert each["answer"] == passage[start:end]
        assert each["no_answer_score"] == pytest.approx(min(none), rel=1e-4)
    assert found[1]["answer"] == "c"


@pytest.mark.parametrize(
    ("none", "best", "expected"),
    [([8.0, 7.0], [7.9, 2.0], False), ([8.0, 7.0], [6.9, 2.0], True), ([5.0], [6.0], False)],
)
def test_no_answer_must_be_likelier_in_every_window(
    tokenizer: Any, none: list[float], best: list[float], expected: bool
) -> None:
    config = small_config("question-answering", max_position_embeddings=16)
    passage = " ".join("abcd" * 2 ** len(none))
    item = PREDICTED["question-answering"].read(Reader(config, tokenizer), ["a", passage])
    outputs = []
    for row, of_none, of_best in zip(item.rows, none, best, strict=True):
        logits = np.full((2, len(row["input_ids"])), -9.0)
        logits[:, 0] = of_none / 2
        logits[:, 4] = of_best / 2  # the second word of the window
        outputs.append(QuestionAnsweringOutput(start_logits=logits[0], end_logits=logits[1]))

    said = item.describe(outputs)

    assert (said["answer"], said["no_answer"]) == ("b", expected)


@pytest.mark.parametrize(
    ("folder", "line", "expected"),
    [
        ("question-answering", "who?", "a question and a passage, with a tab between them"),
        ("multiple-choice", "a", "a text and its choices, with a tab before each choice"),
        ("next-sentence-prediction", "a", "two texts with a tab between them"),
    ],
    indirect=["folder"],
)
def test_it_says_which_line_has_too_few_texts(folder: Path, line: str, expected: str) -> None:
    arguments = ["predict", str(folder), "--backend", "numpy"]
    result = runner.invoke(app, arguments, input=f"a\tb\n{line}\n")

    assert result.exit_code == 1
    assert len(result.stdout.splitlines()) == 1  # what came before is told
    assert f"Line 2 is '{line}', expected {expected}" in " ".join(result.stderr.split())


@pytest.mark.parametrize("folder", ["question-answering"], indirect=True)
def test_people_see_the_answer_and_whether_there_may_be_none(folder: Path) -> None:
    (line,) = command(folder, "a\tb c d")
    none = line["no_answer_score"]
    also = f", or no answer {none:.3f}" if line["no_answer"] else ""

    arguments = ["predict", str(folder), "--backend", "numpy"]
    result = runner.invoke(app, arguments, input="a\tb c d")

    assert result.stdout == f"{line['answer']} {line['score']:.3f}{also}\ta\tb c d\n"


@pytest.mark.parametrize("folder", ["base"], indirect=True)
def test_it_refuses_a_head_without_words(folder: Path) -> None:
    result = runner.invoke(app, ["predict", str(folder), "--backend", "numpy"], input="a")

    assert result.exit_code == 1
    assert "base" in result.stderr


@pytest.mark.parametrize("folder", ["base"], indirect=True)
def test_a_file_of_results_stays_when_nothing_can_be_said(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "labels.jsonl"
    target.write_text("yesterday's\n")
    arguments = ["predict", str(folder), "--backend", "numpy", "--output", str(target)]
    assert runner.invoke(app, arguments, input="a").exit_code == 1
    assert target.read_text() == "yesterday's\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["labels.jsonl", "model"]


@pytest.mark.parametrize("folder", ["question-answering"], indirect=True)
def test_no_file_is_half_written_when_a_line_is_wrong(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "answers.jsonl"
    arguments = ["predict", str(folder), "--backend", "numpy", "--output", str(target)]
    assert runner.invoke(app, arguments, input="a\tb\nc\n").exit_code == 1
    assert not target.exists()


@pytest.mark.parametrize("folder", ["sequence-classification"], indirect=True)
def test_texts_are_never_replaced_by_what_is_said_of_them(folder: Path, tmp_path: Path) -> None:
    texts, other = tmp_path / "texts.txt", tmp_path / "other.txt"
    texts.write_text("a\n")
    other.symlink_to(texts)
    for output in (texts, other):
        arguments = ["predict", str(folder), str(texts), "--output", str(output)]
        result = runner.invoke(app, arguments)
        assert result.exit_code == 1
        assert "holds the texts and would be replaced" in result.stderr
    assert texts.read_text() == "a\n"


@pytest.mark.parametrize(
    ("file", "output", "told"),
    [
        ("gone.txt", None, "gone.txt is not there"),
        ("model", None, "model is a folder"),
        ("-", "model", "model is a folder"),
        ("-", "gone/results", "has no folder"),
    ],
)
@pytest.mark.parametrize("folder", ["sequence-classification"], indirect=True)
def test_places_that_are_none_are_refused(
    folder: Path, tmp_path: Path, file: str, output: str | None, told: str
) -> None:
    given = file if file == "-" else str(tmp_path / file)
    more = [] if output is None else ["--output", str(tmp_path / output)]
    result = runner.invoke(app, ["predict", str(folder), given, *more])
    assert result.exit_code == 1
    assert told in result.stderr


@pytest.mark.parametrize("folder", ["sequence-classification"], indirect=True)
@pytest.mark.parametrize("standard", [True, False])
def test_a_line_ends_where_editors_end_it(folder: Path, tmp_path: Path, standard: bool) -> None:
    content = "\ufeffa\r\nb\u2028\x0cc\rd\n\n".encode()
    (tmp_path / "texts.txt").write_bytes(content)
    place = "-" if standard else str(tmp_path / "texts.txt")
    arguments = ["predict", str(folder), place, "--backend", "numpy", "--json"]
    result = runner.invoke(app, arguments, input=content)
    lines = [json.loads(line)["text"] for line in result.stdout.split("\n")[:-1]]
    assert lines == ["a", "b\u2028\x0cc\rd", ""]


@pytest.mark.parametrize("folder", ["sequence-classification"], indirect=True)
def test_a_cut_text_is_told_to_people_too(folder: Path) -> None:
    arguments = ["predict", str(folder), "--backend", "numpy"]
    result = runner.invoke(app, arguments, input="a\n" + "b " * 30)
    assert "Note: 1 of the texts were longer" in result.stderr


@pytest.mark.parametrize("folder", ["question-answering"], indirect=True)
def test_a_question_that_is_cut_is_told(folder: Path) -> None:
    lines = command(folder, "a b\tc\n" + "a " * 30 + "\tc\n")
    assert [line.get("truncated", False) for line in lines] == [False, True]


@pytest.mark.parametrize("folder", ["multiple-choice", "question-answering"], indirect=True)
def test_what_a_tokenizer_usually_returns_changes_nothing(folder: Path) -> None:
    text = (
        "a b\tc d a\tb" if "MultipleChoice" in (folder / "config.json").read_text() else "a b\tc d"
    )
    before = command(folder, text)
    settings = folder / "tokenizer_config.json"
    changes = {"padding_side": "left", "model_input_names": ["input_ids"]}
    settings.write_text(json.dumps({**json.loads(settings.read_text()), **changes}))
    assert command(folder, text) == before
