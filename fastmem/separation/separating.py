"""separate(): few random features that make classes linearly separable, with a certificate."""

from __future__ import annotations

import numpy as np

from fastmem.encoding import Encoding, encode_table
from fastmem.errors import InvalidInputError, UnseparatedWarning
from fastmem.hyperplanes.sources import largest_bias
from fastmem.inputs.refusals import is_text, whole
from fastmem.machine.clock import Clock, peak_bytes
from fastmem.machine.warned import warn_user
from fastmem.problem import Problem, checked_problem
from fastmem.separation.certifying import certified
from fastmem.separation.rays import alternate
from fastmem.separation.report import SeparationReport
from fastmem.separation.rounding import LEAST_BITS, MOST_BITS
from fastmem.separation.search import MOST_WIDTH, Search, Weights, deadline_of, search_of
from fastmem.separation.separator import Separator
from fastmem.widths.scaling import chosen_scale

_RAYS_WIDTH = 64
"""Features of a read-out where no number of them would do."""


def separate(
    X,
    y,
    *,
    width: int | str = "auto",
    activation: str = "relu",
    bits: int = 16,
    max_bias: float | str = "auto",
    projection: str = "auto",
    center: bool = True,
    scale="auto",
    seed=None,
    n_threads: int | None = None,
    max_width: int | None = None,
    time_limit: float | None = None,
    contradictions: str = "raise",
    encode: bool | Encoding = False,
) -> Separator:
    """Make classes linearly separable by random features, and certify every training point.

    Features are max(<W_k, x> + b_k, 0), or the sign bits, of random hyperplanes as
    :func:`fastmem.interpolate` draws them. A linear read-out of whole numbers labels the points. It
    is right on a training point just where an exact comparison says so, and `report.unseparated`
    lists the others.

    Parameters
    ----------
    X : array-like, CSR matrix or data frame of shape (n_samples, n_features)
        As for :func:`fastmem.interpolate`.
    y : array-like of shape (n_samples,)
        Labels of at least two classes.
    width : int or "auto"
        Features. "auto" finds the least number with which each class is separated from all others:
        doubled from 8, then bisected to a share of 1/64. More features cost time and label unseen
        points better.
    activation : {"relu", "threshold"}
        ReLU features, or sign bits.
    bits : int from 2 to 53
        Bits of a weight. Where so few lose a training point, as many more as it takes are used.
    max_bias, projection, center, scale, seed, n_threads, contradictions, encode
        As for :func:`fastmem.interpolate`. With ``max_bias=0`` no width separates labels that
        alternate along a ray.
    max_width : int, optional
        The largest width that "auto" may try; 4,096 by default.
    time_limit : float, optional
        Seconds after which "auto" stops; then the result depends on the machine, and
        `report.stopped` says so. By default there is no limit.

    Returns
    -------
    Separator

    Raises
    ------
    InvalidInputError
        For any argument that cannot be used.
    ContradictionError
        If two equal points have different labels, with ``width="auto"`` and
        ``contradictions="raise"``.
    MemoryError
        If the work would take more memory than is free.

    Warns
    -----
    UnseparatedWarning
        If some training points are not separated: with a given width, at ``max_width`` or at the
        time limit.

    Notes
    -----
    Dirksen, Genzel, Jacques and Stollenwerk, "The separation capacity of random neural networks",
    JMLR 23(309), 2022, bound the width of a random network that makes two sets separable. "Not
    separable" at some width is the word of a solver; "separated" is certified.

    Examples
    --------
    >>> import numpy as np, fastmem
    >>> X = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    >>> found = fastmem.separate(X, [0, 1, 1, 0], seed=0)
    >>> found.predict(X)
    array([0, 1, 1, 0])
    >>> found.report.is_separated
    True
    """
    clock = Clock()
    bits = whole(bits, "bits", "", LEAST_BITS, MOST_BITS)
    deadline = deadline_of(time_limit)
    if is_text(width, "smallest"):
        raise InvalidInputError(
            "width is 'smallest'; pass 'auto', which finds the least width, or a number"
        )
    encoding = None
    if encode is not False:
        with clock.stage("encoding"):
            X, encoding = encode_table(X, encode)
    with clock.stage("check"):
        problem = checked_problem(
            X, y, width=width, max_bias=max_bias, activation=activation, projection=projection,
            center=center, scale=scale, seed=seed, n_threads=n_threads, max_width=max_width,
            contradictions=contradictions,
        )  # fmt: skip
    problem, scaling = chosen_scale(problem, clock)
    settings, given = problem.settings, problem.given
    search = search_of(problem, settings.max_width or MOST_WIDTH, deadline)
    with clock.stage("separation"):
        n, real, is_least, word = _weights(problem, search)
    with clock.stage("certificate"):
        found = certified(problem, search, n, real, bits)
    wrong = np.flatnonzero(~(found.gaps > 0))
    middle = float(np.median(found.gaps))
    report = SeparationReport(
        n_samples=given.n_samples, n_features=problem.points.n_features, classes=problem.classes,
        width=n, is_separated=not len(wrong), unseparated=given.rows_of(wrong),
        is_least=is_least and not len(wrong), tried=tuple(search.tried),
        word=word if len(wrong) else "margins", bits=found.bits,
        least_margin=float(found.gaps.min()) / (abs(middle) or 1.0), n_exact=found.n_exact,
        activation=settings.activation, max_bias=largest_bias(settings, problem.extent),
        scale=scaling, stopped=search.stopped,
        seed=settings.seed.entropy,  # type: ignore[arg-type]
        n_threads=settings.n_threads, seconds=clock.seconds(), peak_bytes=peak_bytes(),
    )  # fmt: skip
    if sentence := report.warning():
        warn_user(sentence, UnseparatedWarning)
    return Separator(
        problem.classes, found.features.first, settings.activation, found.weights,
        found.intercepts, report, report.summary(), problem.points.feature_names, problem.scale,
        encoding,
    )  # fmt: skip


def _weights(problem: Problem, search: Search) -> tuple[int, Weights, bool, str]:
    """A width and its weights, whether it is the least one, and what separates or forbids it."""
    settings = problem.settings
    if settings.width is not None:
        real = search.at(settings.width)
        return settings.width, real, False, "open" if real.is_separated else real.word
    if forbidden(problem, search):
        n = min(_RAYS_WIDTH, settings.max_width or _RAYS_WIDTH)
        return n, search.at(n), False, "rays"
    n, real, is_least = search.least()
    return n, real, is_least, "open" if real.is_separated else real.word


def forbidden(problem: Problem, search: Search) -> bool:
    """Whether no number of features separates, because all hyperplanes pass through the origin."""
    first = search.features(1).first
    if first.biases.any():
        return False
    return alternate(problem.points, problem.codes, problem.settings.activation)
