"""The program: its options, and how it refuses: one sentence on standard error and exit code 2.

What is slow to import, fastmem itself included, is imported inside the commands.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn, cast

import typer
from typer.core import TyperGroup

from fastmem.commands.terminal import any_encoding

BAD_INPUT = 2
INTERRUPTED = 130
# Click's UsageError, wherever this version of typer keeps its click.
UsageError = cast(type[Exception], typer.BadParameter.__base__)


class OneSentenceGroup(TyperGroup):
    """Commands whose every refusal is one sentence on standard error."""

    interrupted = "Interrupted: no file was written."

    def invoke(self, ctx: Any) -> Any:
        """Run a command, and turn what it refuses into a sentence and an exit code."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as interrupt:
            self.interrupted = str(interrupt) or self.interrupted
            raise typer.Exit(INTERRUPTED) from interrupt
        except BrokenPipeError:
            raise
        except (ValueError, OSError, MemoryError, ModuleNotFoundError) as error:
            sentence = _sentence(error)
            if sentence is None:
                raise
            complain(sentence)
            raise typer.Exit(BAD_INPUT) from error

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run the command line; wrong options get one sentence too, not a usage box."""
        standalone_mode = extra.get("standalone_mode", True)
        extra["standalone_mode"] = False
        with any_encoding():
            try:
                code = super().main(*args, **extra)
            except UsageError as error:
                complain(_usage_sentence(error))
                code = BAD_INPUT
            except typer.Abort:  # what older versions of typer make of Ctrl-C
                code = INTERRUPTED
            if code == INTERRUPTED:
                complain(self.interrupted)
        if standalone_mode:
            sys.exit(code)
        return code


app = typer.Typer(
    cls=OneSentenceGroup,
    help="Memorise a labelled data set in a three-layer threshold network, exactly and fast.",
    add_completion=True,
    pretty_exceptions_enable=False,
)

DataFile = Annotated[
    Path,
    typer.Argument(
        help="Table: csv, parquet, npz or others, packed or not; a directory of parts; - for stdin."
    ),
]
ModelFile = Annotated[Path, typer.Argument(help="A network that fastmem fit has saved.")]
Threads = Annotated[
    int | None, typer.Option(help="Number of threads.", show_default="every core it may use")
]
Label = Annotated[
    str | None,
    typer.Option(
        help="Label column: its name or 0-based index, -1 for the last.",
        show_default="the array y of an npz file",
    ),
]
Seed = Annotated[int | None, typer.Option(help="Seed.", show_default="a new one, reported")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs instead of tables.")]


def _show_version(wanted: bool) -> None:
    if wanted:
        from fastmem import __version__

        typer.echo(f"fastmem {__version__}")
        raise typer.Exit


@app.callback()
def fastmem(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Show the version and end.", callback=_show_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Memorise a labelled data set in a three-layer threshold network, exactly and fast."""


def _sentence(error: BaseException) -> str | None:
    """Give the sentence for an error that is the input's fault, or None for one that is ours."""
    from fastmem import InvalidInputError, ModelFileError
    from fastmem.errors import NotEnoughMemoryError

    if isinstance(error, InvalidInputError | ModelFileError):
        return str(error)
    if isinstance(error, ModuleNotFoundError):
        return str(error) if "pip install" in str(error) else None
    if isinstance(error, NotEnoughMemoryError):
        return str(error)
    if isinstance(error, MemoryError):
        return f"There is not enough memory ({error}): take fewer points or a smaller width."
    if isinstance(error, UnicodeEncodeError):
        text = error.object[error.start : error.end]
        return f"The text {text!a} cannot be written in {error.encoding}: change that label."
    if isinstance(error, OSError):
        return f"{error.filename or 'A file'} cannot be read or written: {error.strerror or error}."
    return None


def _usage_sentence(error: Any) -> str:
    """Give click's message about a wrong option as one sentence with a way on."""
    message = " ".join(error.format_message().split()).rstrip(".?! ")
    command = error.ctx.command_path if getattr(error, "ctx", None) else "fastmem"
    return f"{message}; see {command} --help."


def complain(sentence: str) -> None:
    """Write one line to standard error."""
    typer.secho(" ".join(sentence.split()).rstrip(".") + ".", fg="red", err=True)


def refuse(sentence: str) -> NoReturn:
    """Raise a sentence about an option."""
    from fastmem import InvalidInputError

    raise InvalidInputError(sentence)
