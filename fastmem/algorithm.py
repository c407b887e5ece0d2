"""interpolate(): the randomised interpolation algorithm, beside the paper's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from fastmem.decision_list.fitting import fit_list
from fastmem.encoding import Encoding, encode_table
from fastmem.errors import UnseparatedWarning
from fastmem.hyperplanes.hyperplanes import Hyperplanes
from fastmem.hyperplanes.sources import largest_bias
from fastmem.kernels.layout import WORD_BITS
from fastmem.machine.clock import Clock, peak_bytes
from fastmem.machine.progress import drawing
from fastmem.machine.warned import warn_user
from fastmem.network.network import Network
from fastmem.network.neurons_on import first_neuron_on
from fastmem.network.report import FitReport, GrowthStep, Scaling, Trial, label_entropy
from fastmem.problem import GivenRows, Problem, checked_problem
from fastmem.second_layer.cover_layer import CoverLayer
from fastmem.second_layer.real_sums import real_thresholds
from fastmem.second_layer.selection import Selector, cover_layer, failed_rows
from fastmem.vote.fitting import fit_vote
from fastmem.widths.compact import compact as make_compact
from fastmem.widths.compact import more_to_choose_from
from fastmem.widths.first_layer import FirstLayer
from fastmem.widths.growth import separate
from fastmem.widths.scaling import chosen_scale
from fastmem.widths.smallest import smallest


def interpolate(
    X,
    y,
    *,
    width: int | str = "auto",
    max_bias: float | str = "auto",
    selection: str = "merge",
    activation: str = "threshold",
    projection: str = "auto",
    covered="auto",
    center: bool = True,
    seed=None,
    n_threads: int | None = None,
    progress: bool | Callable[[str, int, int, int], object] = False,
    max_width: int | None = None,
    margin: float | str = "auto",
    compact: bool = False,
    memory_limit: int | str | None = None,
    contradictions: str = "raise",
    complete: bool = False,
    encode: bool | Encoding = False,
    scale="auto",
    decision: str = "cells",
    objective: str = "neurons",
    effort: float | None = None,
) -> Network:
    """Build a three-layer threshold network that labels every training point correctly.

    No training: random hyperplanes give every point a pattern of signs, and neurons are chosen
    greedily, each of which is on for some points of one class and off on all other classes.

    Parameters
    ----------
    X : array-like or CSR matrix of shape (n_samples, n_features)
        float32 or float64 (or what converts to them exactly), any strides, memory-mapped files,
        scipy.sparse CSR, or a data frame of numeric columns: pandas, polars, a pyarrow Table or
        RecordBatch. Columns of lists of equal length count as so many features. Finite, nothing
        missing. The network remembers the names of a frame's columns.
    y : array-like of shape (n_samples,)
        Integers, strings or bools, at least two classes; also a Series, a Categorical or a pyarrow
        array.
    width : int, "auto" or "smallest", default "auto"
        Number of hyperplanes n. "auto" adds them until every point can be covered; "smallest" goes
        on from there to the width with the fewest parameters in all, n (d + 1) + m (n + 2).
    max_bias : float, "auto", "radius" or "norms", default "auto"
        The paper's lambda: biases are uniform on [-max_bias, max_bias]. "radius" takes R, the
        largest norm (after centring). "norms" puts hyperplanes where the points are: each bias is
        uniform up to the norm of a random training point. "auto" is "radius" unless a few points
        are far out, R beyond four times the median norm: most hyperplanes would then be where no
        points are, and "auto" is "norms". ``report.biases`` says which.
    selection : {"merge", "random"}, default "merge"
        "random" is the paper's: each neuron belongs to one random uncovered point. "merge" grows
        each neuron greedily over several points, for networks many times narrower.
    activation : {"threshold", "relu"}, default "threshold"
        What the first layer hands on: the sign pattern 1[Wx + b > 0], or max(Wx + b, 0). With
        "relu" thresholds are real numbers, the least real sums over the other classes, and all
        comparisons are decided exactly, so the guarantee is the same. Needs weights that are
        stored (at most 256 MiB of them, or a quarter of ``memory_limit``).
    projection : {"auto", "gaussian", "structured"}, default "auto"
        Where the hyperplanes' directions come from. "auto" is "structured" for dense points of at
        least 128 features, and for all with ``decision="vote"``, else "gaussian", which is the
        paper's. "structured" makes them from Walsh-Hadamard transforms and random signs: the
        widths are the same, but from some hundred features on the first layer is many times
        faster, and it takes bits instead of numbers to store. At most 65,536 features.
    covered : "auto", "all", label or list of labels, default "auto"
        Classes that get a block of neurons. "auto" leaves one out, the one whose block would be
        widest: a point that no block claims belongs to it. That is narrow, but draws unseen points
        to this class, so with a ``margin`` "auto" covers all. "all" is the paper's
        one-versus-rest. At most one class can be left out.
    center : bool, default True
        Shift the data by their mean, folded into the biases.
    seed : int, numpy.random.Generator, SeedSequence or None
        The same data, parameters and seed give the same network, whatever ``n_threads``.
    n_threads : int, optional
        Threads to use; all cores by default.
    progress : bool or callable, default False
        True draws a progress bar on a terminal (needs the extra ``cli``); a callable is called as
        ``progress(stage, done, total, neurons)``.
    max_width : int, optional
        Where ``width="auto"``, ``"smallest"`` or ``complete`` stops in any case.
    margin : float from 0 to 1 or "auto", default "auto"
        From the narrowest network (0) to the one that predicts unseen points best (1): how deep
        inside its neuron's cell every training point must lie, as a share of the neuron's
        threshold. Cells merge only while they keep this share of the first point's threshold. At 1
        every distinct training point gets a neuron of its own, which comes near to 1-nearest
        neighbour. "auto" is 0, or 0.2 with ``decision="vote"``. A network with a margin gives its
        training points away, with 1 it stores each of them: see :func:`fastmem.audit`.
    compact : bool, default False
        Spend more time on a network with fewer parameters, right on the same training points: the
        second layer is chosen anew on the hyperplanes that it needs most, and, without a
        ``margin``, every neuron keeps of its mask only what tells its cell from other classes, with
        threshold 1 (with ReLU: the least sum). All hyperplanes that no neuron uses are dropped. It
        chooses from ``width`` hyperplanes, with "auto" from eight times the least width. Needs
        ``selection="merge"``.
    memory_limit : int or str, optional
        Bytes, or a text like "4 GB" (10^9) or "4 GiB" (2^30), that the fit may hold beside the
        process and its input. Sign patterns that do not fit go to a temporary file in the directory
        that ``TMPDIR`` names; it has no name there and is gone when the process ends in whatever
        way. The network is the same. None, the default, keeps all patterns in memory.

        Gaussian weights of more than a quarter of the limit, by default of 256 MiB, are not kept
        but computed from their key whenever they are needed. The network is the same.
    contradictions : {"raise", "majority"}, default "raise"
        What to do with equal points of different labels, on all of which no network can be right.
        "raise" refuses them wherever every point is to be covered; a given ``width`` alone
        memorises the rest, and names them in ``report.unseparated`` and ``report.contradictory``.
        "majority" gives equal points their most frequent label, of equally frequent ones the first,
        at any width; the rows that were overruled are in ``report.relabelled``.
    complete : bool, default False
        Go on from a given ``width`` to where every point can be covered, by hyperplanes that are
        aimed at what is left: as exact as "auto", and as good on unseen points as the width is.
        Without effect where the width is not a number.
    encode : bool or fastmem.tables.Encoding, default False
        Whether X is a raw table, whose columns are to become numbers: categories, dates, truth
        values, missing values. True looks what each column holds; an `Encoding` that was fitted
        before says it. Needs pyarrow (extra ``cli``). The network keeps the encoding, also in its
        file, and takes such tables to predict.
    scale : "none", "auto", "std" or array-like of shape (n_features,), default "auto"
        Powers of two by which the features are multiplied, here and in every prediction. That is
        exact, so the guarantee is the same; what it changes is how far a unit of each feature
        counts. "std" takes the powers of two nearest to 1 / standard deviation. "auto" measures on
        a sample whether "std" needs fewer hyperplanes, four fifths at most, and else takes "none";
        at once where the features' standard deviations are within a factor of 8, where
        ``max_bias`` is a number, and for sparse points of many features. ``report.scale`` says what
        was done. The paper has none.

    objective : {"neurons", "bytes"}, default "neurons"
        What is to be few. "bytes" gives the smallest file that still gives back every label, often
        smaller than the labels themselves: hyperplanes of a few entries from a key, of which each
        neuron needs some to have one sign or the other, and neurons in an order, the first of which
        that is on decides (a decision list). They are grown by bits of the file for each point that
        they decide. ``width`` is then the number of hyperplanes to choose from; "auto" doubles it
        as long as that pays. What speaks of cells or votes is refused beside it.
    effort : float, optional
        Seconds that ``objective="bytes"`` may take, after a first list; then the network depends on
        the machine. By default it stops where more hyperplanes gain little, or would take many
        times the work of the first list, whatever the machine.

    Returns
    -------
    Network

    Raises
    ------
    InvalidInputError
        For any argument that cannot be used, with the place and the remedy.
    MemoryError
        If the fit would take more memory than is free (on the machine, in its control group, or
        under the limits of the process); before the work, or before the width grows.
    ContradictionError
        If two equal points have different labels, with ``contradictions="raise"`` and a ``width``
        of "auto" or "smallest", or ``complete``.

    Warns
    -----
    UnseparatedWarning
        If a given ``width`` (or ``max_width``) leaves points that cannot be covered; their rows
        are in ``report.unseparated``, and every other training point is labelled right.

    Notes
    -----
    Where at least half of the rows repeat others, equal points of one label are counted once before
    the work: it takes the time of the different points, and "auto" of ``max_bias`` and the mean of
    ``center`` are those of the different points.

    Dirksen, Finke and Genzel, "Memorization With Neural Nets: Going Beyond the Worst Case",
    JMLR 25(347), 2024 (arXiv 2310.00327): ``width="auto"`` is Algorithm 1, a given width with
    ``selection="random"`` is Algorithm 2.

    Examples
    --------
    >>> import numpy as np, fastmem
    >>> X = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    >>> net = fastmem.interpolate(X, [0, 1, 1, 0], seed=0)
    >>> net.predict(X)
    array([0, 1, 1, 0])
    """
    clock = Clock()
    encoding = None
    if encode is not False:
        with clock.stage("encoding"):
            X, encoding = encode_table(X, encode)
    with clock.stage("check"):
        problem = checked_problem(
            X, y, width=width, max_bias=max_bias, selection=selection, activation=activation,
            projection=projection, covered=covered, center=center, seed=seed, n_threads=n_threads,
            progress=progress, max_width=max_width, margin=margin, compact=compact,
            memory_limit=memory_limit, contradictions=contradictions, complete=complete,
            scale=scale, decision=decision, objective=objective, effort=effort,
        )  # fmt: skip
    if problem.settings.decision == "vote":
        return voting(problem, clock, encoding)
    if problem.settings.decision == "list":
        return _ordered(problem, clock, encoding)
    return covering_cells(*chosen_scale(problem, clock), clock, encoding)


def covering_cells(
    problem: Problem,
    scaling: Scaling,
    clock: Clock,
    encoding: Encoding | None = None,
    make_layer: Callable[[Problem, np.random.SeedSequence], FirstLayer] = FirstLayer,
) -> Network:
    """Cover the classes of a checked problem by cells: the algorithm itself.

    The problem's points, and the patterns of what ``make_layer`` makes, are here or elsewhere.
    """
    settings = problem.settings
    rows_seed, growth_seed, selection_seed = settings.seed.spawn(3)
    layer = make_layer(problem, rows_seed)
    growth: list[GrowthStep] = []
    trials: list[Trial] = []
    evaluations = 0
    hardest: int | None = None

    with drawing(settings.progress, problem.rounds) as tell:
        # First layer, lines 1-5 of Algorithm 1: rows until every pair of points is separated
        if settings.width is None:
            layer.start(min(WORD_BITS, problem.most_hyperplanes))
        else:  # line 1 of Algorithm 2: n rows
            with clock.stage("hyperplanes"):
                layer.start(settings.width)
            with clock.stage("patterns"):
                layer.fill(partial(tell, "patterns"))
        if settings.separates_all:
            with clock.stage("growth"):
                growth, evaluations, hardest = separate(
                    problem, layer, growth_seed, partial(tell, "hyperplanes")
                )

        # Second layer, lines 6-13: neurons until every point of the covered classes is on
        with clock.stage("selection"):
            selector = Selector(
                settings.selection, settings.margin, problem.only_inside,
                selection_seed.spawn(len(problem.classes)), settings.n_threads,
                partial(tell, "neurons"), layer.points if problem.covers_by_sums else None,
            )  # fmt: skip
            if settings.smallest:
                covers, trials = smallest(problem, layer, selector)
            else:
                if settings.compact and settings.width is None:
                    more_to_choose_from(problem, layer)
                    hardest = None
                # a class some of whose points cannot be covered is the one that is left out
                to_cover = [code for code in problem.to_cover if code != hardest]
                covers = selector.covers(
                    layer.patterns, layer.hyperplanes, to_cover,
                    problem.leave_one_out and hardest is None,
                )  # fmt: skip
            first, second, unseparated = layer.hyperplanes, cover_layer(covers), failed_rows(covers)
        if settings.compact:
            with clock.stage("compaction"):
                first, second, more = make_compact(layer, covers, selector)
                trials += more
        if problem.is_real:
            second, unseparated = _with_real_sums(problem, first, second, unseparated, clock)

    # Third layer, line 14: the class whose neuron is on, else the one that was left out
    given = problem.given
    second, covered_codes = _with_all_classes(second, [cover.code for cover in covers], given)
    report = FitReport(
        covered=covered_codes, unseparated=given.rows_of(unseparated),
        contradictory=given.rows_of(problem.contradictory(unseparated)),
        evaluations=evaluations + selector.evaluations,
        evaluations_per_candidate=selector.evaluations / max(1, selector.candidates),
        doubtful_bits=layer.patterns.doubtful, growth=growth, trials=trials,
        file_bytes=layer.patterns.file_bytes,
        estimated_bytes=problem.estimated_bytes(layer.patterns.n_words * WORD_BITS), scale=scaling,
        **_facts(problem, clock),
    )  # fmt: skip
    if sentence := report.warning(len(first), is_limited=settings.separates_all):
        warn_user(sentence, UnseparatedWarning)
    return Network(
        given.classes, first, second, covered_codes, report, report.summary(),
        problem.points.feature_names, problem.scale, encoding,
    )  # fmt: skip


def _facts(problem: Problem, clock: Clock) -> dict[str, Any]:
    """What a report says of any fit."""
    given, settings = problem.given, problem.settings
    return dict(
        n_samples=given.n_samples, n_features=problem.points.n_features,
        classes=given.classes, relabelled=given.relabelled, n_distinct=problem.points.n_samples,
        seconds=clock.seconds(), peak_bytes=peak_bytes(), seed=settings.seed.entropy,
        n_threads=settings.n_threads, selection=settings.selection, projection=settings.projection,
        max_bias=largest_bias(settings, problem.extent), margin=settings.margin,
        activation=settings.activation, biases="uniform" if problem.norms is None else "norms",
    )  # fmt: skip


def voting(
    problem: Problem,
    clock: Clock,
    encoding: Encoding | None = None,
    make_layer: Callable[[Problem, np.random.SeedSequence], FirstLayer] = FirstLayer,
) -> Network:
    """A network whose read-out predicts and whose cells memorise what it gets wrong.

    Parameters as of `covering_cells`.
    """
    with drawing(problem.settings.progress, problem.rounds) as tell:
        problem, scaling, readout, exceptions, vote = fit_vote(problem, clock, tell, make_layer)
    given = problem.given
    second, covered = exceptions.second, range(len(problem.classes))
    second, covered_codes = _with_all_classes(second, list(covered), given)
    if len(given.kept) < len(given.classes):
        readout = readout.for_classes(given.kept, len(given.classes))
    report = FitReport(
        covered=covered_codes, unseparated=given.rows_of(exceptions.unseparated),
        contradictory=np.empty(0, np.int64), evaluations=exceptions.evaluations,
        evaluations_per_candidate=exceptions.evaluations / max(1, exceptions.candidates),
        doubtful_bits=exceptions.doubtful_bits, growth=exceptions.growth,
        file_bytes=exceptions.file_bytes, scale=scaling, vote=vote,
        estimated_bytes=problem.estimated_bytes(exceptions.n_words * WORD_BITS),
        **_facts(problem, clock),
    )  # fmt: skip
    if sentence := report.warning(len(exceptions.first), is_limited=True):
        warn_user(sentence, UnseparatedWarning)
    return Network(
        given.classes, exceptions.first, second, covered_codes, report, report.summary(),
        problem.points.feature_names, problem.scale, encoding, readout,
    )  # fmt: skip


def _ordered(problem: Problem, clock: Clock, encoding: Encoding | None) -> Network:
    """A decision list: the smallest file that gives back all labels."""
    with drawing(problem.settings.progress) as tell:
        problem, scaling, first, second, default, ordered = fit_list(problem, clock, tell)
    given = problem.given
    second, covered = _with_all_classes(second, np.unique(second.owners).tolist(), given)
    report = FitReport(
        covered=covered, unseparated=np.empty(0, np.int64), evaluations=0,
        evaluations_per_candidate=0.0, doubtful_bits=0, scale=scaling, ordered=ordered,
        label_entropy=label_entropy(problem.rows_of_classes),
        estimated_bytes=problem.estimated_bytes(WORD_BITS), **_facts(problem, clock),
    )  # fmt: skip
    return Network(
        given.classes, first, second, covered, report, report.summary(),
        problem.points.feature_names, problem.scale, encoding, default=int(given.kept[default]),
    )  # fmt: skip


def _with_all_classes(
    second: CoverLayer, covered: list[int], given: GivenRows
) -> tuple[CoverLayer, tuple[int, ...]]:
    """The layer and its covered classes by codes of all labels that were given.

    Labels that gave way on all their points get a block without neurons, which never wins.
    """
    if len(given.kept) == len(given.classes):
        return second, tuple(covered)
    lost = np.setdiff1d(np.arange(len(given.classes)), given.kept)
    second = replace(second, owners=given.kept[second.owners].astype(np.int32))
    return second, tuple(sorted([*given.kept[covered].tolist(), *lost.tolist()]))


def _with_real_sums(
    problem: Problem, first: Hyperplanes, second: CoverLayer, failed: np.ndarray, clock: Clock
) -> tuple[CoverLayer, np.ndarray]:
    """The second layer with real thresholds, and the rows among ``failed`` that it leaves off."""
    points, codes, n_threads = problem.points, problem.codes, problem.n_threads
    if not problem.covers_by_sums:
        with clock.stage("thresholds"):
            sums = real_thresholds(points, codes, first, second.masks, second.owners, n_threads)
            second = replace(second, thresholds=sums)
    # sums do not rank as counts do: another point's neuron may cover a point with m = 0
    on = first_neuron_on(points, codes, first, second, n_threads, failed)
    return second, failed[on < 0]
