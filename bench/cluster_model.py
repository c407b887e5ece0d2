"""The model of what a fit on several machines costs, from measured constants.

A fit reads its points, looks at them, computes their patterns, and then takes rounds: in each the
driver sends masks to all workers and waits for the slowest. Points are shared out evenly, kernels
use all cores of a worker, and a message goes from the driver to one worker after the other, or to
one head of a group after the other, and from there to the others of its group.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from fastmem.distributed.groups import TREE_FROM, n_groups


@dataclass(frozen=True)
class Constants:
    """Seconds, by one core, as measured.

    Attributes
    ----------
    check : float
        For each value of a point, in all passes before there are patterns, reading aside.
    fill : float
        For each value of a point and hyperplane.
    word : float
        For each word of a pattern and mask: counts and covers.
    round_fixed, round_worker : float
        A round that asks for nothing; and more with each worker that is called.
    round_reply : float
        More with each worker that is called through the head of a group.
    driver : float
        The driver's own work for each round.
    read : float
        For each byte of values in a parquet file, to points in memory.
    byte : float
        For each byte on the network (assumed, not measured).
    spread : float
        Standard deviation of the logarithm of a shard's seconds in a round, beside those of others
        that have as many points.
    cores : int
        Of each worker (assumed).
    """

    check: float
    fill: float
    word: float
    round_fixed: float
    round_worker: float
    driver: float
    read: float
    byte: float
    spread: float
    cores: int = 1
    round_reply: float = 8e-5


@dataclass(frozen=True)
class Job:
    """What a fit has to do.

    Attributes
    ----------
    n_samples, n_features, width : int
    rounds : float
    words : float
        Words of patterns times masks, of counts and covers together.
    sent : float
        Bytes to each worker.
    received, received_worker : float
        Bytes from all workers: what does not depend on their number, and for each.
    """

    n_samples: int
    n_features: int
    width: int
    rounds: float
    words: float
    sent: float
    received: float
    received_worker: float


PARTS = ("read", "check and patterns", "counts", "rounds", "bytes", "driver")


def seconds(job: Job, constants: Constants, n_workers: int, reads: bool = True) -> dict[str, float]:
    """Seconds of a fit by what takes them, as `PARTS` has them.

    The slowest of the workers is waited for in every round: by the mean of the largest of so many
    lognormal numbers.
    """
    values = float(job.n_samples) * job.n_features
    at_once = n_workers * constants.cores
    generator = np.random.default_rng(0)
    slowest = np.exp(constants.spread * generator.standard_normal((200, n_workers))).max(axis=1)
    return {
        "read": 4 * values * constants.read / n_workers if reads else 0.0,
        "check and patterns": values * (constants.check + constants.fill * job.width) / at_once,
        "counts": float(slowest.mean()) * job.words * constants.word / at_once,
        "rounds": job.rounds * round_seconds(constants, n_workers),
        "bytes": constants.byte
        * (job.sent * sum(called(n_workers)) + job.received_worker * n_workers + job.received),
        "driver": job.rounds * constants.driver,
    }


def called(n_workers: int) -> tuple[int, int]:
    """Workers that the driver calls, and others that one of these calls, at most."""
    if n_workers < TREE_FROM:
        return n_workers, 0
    return n_groups(n_workers), -(-n_workers // n_groups(n_workers)) - 1


def round_seconds(constants: Constants, n_workers: int) -> float:
    """Seconds of a round that asks for nothing.

    In groups a head takes as long for those that it calls as the driver does for heads.
    """
    heads, others = called(n_workers)
    found = constants.round_fixed + constants.round_worker * heads
    if others:
        found += constants.round_fixed + constants.round_worker * others
        found += constants.round_reply * n_workers
    return found


def growth(sizes: Sequence[int], values: Sequence[float]) -> tuple[float, float]:
    """Factor and exponent of the power of the size that comes nearest to some values."""
    exponent, constant = np.polyfit(np.log(sizes), np.log(np.maximum(values, 1)), 1)
    return float(np.exp(constant)), float(exponent)


def extrapolated(jobs: Sequence[Job], n_samples: int) -> Job:
    """The job of so many points, by powers fitted to measured ones of the same settings."""
    sizes = [job.n_samples for job in jobs]

    def at(name: str) -> float:
        factor, exponent = growth(sizes, [getattr(job, name) for job in jobs])
        return float(factor * float(n_samples) ** exponent)

    names = ("rounds", "words", "sent", "received", "received_worker")
    return replace(jobs[-1], n_samples=n_samples, **{name: at(name) for name in names})


def simulated(
    jobs: Mapping[str, Sequence[Job]],
    constants: Mapping[str, Constants],
    sizes: Sequence[int],
    workers: Sequence[int],
) -> dict[tuple[str, int], list[dict[str, float]]]:
    """Seconds by selection and size, for each number of workers."""
    return {
        (name, size): [seconds(extrapolated(some, size), constants[name], w) for w in workers]
        for name, some in jobs.items()
        for size in sizes
    }
