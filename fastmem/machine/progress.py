"""Progress of long work: one bar a stage on a terminal, nothing anywhere else."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from fastmem.errors import InvalidInputError

__all__ = ["ProgressCallback", "drawing", "terminal_progress"]

ProgressCallback = Callable[[str, int, int, int], object]

# Rich redraws ten times a second, so more frequent reports would only cost time.
SECONDS_BETWEEN_UPDATES = 0.1


@contextmanager
def drawing(
    progress: bool | ProgressCallback, rounds: Callable[[], int] | None = None
) -> Iterator[ProgressCallback]:
    """Give the callback that ``interpolate(progress=...)`` asks for.

    Parameters
    ----------
    progress : bool or callable
        True draws with `terminal_progress`, False reports nothing.
    rounds : callable, optional
        As of `terminal_progress`.

    Yields
    ------
    callable
        ``callback(stage, done, total, neurons)``.

    Raises
    ------
    InvalidInputError
        As `terminal_progress`.
    """
    if progress is True:
        with terminal_progress(rounds) as show:
            yield show
    elif progress is False:
        yield _ignore
    else:
        yield progress


def _ignore(stage: str, done: int, total: int, neurons: int) -> None:
    """Report nothing."""


@contextmanager
def terminal_progress(rounds: Callable[[], int] | None = None) -> Iterator[ProgressCallback]:
    """Draw progress bars on standard error while the context lasts, if it is a terminal.

    Each stage gets a bar with what it has done, the points that are still uncovered and the
    neurons added so far. The bars disappear at the end, also when an exception ends the work.

    Parameters
    ----------
    rounds : callable, optional
        How often other machines were asked so far, which is then shown, too.

    Yields
    ------
    callable
        ``callback(stage, done, total, neurons)``, as ``interpolate(progress=...)`` calls it. It
        does nothing where standard error is not a terminal.

    Raises
    ------
    InvalidInputError
        If standard error is a terminal and rich, which draws the bars, is not installed.
    """
    if sys.stderr is None or not sys.stderr.isatty():
        yield _ignore
        return
    try:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
    except ModuleNotFoundError as missing:
        raise InvalidInputError(
            "progress=True draws with rich, which is not installed: "
            'pip install "fastmem-nets[cli]" or pass a function of your own'
        ) from missing

    bars = Progress(
        TextColumn("{task.description:<12}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TextColumn("{task.fields[detail]}"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    tasks: dict[str, TaskID] = {}
    starts: dict[str, float] = {}
    last_update = 0.0
    current = ""

    def show(stage: str, done: int, total: int, neurons: int) -> None:
        nonlocal last_update, current
        now = time.monotonic()
        finished = done >= total
        if stage == current and not finished and now - last_update < SECONDS_BETWEEN_UPDATES:
            return
        last_update, current = now, stage
        if stage not in tasks:
            tasks[stage] = bars.add_task(stage, total=None, detail="")
            starts[stage] = now
        left = remaining(now - starts[stage], done, total)
        detail = _detail(stage, done, total, neurons)
        if rounds is not None:
            detail = f"{detail}, {rounds():,} rounds"
        bars.update(
            tasks[stage],
            completed=done,
            total=total,
            detail=detail if left is None else f"{detail}, about {left:.0f} s left of this stage",
        )

    with bars:
        yield show


def remaining(elapsed: float, done: int, total: int) -> float | None:
    """Seconds that the rest will take, at the rate so far; None before there is one.

    A plain proportion, which says too little at first, as the first neurons cover more points than
    the last; random labels are the worst case.
    """
    if done <= 0 or elapsed < 1.0 or done >= total:
        return None
    return elapsed * (total - done) / done


def _detail(stage: str, done: int, total: int, neurons: int) -> str:
    """Say beside the bar how much is left: points to cover where neurons are being selected."""
    if stage == "neurons":
        return f"{total - done:,} points uncovered, {neurons:,} neurons"
    if stage == "trials":
        return f"{done:,} of {total:,} trials"
    if stage == "kernels":
        return f"{done} of {total} small fits"
    if stage == "hyperplanes":
        return f"{total - done:,} points not separated"
    return f"{done:,} of {total:,} points"
