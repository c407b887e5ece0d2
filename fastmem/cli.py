"""Entry point of the command ``fastmem``: says what is missing, or hands over to the commands."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line and end the process with its exit code.

    Raises
    ------
    SystemExit
        Always: code 0 on success, 2 on bad input or where the extra ``cli`` is not installed,
        130 after Ctrl-C.
    """
    try:
        import rich  # noqa: F401
        import typer  # noqa: F401

        from fastmem.commands import app
    except ModuleNotFoundError as missing:
        if missing.name is None or missing.name.split(".")[0] not in ("rich", "typer"):
            raise
        print(
            f"The command line needs {missing.name}, which is not installed: "
            'pip install "fastmem-nets[cli]".',
            file=sys.stderr,
        )
        sys.exit(2)
    except KeyboardInterrupt:
        print("Interrupted: no file was written.", file=sys.stderr)
        sys.exit(130)
    app(prog_name="fastmem")


if __name__ == "__main__":
    main()
