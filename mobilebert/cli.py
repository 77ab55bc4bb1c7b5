"""The `mobilebert` command: puts the commands together and reports errors.

An error that the library raises on purpose is one message on standard error and exit code 1; wrong
usage is exit code 2. Everything else is a defect and keeps its traceback. Read next: `commands`.
"""

import signal
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from mobilebert.commands import (
    backends,
    conformance,
    convert,
    demo,
    diff,
    fill_mask,
    inspect,
    predict,
    show_error,
    train,
    train_tokenizer,
)
from mobilebert_core.errors import MobileBertError


class _Commands(TyperGroup):
    """Commands whose expected errors are told without a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except MobileBertError as error:
            show_error(error)
            raise typer.Exit(1) from error


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    # A traceback with local variables would print whole weight tensors.
    pretty_exceptions_show_locals=False,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        import mobilebert

        typer.echo(f"mobilebert {mobilebert.__version__}")
        raise typer.Exit


@app.callback()
def _mobilebert(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """MobileBERT for NumPy, PyTorch, TensorFlow and JAX.

    Start with `mobilebert fill-mask "The [MASK] was dark."`, which needs nothing but this package,
    `mobilebert backends` for what is installed, and `mobilebert demo` for all of it at work. Then
    `mobilebert inspect FOLDER` for a checkpoint of your own, `mobilebert predict` to run it on
    texts, `mobilebert train` to teach it a task, `mobilebert convert` and `mobilebert diff` to move
    it between frameworks, and `mobilebert conformance` for the proof that all backends compute the
    same.
    """


app.command("backends")(backends.command)
app.command("inspect")(inspect.command)
app.command("predict")(predict.command)
app.command("fill-mask")(fill_mask.command)
app.command("convert")(convert.command)
app.command("diff")(diff.command)
app.command("demo")(demo.command)
app.command("train")(train.command)
app.command("train-tokenizer")(train_tokenizer.command)
app.command("conformance")(conformance.command)


def _stop(number: int, frame: object) -> None:
    """End as Python does, so that what is half done is taken back."""
    raise SystemExit(128 + number)


def main() -> None:
    """Run the command line."""
    for name in ("SIGTERM", "SIGHUP"):  # Windows has no second one
        number = getattr(signal, name, None)
        # `nohup` has the hangup ignored already, and it must stay so.
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _stop)
    app(prog_name="mobilebert")
