"""`mobilebert fill-mask`, and the commands that take the packaged model."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import mobilebert
from mobilebert.cli import app

TEXT = "The [MASK] was dark."
TWO = "The [MASK] was a dark [MASK]."

runner = CliRunner()


def run(*arguments: str, lines: str | None = None) -> tuple[int, str, str]:
    result = runner.invoke(app, list(arguments), input=lines, catch_exceptions=False)
    return result.exit_code, result.stdout, result.stderr


def test_fill_mask_shows_words_and_the_texts_that_they_make() -> None:
    code, output, _ = run("fill-mask", TEXT, "--top", "3")
    (found,) = mobilebert.fill_mask(TEXT, backend="numpy", top=3)
    assert code == 0
    assert TEXT in output
    for each in found.masks[0]:
        assert f"{each.probability:.1%}" in output
        assert each.text in output


def test_fill_mask_numbers_the_masks_when_there_are_several() -> None:
    _, output, _ = run("fill-mask", TWO, "--top", "2")
    firsts = [line.split()[0] for line in output.splitlines() if line.strip()]
    assert [each for each in firsts if each.isdigit()] == ["1", "2"]
    assert "[MASK]   word" in output


def test_fill_mask_is_json_when_asked() -> None:
    code, output, _ = run("fill-mask", TEXT, TWO, "--top", "2", "--json")
    values = json.loads(output)
    found = mobilebert.fill_mask([TEXT, TWO], backend="numpy", top=2)
    assert code == 0
    assert [each["filled"] for each in values] == [each.filled for each in found]
    assert [[[word["token"] for word in words] for words in each["masks"]] for each in values] == [
        [[word.token for word in words] for words in each.masks] for each in found
    ]


def test_fill_mask_reads_lines_when_no_text_is_given() -> None:
    code, output, _ = run("fill-mask", "--json", lines=f"{TEXT}\n\n  \n{TWO}\n")
    assert code == 0
    assert [each["text"] for each in json.loads(output)] == [TEXT, TWO]


def test_fill_mask_is_wrong_usage_when_there_is_no_text_at_all() -> None:
    code, _, error = run("fill-mask", lines="\n")
    assert code == 2
    assert "holds no text" in error


def test_fill_mask_leaves_continuations_out_when_asked() -> None:
    _, output, _ = run("fill-mask", TEXT, "--top", "8000", "--whole-words", "--json")
    words = [each["token"] for each in json.loads(output)[0]["masks"][0]]
    assert words
    assert not [each for each in words if each.startswith("##")]


def test_fill_mask_names_the_text_without_a_mask() -> None:
    code, output, error = run("fill-mask", TEXT, "nothing here")
    assert (code, output) == (1, "")
    assert "'nothing here', has no [MASK]" in error


def test_fill_mask_takes_another_model(tmp_path: Path) -> None:
    tokenizer = mobilebert.load_tokenizer()
    config = mobilebert.Config.preset("nano", num_hidden_layers=1)
    made = mobilebert.create(config, "masked-lm", "numpy", seed=5)
    mobilebert.save(made, tmp_path / "model", tokenizer=tokenizer)
    _, output, _ = run("fill-mask", TEXT, "--model", str(tmp_path / "model"), "--json")
    (expected,) = mobilebert.fill_mask(TEXT, made, tokenizer)
    assert json.loads(output)[0]["filled"] == expected.filled


def test_fill_mask_names_the_packaged_models_when_one_is_unknown() -> None:
    code, _, error = run("fill-mask", TEXT, "--model", "no such model")
    assert code == 1
    assert "'mobilebert-nano'" in error


def test_fill_mask_imports_no_framework() -> None:
    code = (
        "import sys; from mobilebert.cli import app\n"
        f"try:\n    app(['fill-mask', {TEXT!r}])\nexcept SystemExit:\n    pass\n"
        "print(sorted({'torch', 'tensorflow', 'keras', 'jax', 'flax'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_bytes_of_another_encoding_are_one_clear_error() -> None:
    result = runner.invoke(app, ["fill-mask"], input=f"{TEXT}\n".encode() + b"a \xe9 [MASK]\n")
    assert result.exit_code == 1
    assert "standard input is no text in UTF-8: line 2" in result.stderr


def test_a_text_is_a_line_whatever_else_may_separate_lines() -> None:
    code, output, _ = run("fill-mask", "--json", lines="The\u2028[MASK] was\x0cdark.\n")
    assert code == 0
    assert len(json.loads(output)) == 1


# Other commands on the packaged model -------------------------------------------------------------


def test_inspect_shows_the_packaged_model_when_none_is_named() -> None:
    code, output, _ = run("inspect", "--json")
    values = json.loads(output)
    assert code == 0
    assert values["config"]["vocab_size"] == 8000
    assert values["dtypes"] == ["float16"]


def test_predict_takes_a_packaged_name() -> None:
    code, output, _ = run(
        "predict", "mobilebert-nano", "--backend", "numpy", "--json", lines=f"{TEXT}\n"
    )
    assert code == 0
    assert [len(masks) for masks in json.loads(output)["masks"]] == [5]


def test_convert_and_diff_take_a_packaged_name(tmp_path: Path) -> None:
    folder = str(tmp_path / "new")
    assert run("convert", "mobilebert-nano", folder, "--to", "npz")[0] == 0
    assert run("diff", "mobilebert-nano", folder)[0] == 0


@pytest.mark.parametrize("command", ["predict", "inspect"])
def test_vocabulary_alone_is_no_model(command: str) -> None:
    code, _, error = run(command, "mobilebert-uncased", lines="")
    assert code == 1
    assert "google/mobilebert-uncased" in error
