"""The parameters of a fit."""

from __future__ import annotations

import contextlib
import math
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from fastmem.inputs.layers import MAX_BLOCK
from fastmem.inputs.refusals import (
    did_you_mean,
    is_text,
    listed,
    refuse,
    share,
    show,
    typed,
    whole,
)
from fastmem.inputs.scaled_points import checked_scale
from fastmem.machine.wording import either

_MAX_WIDTH = 1_000_000
_MAX_THREADS = 1024
_MAX_MEMORY = 2**62
_SIZE = r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b\s*"
WEIGHT_BYTES = 1 << 28
"""Weights of more bytes are not kept in memory, unless a memory limit says otherwise."""
AUTO_ROWS = 1024
"""Rows that a width of "auto" is taken for, before it is known."""
MEMORY_BESIDE = 256 << 20
"""Bytes that a fit takes beside its input, its sign patterns and what grows with the points."""
EXCEPTION_WIDTH = 512
"""Hyperplanes from which on decision="vote" covers its exceptions: with 256 their cells reach more
unseen points."""
EXCEPTION_MARGIN = 0.2
"""Cells of exceptions merge only while they keep this share of the first point's threshold: wider
ones reach more unseen points of other classes."""
STRUCTURED_FROM = 128
"""Features from which on projection="auto" takes structured hyperplanes for dense points: the first
layer is faster with them (`python -m bench.bars` says by how much at 784 features), while below 64
features nothing is gained. Widths are the same: bench.agreement."""


class Parameters(NamedTuple):
    """The parameters of `fastmem.interpolate`, with its defaults, as they are passed: unchecked."""

    width: Any = "auto"
    max_bias: Any = "auto"
    selection: Any = "merge"
    activation: Any = "threshold"
    projection: Any = "auto"
    covered: Any = "auto"
    center: Any = True
    seed: Any = None
    n_threads: Any = None
    progress: Any = False
    max_width: Any = None
    margin: Any = "auto"
    compact: Any = False
    memory_limit: Any = None
    scale: Any = "auto"
    contradictions: Any = "raise"
    complete: Any = False
    decision: Any = "cells"
    objective: Any = "neurons"
    effort: Any = None


@dataclass(frozen=True)
class Settings:
    """The checked parameters of a fit; a width or bias of None stands for "auto"."""

    width: int | None
    smallest: bool  # width="smallest"
    max_bias: float | None
    biases: Literal["auto", "radius", "norms"]  # where max_bias is None
    selection: str
    activation: str
    projection: str
    covered: Literal["auto", "all"] | tuple[int, ...]  # class codes, ascending
    center: bool
    seed: np.random.SeedSequence  # its entropy is one int, which repeats the fit as seed=
    n_threads: int
    max_width: int | None
    margin: float
    compact: bool
    memory_limit: int | None
    progress: bool | Callable[[str, int, int, int], object]
    scale: Literal["none", "auto", "std"] | np.ndarray  # powers of two, (n_features,) float64
    by_majority: bool = False  # contradictions="majority"
    complete: bool = False  # and the width is given
    decision: Literal["cells", "vote", "list"] = "cells"
    votes_width: int | None = None  # features of the read-out; None stands for "auto"
    n_candidates: int | None = None  # hyperplanes that a list chooses from; None stands for "auto"
    effort: float | None = None  # seconds that a list may take; None for what the data ask for

    @property
    def separates_all(self) -> bool:
        """Whether hyperplanes are added until every point can be covered."""
        return self.width is None or self.complete


def check_interpolate(
    classes: np.ndarray, n_features: int = 1, *, is_sparse: bool = False, **parameters: Any
) -> Settings:
    """Check the parameters of `fastmem.interpolate`, given classes and columns found.

    Parameters
    ----------
    classes : ndarray of shape (n_classes,)
    n_features : int
    is_sparse : bool
        Whether points are CSR rows.
    **parameters
        Some of `Parameters`.

    Raises
    ------
    InvalidInputError
        For a parameter that has a value it cannot take.
    """
    given = Parameters(**parameters)
    width, max_width = _widths(given)
    selection = _option("selection", given.selection, "merge", "random")
    activation = _option("activation", given.activation, "threshold", "relu")
    is_vote = is_text(given.decision, "vote")
    projection = _projection(given.projection, n_features, is_sparse, is_vote)
    compact = _flag("compact", given.compact)
    _flag("complete", given.complete)
    if compact and selection == "random":
        refuse(
            "compact is True but selection is 'random'; compact chooses merged cells anew, so "
            "leave one of them out"
        )
    center = _flag("center", given.center)
    progress = given.progress
    if not callable(progress) and not isinstance(progress, bool | np.bool_):
        function = "a function of (stage, done, total, neurons)"
        refuse(f"progress is {typed(progress)}; pass True, False or {function}")
    margin, votes_width = _margin(given.margin), None
    decision = _option("decision", given.decision, "cells", "vote")
    complete = width is not None and bool(given.complete)
    n_candidates, effort = None, _effort(given)
    if _option("objective", given.objective, "neurons", "bytes") == "bytes":
        _check_bytes(given)
        decision, n_candidates, width = "list", width, None
    elif decision == "vote":
        _check_vote(given, n_features)
        votes_width, complete = width, True
        width = min(EXCEPTION_WIDTH, max_width or EXCEPTION_WIDTH)
        margin = EXCEPTION_MARGIN if margin is None else margin
    settings = Settings(
        width=width,
        smallest=is_text(given.width, "smallest"),
        max_bias=_max_bias(given.max_bias),
        biases=given.max_bias if isinstance(given.max_bias, str) else "radius",  # type: ignore[arg-type]
        selection=selection,
        activation=activation,
        projection=projection,
        covered=_covered(given.covered, classes),
        center=center,
        seed=check_seed(given.seed),
        n_threads=check_threads(given.n_threads),
        max_width=max_width,
        margin=margin or 0.0,
        compact=compact,
        memory_limit=check_memory_limit(given.memory_limit),
        progress=progress if callable(progress) else bool(progress),
        scale=_scale(given.scale, n_features),
        by_majority=_option("contradictions", given.contradictions, "raise", "majority")
        == "majority",
        complete=complete,
        decision=decision,  # type: ignore[arg-type]
        votes_width=votes_width,
        n_candidates=n_candidates,
        effort=effort,
    )
    if settings.activation == "relu" and not _keeps_weights(settings, n_features):
        limit = "" if given.memory_limit is None else ", a larger memory_limit"
        refuse(
            f"activation is 'relu' but weights of {n_features:,} features are too many to be "
            f"stored, which real activations need; pass 'threshold', a smaller width"
            f"{limit} or fewer features"
        )
    return settings


def _widths(given: Parameters) -> tuple[int | None, int | None]:
    """Width, None where it is to be found, and the largest that it may become."""
    if is_text(given.width, "auto", "smallest"):
        limit = given.max_width
        return None, None if limit is None else whole(limit, "max_width", "None")
    width = whole(given.width, "width", "'auto', 'smallest'", high=_MAX_WIDTH)
    if given.max_width is None:
        return width, None
    max_width = whole(given.max_width, "max_width", "None")
    if is_text(given.decision, "vote"):  # it limits the exceptions' hyperplanes
        return width, max_width
    if not _flag("complete", given.complete):
        refuse(
            f"max_width is {max_width} but width is {width}; max_width limits width='auto', "
            f"'smallest' or complete=True only, so leave one of them out"
        )
    if max_width < width:
        refuse(f"max_width is {max_width}, below the width of {width}; pass at least {width}")
    return width, max_width


def _margin(value: Any) -> float | None:
    if is_text(value, "auto"):
        return None
    if isinstance(value, str):
        hint = did_you_mean(value, ["auto"])
        refuse(f"margin is {typed(value)}; pass 'auto' or a number from 0 to 1{hint}")
    return share(value, "margin")


def _check_vote(given: Parameters, n_features: int) -> None:
    """Refuse what has no meaning beside decision="vote"."""
    if is_text(given.width, "smallest"):
        refuse(
            "width is 'smallest' but decision is 'vote', which finds the number of features by "
            "leaving points out; pass 'auto' or a number"
        )
    for name, value, only in (
        ("compact", given.compact, False), ("activation", given.activation, "threshold"),
    ):  # fmt: skip
        if value != only:
            refuse(
                f"{name} is {typed(value)} but decision is 'vote', whose exceptions are cells of "
                f"signs as they come; leave one of them out"
            )
    if not is_text(given.covered, "auto", "all"):
        refuse(
            f"covered is {typed(given.covered)} but decision is 'vote', where all classes get "
            f"votes; leave one of them out"
        )
    if not isinstance(given.width, str) and given.width > MAX_BLOCK:
        refuse(
            f"width is {given.width} but decision is 'vote', which takes at most {MAX_BLOCK:,} "
            f"features; pass fewer"
        )
    if n_features > MAX_BLOCK:
        refuse(
            f"decision is 'vote' but X has {n_features:,} columns, more than {MAX_BLOCK:,}; pass "
            f"'cells', or fewer columns"
        )


def _check_bytes(given: Parameters) -> None:
    """Refuse what has no meaning beside objective="bytes"."""
    defaults = Parameters()
    for name in (
        "decision", "selection", "activation", "projection", "covered", "max_bias", "compact",
        "complete", "margin", "max_width", "memory_limit",
    ):  # fmt: skip
        value, default = getattr(given, name), getattr(defaults, name)
        if (type(value), value) != (type(default), default):
            refuse(
                f"{name} is {typed(value)} but objective is 'bytes', whose neurons are "
                f"conjunctions in an order, of hyperplanes of its own; leave one of them out"
            )
    if is_text(given.width, "smallest"):
        refuse(
            "width is 'smallest' but objective is 'bytes', which finds the smallest file by "
            "itself; pass 'auto', or the number of hyperplanes to choose from"
        )


def _effort(given: Parameters) -> float | None:
    """Seconds that the search for few bytes may take."""
    value = given.effort
    if value is None:
        return None
    if not is_text(given.objective, "bytes"):
        refuse(
            f"effort is {typed(value)} but objective is not 'bytes'; pass objective='bytes', or "
            f"leave effort out"
        )
    is_real = isinstance(value, int | float | np.integer | np.floating)
    if not is_real or isinstance(value, bool) or not 0 <= value < math.inf:
        refuse(f"effort is {typed(value)}; pass None or a number of seconds, at least 0")
    return float(value)


def _option(name: str, value: Any, *options: str) -> str:
    if not is_text(value, *options):
        hint = did_you_mean(value, options)
        refuse(f"{name} is {typed(value)}; pass {either([repr(o) for o in options])}{hint}")
    return str(value)


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool | np.bool_):
        refuse(f"{name} is {typed(value)}; pass True or False")
    return bool(value)


def _projection(value: Any, n_features: int, is_sparse: bool, is_vote: bool) -> str:
    projection = _option("projection", value, "auto", "gaussian", "structured")
    if projection == "auto":
        if is_vote:  # a transform per point is made anyway, and the file holds no weights
            return "structured"
        pays = STRUCTURED_FROM <= n_features <= MAX_BLOCK and not is_sparse
        return "structured" if pays else "gaussian"
    if projection == "structured" and n_features > MAX_BLOCK:
        refuse(
            f"projection is 'structured' but X has {n_features} columns, more than {MAX_BLOCK:,}; "
            f"pass 'gaussian'"
        )
    return projection


def check_threads(n_threads: Any) -> int:
    """Return a number of threads, 1 to 1,024; None stands for the cores this process may use."""
    if n_threads is not None:
        return whole(n_threads, "n_threads", "None (all cores)", high=_MAX_THREADS)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def check_count(name: str, value: Any, low: int) -> int:
    """Return an int of at least ``low``."""
    return whole(value, name, "", low=low)


def check_radius_factor(value: Any) -> float:
    """Return the constant of the bound on a covering's radii, above 0 and at most 1."""
    factor = share(value, "radius_factor")
    if factor == 0.0:
        refuse("radius_factor is 0, so that no ball holds more than its centre; pass 0.25")
    return factor


def _max_bias(value: Any) -> float | None:
    if is_text(value, "auto", "radius", "norms"):
        return None
    number = math.nan
    is_real = isinstance(value, int | float | np.integer | np.floating)
    if is_real and not isinstance(value, bool):
        with contextlib.suppress(OverflowError):
            number = float(value)
    if 0 <= number < math.inf:
        return number
    refuse(
        f"max_bias is {typed(value)}; pass 'auto', 'radius', 'norms' or a finite number of at "
        f"least 0{did_you_mean(value, ['auto', 'radius', 'norms'])}"
    )


def _scale(value: Any, n_features: int) -> Literal["none", "auto", "std"] | np.ndarray:
    if isinstance(value, str):
        return _option("scale", value, "none", "auto", "std")  # type: ignore[return-value]
    if not isinstance(value, Sequence | np.ndarray) and not hasattr(value, "__array__"):
        refuse(
            f"scale is {typed(value)}; pass 'none', 'auto', 'std' or {n_features} powers of two, "
            f"one a feature"
        )
    return checked_scale(value, n_features)


def check_memory_limit(value: Any) -> int | None:
    """Return a limit in bytes: None, an int, or text such as "4 GB" or "512 MiB"."""
    if value is None:
        return None
    number = value
    if isinstance(value, str):
        found = re.fullmatch(_SIZE, value, re.ASCII | re.IGNORECASE)
        if found is None:
            refuse(
                f"memory_limit is {typed(value)}; pass None, a number of bytes, or a text like "
                f"'4 GB' or '512 MiB'"
            )
        amount, prefix, binary = found.groups()
        unit = (1024 if binary else 1000) ** " kmgt".index(prefix.lower() or " ")
        number = math.floor(float(amount) * unit)
    return whole(number, "memory_limit", "None, a text like '4 GB'", high=_MAX_MEMORY)


def weight_budget(settings: Settings) -> int:
    """Bytes of Gaussian weights that are kept; more are computed again whenever they are needed."""
    return WEIGHT_BYTES if settings.memory_limit is None else settings.memory_limit // 4


def _keeps_weights(settings: Settings, n_features: int) -> bool:
    """Whether Gaussian weights are few enough to be kept, as far as is known before the fit."""
    n = settings.width or min(settings.max_width or AUTO_ROWS, AUTO_ROWS)
    return 4 * n * n_features <= weight_budget(settings)


def check_memory(memory_limit: int | None, n_samples: int) -> int | None:
    """Return the bytes of a limit that are left for sign patterns in memory; None without limit.

    What a fit takes beside them is counted as 256 MiB and 32 bytes a point. Raises
    InvalidInputError for a limit below that.
    """
    if memory_limit is None:
        return None
    beside = MEMORY_BESIDE + 32 * n_samples
    if memory_limit < beside:
        refuse(
            f"memory_limit is {memory_limit:,} bytes, but a fit of {n_samples:,} points takes up "
            f"to {beside:,} bytes beside their sign patterns; pass at least that"
        )
    return memory_limit - beside


def _covered(value: Any, classes: np.ndarray) -> Literal["auto", "all"] | tuple[int, ...]:
    if is_text(value, "auto"):
        return "auto"
    if is_text(value, "all"):
        return "all"
    value = value.tolist() if hasattr(value, "tolist") else value
    labels = list(value) if isinstance(value, list | tuple | set | frozenset) else [value]
    if not labels:
        refuse("covered is empty; name at least one class, or pass 'auto' or 'all'")
    known = {label: code for code, label in enumerate(classes.tolist())}
    codes = []
    for label in labels:
        label = label.item() if isinstance(label, np.generic) else label
        same_kind = isinstance(label, bool) == (classes.dtype.kind == "b")  # 1 == True in Python
        if not (same_kind and isinstance(label, str | int | float) and label in known):
            hint = did_you_mean(label, ["auto", "all", *(c for c in known if isinstance(c, str))])
            refuse(
                f"covered names {typed(label)}, which is not a class of y{hint}; "
                f"pass 'auto', 'all' or classes among {listed(classes)}"
            )
        if known[label] in codes:
            refuse(f"covered names {show(label)} twice; name each class once")
        codes.append(known[label])
    if len(codes) < len(classes) - 1:
        refuse(
            f"covered names {len(codes)} of {len(classes)} classes, and points of the others could "
            f"not be told apart; name all classes but one, or give the others one label"
        )
    return tuple(sorted(codes))


def check_seed(value: Any) -> np.random.SeedSequence:
    """Return a new seed sequence of one int; a generator moves on, a sequence stays as it is."""
    sequence = np.random.SeedSequence
    if value is None:
        return sequence()
    if isinstance(value, np.random.Generator):
        return sequence(int.from_bytes(value.bytes(16), "little"))
    if isinstance(value, sequence):
        is_one_int = isinstance(value.entropy, int | np.integer)
        if is_one_int and not value.spawn_key and value.pool_size == sequence().pool_size:
            return sequence(int(value.entropy))  # type: ignore[arg-type]
        return sequence(int.from_bytes(value.generate_state(4).tobytes(), "little"))
    if isinstance(value, np.random.RandomState) or value is np.random:
        refuse(
            "seed is NumPy's legacy generator (RandomState); "
            "pass an int or numpy.random.default_rng(seed)"
        )
    return sequence(whole(value, "seed", "None, a Generator, a SeedSequence", low=0))
