"""Runs studies: cell after cell, on several processes, gone on with where it was interrupted."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from fastmem.errors import InvalidInputError
from fastmem.experiments.results import Table
from fastmem.experiments.study import Cell, Result, Study, measure
from fastmem.inputs import check_threads
from fastmem.machine.clusters import connected
from fastmem.machine.progress import ProgressCallback, drawing
from fastmem.tables import save_array

__all__ = ["run"]

PROCESS_BYTES = 200e6
"""Memory of a worker beside its sign patterns."""
_FEWEST_ASKED, _ASKED_BYTES = 16, 1 << 28
"""Cells that an executor has at a time, at least; and more up to so many bytes of their points."""


def run(
    study: Study,
    path: Path | str,
    *,
    workers: int | None = None,
    executor: Executor | None = None,
    progress: bool | ProgressCallback = False,
) -> list[Result]:
    """Measure all cells of a study that its table does not hold yet.

    Rows are written in the study's order as soon as they are known, so that the file at the end
    is the same, byte for byte, however often it was interrupted and whatever the workers.

    Parameters
    ----------
    study : Study
    path : Path or str
        The table, a csv file; see `fastmem.experiments.results`.
    workers : int, optional
        Processes, each with one fit at a time on one thread; with 1 the work is done in this
        process. By default one a core, or fewer where there are fewer cells or the sign patterns
        of so many fits would take more than half of the memory; the cores left over are then
        shared out as threads.
    executor : concurrent.futures.Executor, optional
        What measures the cells, each on one thread, instead of processes of this machine: of
        ``client.get_executor()`` (Dask), ``concurrent.futures`` or mpi4py. It is left open.
    progress : bool or callable, default False
        True draws a progress bar on a terminal; a callable is called as in `interpolate`, with
        stage "trials".

    Returns
    -------
    list of Result
        All rows of the table.

    Raises
    ------
    InvalidInputError
        If the table holds other results, or a fit refuses its input; or both workers and an
        executor are given.
    KeyboardInterrupt
        After Ctrl-C, with a sentence on how far the study went.
    RuntimeError
        If a worker fails or is killed.
    """
    if workers is not None and executor is not None:
        raise InvalidInputError("workers and executor are both given; leave out workers")
    path = Path(path)
    cores = check_threads(None)
    wanted = None if workers is None else check_threads(workers)
    with ExitStack() as stack:
        table = stack.enter_context(Table(path, study.settings(), study.cells))
        left = study.cells[len(table.results) :]
        if not left:
            return table.results
        tell = stack.enter_context(drawing(progress))
        try:
            if executor is not None:
                rows = _measured_by(executor, study, left)
            else:
                n_workers = min(wanted or _affordable(left, cores), len(left))
                n_threads = 1 if wanted else max(1, cores // n_workers)
                rows = _measured(study, left, n_workers, n_threads)
            with closing(rows):  # type: ignore[type-var]
                total = study.trials * len(study.cells)
                tell("trials", study.trials * len(table.results), total, 0)
                for row in rows:
                    table.append(row)
                    tell("trials", study.trials * len(table.results), total, 0)
        except KeyboardInterrupt as interrupt:
            done = len(table.results)
            raise KeyboardInterrupt(
                f"Interrupted: {path} holds {done:,} of {len(study.cells):,} cells, and the same "
                "command goes on from there."
                if done
                else "Interrupted: no file was written."
            ) from interrupt
        return table.results


@contextmanager
def on_cluster(address: str) -> Iterator[Executor]:
    """The executor of a Dask cluster, of an address as of `fastmem.machine.clusters.connected`."""
    with connected(address) as client:
        yield client.get_executor()


def _affordable(cells: Sequence[Cell], cores: int) -> int:
    """Give the number of processes, at most a core each, whose fits fit half of the memory."""
    largest = max(cell.n_samples * cell.first_width / 8 for cell in cells)
    with suppress(AttributeError, OSError, ValueError):
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        return max(1, min(cores, int(memory / 2 / (largest + PROCESS_BYTES))))
    return cores


def _measured_by(executor: Executor, study: Study, cells: Sequence[Cell]) -> Iterator[Result]:
    """Measure cells by an executor, and give the results in their order."""
    shared: dict[str, Any] = {"trials": study.trials, "seed": study.seed, "fit": dict(study.fit)}
    asked: deque[tuple[Cell, Future[Result]]] = deque()
    left = deque(cells)
    n_bytes = 0
    try:
        while left or asked:
            while left and (len(asked) < _FEWEST_ASKED or n_bytes < _ASKED_BYTES):
                cell = left.popleft()
                # its points only, which go with it
                X, y = points = tuple(array[: cell.n_samples] for array in study.data[cell.dataset])
                n_bytes += X.nbytes + y.nbytes
                asked.append((cell, executor.submit(measure, cell, points, **shared)))
            cell, future = asked[0]
            try:
                result = future.result()
            except InvalidInputError:
                raise
            except Exception as failure:
                raise RuntimeError(f"A worker failed in {cell}: {failure!r}") from failure
            asked.popleft()
            n_bytes -= sum(array[: cell.n_samples].nbytes for array in study.data[cell.dataset])
            yield result
    finally:
        for _, future in asked:
            future.cancel()


def _measured(
    study: Study, cells: Sequence[Cell], n_workers: int, n_threads: int
) -> Iterator[Result]:
    """Measure cells, and give the results in their order."""
    shared = {
        "trials": study.trials,
        "seed": study.seed,
        "fit": dict(study.fit),
        "n_threads": n_threads,
    }
    if n_workers == 1:
        for cell in cells:
            yield measure(cell, study.data[cell.dataset], **shared)  # type: ignore[arg-type]
        return
    with tempfile.TemporaryDirectory(prefix="fastmem-") as directory, ExitStack() as stack:
        files = {}
        for i, (name, points) in enumerate(study.data.items()):
            files[name] = [str(Path(directory, f"{i}-{part}.npy")) for part in "Xy"]
            for file, array in zip(files[name], points, strict=True):
                save_array(Path(file), array)
        pool = [stack.enter_context(_Worker(shared | {"data": files})) for _ in range(n_workers)]
        yield from _in_order(cells, pool)


def _in_order(cells: Sequence[Cell], pool: Sequence[_Worker]) -> Iterator[Result]:
    """Keep all workers busy, and hold back results until those before them are there."""
    early: dict[int, Result] = {}
    asked = given = 0
    with selectors.DefaultSelector() as selector:
        for worker in pool:
            selector.register(worker.answers, selectors.EVENT_READ, worker)
            worker.ask(asked, cells[asked])
            asked += 1
        while given < len(cells):
            for key, _ in selector.select():
                worker = key.data
                index, result = worker.answer()
                early[index] = result
                if asked < len(cells):
                    worker.ask(asked, cells[asked])
                    asked += 1
            while given in early:
                yield early.pop(given)
                given += 1


class _Worker:
    """A process of `fastmem.experiments.worker`, killed at the end of its context."""

    def __init__(self, shared: dict[str, Any]) -> None:
        # The same fastmem as here, installed or not.
        package = str(Path(__file__).parents[2])
        paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "fastmem.experiments.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
            process_group=0,  # Ctrl-C is the parent's to handle
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._questions: IO[bytes] = self._process.stdin
        self.answers: IO[bytes] = self._process.stdout
        self._send(shared)

    def __enter__(self) -> _Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        with suppress(BrokenPipeError):
            self._questions.close()
        self.answers.close()

    def ask(self, index: int, cell: Cell) -> None:
        """Give the process a cell to measure."""
        self._index, self._cell = index, cell
        self._send(asdict(cell))

    def answer(self) -> tuple[int, Result]:
        """Wait for its result."""
        line = self.answers.readline()
        answer = json.loads(line) if line.endswith(b"\n") else {}
        if "result" in answer:
            return self._index, Result(**answer["result"])
        if "refusal" in answer:
            raise InvalidInputError(answer["refusal"])
        if "failure" in answer:
            raise RuntimeError(f"A worker failed in {self._cell}:\n{answer['failure']}")
        code = self._process.wait()
        raise RuntimeError(f"A worker ended with code {code} in {self._cell}")

    def _send(self, message: dict[str, Any]) -> None:
        with suppress(BrokenPipeError):  # the reason is told by what it answers
            self._questions.write(json.dumps(message).encode() + b"\n")
            self._questions.flush()
