"""A case: a named piece of work and the same by its peers, set up once for all that measure it.

The files ``bench_*.py`` are where cases are. pytest-benchmark runs all of them; `bench.bars`,
`bench.report` and `bench.check` time some in turns with a peer or a calibration, which
pytest-benchmark cannot: it ends all rounds of one side before the other's first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from bench.measuring import Timing, in_turns
from bench.workloads import Sizes

Call = Callable[[], Any]
Facts = dict[str, Any]

OURS = "fastmem"
ROUNDS = 5


def _nothing(result: Any) -> Facts:
    return {}


@dataclass(frozen=True)
class Side:
    """What one side of a case does.

    Attributes
    ----------
    call : callable
        What is timed.
    check : callable
        Asserts that what the call returned is right, and returns what is worth noting of it.
    rounds : int
        Of pytest-benchmark, after one that does not count; 1 for what takes many seconds, which
        has no round before.
    """

    call: Call
    check: Callable[[Any], Facts] = _nothing
    rounds: int = ROUNDS


@dataclass(frozen=True)
class Work:
    """A case made ready: all that is not timed has been done.

    Attributes
    ----------
    ours : Side
    peers : mapping of name to callable
        Each makes its side, because a peer's data may take gigabytes.
    what : str
        Sizes, for a table.
    operations : float
        Floating-point operations, or words counted; 0 where nobody asks.
    """

    ours: Side
    peers: Mapping[str, Callable[[], Side]] = field(default_factory=dict)
    what: str = ""
    operations: float = 0.0

    def side(self, name: str) -> Side:
        """Make one side ready."""
        return self.ours if name == OURS else self.peers[name]()

    def in_turns(self, *names: str, runs: int, **limits: float) -> list[Timing]:
        """Time fastmem and some peers in turns; limits are those of `measuring.in_turns`."""
        sides = [self.side(name) for name in (OURS, *names)]
        return in_turns([side.call for side in sides], runs, **limits)


Prepare = Callable[[Sizes, int], Work]


@dataclass(frozen=True)
class Case:
    """A named piece of work.

    Attributes
    ----------
    name : str
    prepare : callable
        Given sizes and a number of threads, makes it ready.
    peers : tuple of str
        Names of its peers.
    """

    name: str
    prepare: Prepare
    peers: tuple[str, ...] = ()


Run = Callable[[Case, str], None]
"""What the fixture ``run`` is: it times a side of a case by pytest-benchmark and checks it."""
