"""How much memory a fit takes at its peak, by shapes alone.

It counts what comes on top of what the process holds already, its input included. How far it is
from what is measured stands in tests/test_memory.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from fastmem.errors import NotEnoughMemoryError
from fastmem.inputs import Settings, weight_budget
from fastmem.inputs.points import MOST_COPIED
from fastmem.kernels.layout import TILE, WORD_BITS
from fastmem.kernels.products import DOUBLES
from fastmem.kernels.siblings import FAN
from fastmem.machine.memory import UNCHECKED, readable, require
from fastmem.patterns.computed_rows import PART_BYTES
from fastmem.patterns.neighbourhoods import FEW_FEATURES, FEWEST_NEIGHBOURS
from fastmem.patterns.sparse_rows import PANEL_BYTES
from fastmem.patterns.tile_store import require_disk
from fastmem.readout.costs import driver_bytes, regression_bytes, shard_bytes, widths_of
from fastmem.second_layer.merged_cells import ALL_CELLS, MOST_NEAR, covers_at_once
from fastmem.second_layer.near_cells import MOST_GATHERED

_FIXED = 24 << 20
_THREAD = 16 << 20
"""Two blocks of points, and what is computed of them."""
_POINT = 24
"""Order, numbers and marks of a point; at another time its hash, sorted and in a copy."""
_ROW = 40
"""A row whose point counts once: its hash, where it equals others, and which point it is."""
_PLACE = 28
"""Places and numbers of a point in a spatial order, and in copies of what is uncovered."""
_COMPACTED = 64 << 20
"""Patterns that are still uncovered, in a copy; see ``ClassCover``, or ``NearCells``."""
_CLASS = 1 << 14
_STORED = 2.25
"""Weights and their panels in float32, and what both are made of in between."""
_RELU = 1.25
"""Once more in groups for real sums, and their norms."""
_BOX_ROOM = 8 * (TILE + 4 * DOUBLES)
"""Of a thread and hyperplane: terms at the points of a tile, some masks, and, ..."""
_BOX_WEIGHTS = 8 * 10
"""... of each weight, terms that boxes leave and what they add."""
_COMPUTED = 7
"""Weights from a key, for some hyperplanes at a time: made, checked, in panels, and the last."""

_MARK = 2
"""Whether a point is uncovered, and how many are below a node."""
COPIES_BYTES = 256 << 20
"""Points of other regions that may be in one, if they are more than its own."""
FETCHED_BYTES = 32 << 20
"""Points of other regions that are asked for at a time, of which there are copies on the way."""
MOST_CANDIDATES = 1 << 16
"""Hyperplanes that a decision list is chosen from."""
LIST_BYTES = 128 << 20
"""Bytes of bits of the points that its conjunctions grow among, by point, and again by candidate;
of its neurons, or of the candidates that they use, at all points."""
_LIST_COPIES = 3
_LIST_POINT = 32
"""Class, number and order of a point."""


def pattern_bytes(n_samples: int, n_classes: int, width: int) -> int:
    """Bytes of sign patterns in tiles, of which every class starts a new one; at most so many."""
    return (n_samples // TILE + n_classes) * TILE * 8 * -(-width // WORD_BITS)


class FitShape(NamedTuple):
    """What the memory of a fit depends on, beside its settings.

    Attributes
    ----------
    n_samples, n_features, row_values, is_sparse
        As of the fit's points.
    n_classes : int
    budget_bytes : int or None
        Bytes of patterns that may be in memory; more are in a file.
    n_rows : int
        Rows that the user gave, where equal points count once; else 0.
    """

    n_samples: int
    n_features: int
    row_values: int
    is_sparse: bool
    n_classes: int
    budget_bytes: int | None
    n_rows: int = 0


class Room(NamedTuple):
    """What a place where some of the points are has for a fit.

    Attributes
    ----------
    name : str
        Of the worker, if it has one.
    n_samples, n_threads : int
    free : float
        Bytes, less than 0 where it has more than it may; and
    where : str
        who says so; see `available`.
    process : str
        Those of one process have what is free there together.
    shard : int
        Its number.
    """

    name: str
    n_samples: int
    n_threads: int
    free: float
    where: str
    process: str
    shard: int = 0


def fit_bytes(shape: FitShape, settings: Settings, width: int) -> int:
    """Bytes that a fit takes at its peak beside the process and its input.

    ``width`` counts where ``settings`` does not say how many hyperplanes there are: those so far.

    Patterns count as a whole, also where bounding tiles will hold a ninth of them: whether they
    will is only known once hyperplanes are drawn, and where cells are then looked for among
    neighbours, which their number decides, all bits are unpacked after all. So a fit may be refused
    that would have had room; with ``memory_limit`` it is done, its patterns in a file.
    """
    n_samples, d = shape.n_samples, shape.n_features
    n_words = -(-width // WORD_BITS)
    patterns = pattern_bytes(n_samples, shape.n_classes, width)
    total = _points_bytes(shape, settings.n_threads) + _ROW * shape.n_rows
    total += patterns if shape.budget_bytes is None or patterns <= shape.budget_bytes else 0
    total += min(_COMPACTED, patterns)
    if settings.selection == "merge":
        growing = min(shape.n_classes, covers_at_once(n_words))
        if settings.margin:  # each of these cells has near points of its own, and fewer
            growing = max(growing, ALL_CELLS // 2)
        total += growing * min(2 * MOST_NEAR, n_samples) * n_words * 8
    if settings.margin:  # nearly a neuron for each point, and each mask twice
        total += int(2 * min(1.0, settings.margin) * n_samples * (n_words * 8 + 200))
    total += _neighbour_bytes(shape, settings, patterns)
    if settings.compact:  # patterns of the hyperplanes that stay, also by hyperplane
        total += patterns
    total += _layer_bytes(shape, settings, width) + _vote_bytes(shape, settings)
    total += _list_bytes(shape, settings)
    if settings.activation == "relu" and settings.selection == "random" and d <= FEW_FEATURES:
        total += settings.n_threads * width * (_BOX_ROOM + _BOX_WEIGHTS * d)
    return int(total)


def _points_bytes(shape: FitShape, n_threads: int) -> int:
    """Bytes that points take wherever they are, beside themselves and their patterns."""
    n_samples, d = shape.n_samples, shape.n_features
    total = _FIXED + n_threads * _THREAD + _POINT * n_samples + _CLASS * shape.n_classes
    # sums of columns, for each range of rows
    return total + (
        16 * d if shape.is_sparse else 8 * d * (n_samples * shape.row_values // (1 << 22))
    )


def _neighbour_bytes(shape: FitShape, settings: Settings, patterns: int) -> int:
    """Bytes that searches among neighbours take, where points are put in a spatial order."""
    n_samples, d = shape.n_samples, shape.n_features
    if (
        d > FEW_FEATURES
        or n_samples < FEWEST_NEIGHBOURS
        or shape.is_sparse
        or shape.budget_bytes is not None
        or settings.compact
        or settings.smallest
    ):
        return 0
    nodes = 2 * (patterns + min(patterns, MOST_GATHERED)) // (FAN - 1)
    return min(8 * n_samples * d, MOST_COPIED) + nodes + _PLACE * n_samples


def _vote_bytes(shape: FitShape, settings: Settings) -> int:
    """Bytes of the regression where a read-out votes."""
    if settings.decision != "vote":
        return 0
    return regression_bytes(
        settings.votes_width, shape.n_samples, shape.n_features, shape.n_classes,
        settings.n_threads,
    )  # fmt: skip


def _list_bytes(shape: FitShape, settings: Settings) -> int:
    """Bytes of bits of candidates where a decision list grows: by point and by candidate."""
    if settings.decision != "list":
        return 0
    bits = shape.n_samples * (settings.n_candidates or MOST_CANDIDATES) // 8
    return _LIST_COPIES * min(bits, LIST_BYTES) + _LIST_POINT * shape.n_samples


def _layer_bytes(shape: FitShape, settings: Settings, width: int) -> int:
    """Bytes of the first layer while it is made and used."""
    d = shape.n_features
    if settings.projection == "structured":
        return 64 * d
    if 4 * width * d > weight_budget(settings):
        part = max(PART_BYTES, 4 * WORD_BITS * d)
        return PANEL_BYTES if shape.is_sparse else _COMPUTED * part
    copies = _STORED + (_RELU if settings.activation == "relu" else 0)
    panels = min(PANEL_BYTES, 4 * width * d) if shape.is_sparse else 0
    return int(copies * 4 * width * d) + panels


def elsewhere_bytes(
    shape: FitShape, settings: Settings, width: int, n_threads: int, n_votes: int = 0
) -> int:
    """Bytes that ``shape.n_samples`` of the points take where they are, when cells grow elsewhere.

    Beside the points themselves. ``n_votes`` are features of a read-out that votes.
    """
    n_samples, d, n_classes = shape.n_samples, shape.n_features, shape.n_classes
    patterns = pattern_bytes(n_samples, n_classes, width)
    votes = shard_bytes(n_votes, n_samples, d, n_classes, n_threads) if n_votes else 0
    return _points_bytes(shape, n_threads) + patterns + _layer_bytes(shape, settings, width) + votes


def require_elsewhere(
    shape: FitShape,
    settings: Settings,
    rooms: Callable[[], Sequence[Room]],
    width: int | None = None,
    filled: int = 0,
) -> None:
    """Refuse a fit of points in several places, one of which has no room for its share.

    Before the work; or before the width grows from ``filled`` to ``width`` hyperplanes. They are
    only asked for their ``rooms`` where that may matter.
    """
    grows = width is not None
    n_votes = 0
    if settings.decision == "vote":
        n_votes, _ = widths_of(settings.votes_width, shape.n_samples, shape.n_classes)
        if not grows:
            _require_driver(shape, settings, n_votes)
    if width is None:
        width = settings.width or min(settings.max_width or WORD_BITS, WORD_BITS)

    def needed(n_samples: int, n_threads: int) -> int:
        some = shape._replace(n_samples=n_samples)
        total = elsewhere_bytes(some, settings, width, n_threads, n_votes)
        if not grows:
            return total
        return total - elsewhere_bytes(some, settings, filled, n_threads, n_votes)

    if needed(shape.n_samples, settings.n_threads) >= UNCHECKED:
        votes = f" and {n_votes:,} features of a vote" if n_votes and not grows else ""
        what = f"{width:,} hyperplanes{votes}"
        _refuse_short(rooms(), lambda room: needed(room.n_samples, room.n_threads), what)


def _require_driver(shape: FitShape, settings: Settings, n_votes: int) -> None:
    """Refuse to solve here for the features of a vote where there is no room for it."""
    needed = driver_bytes(
        settings.votes_width, shape.n_samples, shape.n_features, shape.n_classes,
        settings.n_threads,
    )  # fmt: skip
    require(
        needed, f"the driver of a vote of {n_votes:,} features",
        "pass a smaller width, or call it where more is free",
    )  # fmt: skip


def region_bytes(n_samples: int, n_words: int, n_regions: int) -> int:
    """Bytes of a region where points come to their neighbours: of its own, and of all others.

    Its own points come with as many copies of others at most, and with the bounds on them. Those
    that come, and those that it tells others meanwhile, are there twice: as arrays and as bytes.
    """
    own = -(-n_samples // n_regions) * n_words * 8
    copies = min(max(own, COPIES_BYTES), max(0, n_samples * n_words * 8 - own))
    bounds = 2 * (own + copies) // FAN + 3 * n_samples // FAN**2 * n_words * 8
    passing = 2 * MOST_GATHERED + 4 * FETCHED_BYTES
    return own + copies + bounds + passing + _MARK * n_samples


def require_regions(n_samples: int, width: int, rooms: Callable[[], Sequence[Room]]) -> None:
    """Refuse to bring points to their neighbours where a place has no room for its region."""
    found = rooms()
    need = region_bytes(n_samples, -(-width // WORD_BITS), len(found))
    if need >= UNCHECKED:
        _refuse_short(found, lambda room: need, f"{width:,} hyperplanes")


def _refuse_short(rooms: Sequence[Room], needed: Callable[[Room], int], what: str) -> None:
    together: dict[str, list[Room]] = {}
    for room in rooms:
        together.setdefault(room.process, []).append(room)
    short = []
    for some in together.values():
        need, tightest = sum(map(needed, some)), min(some, key=lambda room: room.free)
        if need > max(tightest.free, UNCHECKED - 1):
            short.append((tightest.free - need, need, tightest, some))
    if short:
        _, need, tightest, some = min(short, key=lambda one: one[0])
        n = len(short) - 1
        others = f" (and {n} {'others have' if n > 1 else 'other has'} too little)" if n else ""
        n_samples = sum(room.n_samples for room in some)
        raise NotEnoughMemoryError(
            f"{_need_of(some, need)} {n_samples:,} points with {what}, but "
            f"{readable(tightest.free)} {tightest.where}{others}; fit on more workers, in smaller "
            f"partitions, or pass a smaller width"
        )


def _need_of(rooms: Sequence[Room], need: int) -> str:
    """What shards of one process need, up to the number of their points."""
    place = f" on {rooms[0].name}" if rooms[0].name else ""
    memory = f"up to {readable(need)} of memory for"
    if len(rooms) == 1:
        return f"shard {rooms[0].shard}{place} takes {memory} its"
    *first, last = (str(room.shard) for room in rooms)
    return f"shards {', '.join(first)} and {last}{place} take {memory} their"


def require_for_fit(shape: FitShape, settings: Settings) -> None:
    """Refuse a fit that has no room in memory, or for its temporary file.

    Where the width is found, at the first width; ``TileStore.widen`` looks again.
    """
    width = settings.width or min(settings.max_width or WORD_BITS, WORD_BITS)
    needed = fit_bytes(shape, settings, width)
    patterns = pattern_bytes(shape.n_samples, shape.n_classes, width)
    if shape.budget_bytes is not None and patterns > shape.budget_bytes:
        require_disk(patterns)
    if needed < UNCHECKED:
        return
    remedies = []
    if shape.budget_bytes is None and 4 * patterns > needed:
        remedies.append("memory_limit= so that sign patterns go to a temporary file")
    if 2 * _layer_bytes(shape, settings, width) > needed:
        remedies.append("fewer features")
    what = f"a fit of {shape.n_samples:,} points with {width:,} hyperplanes"
    if settings.votes_width is not None:
        what = f"a vote of {settings.votes_width:,} features for {shape.n_samples:,} points"
    require(needed, what, "pass " + ", ".join([*remedies, "a smaller width or fewer points"]))
