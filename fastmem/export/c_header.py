"""Networks as one C99 header: constant arrays, bit operations, no library and no malloc.

How a bit is decided in C. The first layer is computed in float or double, with a bound on its
rounding as in ``kernels.signs`` and ``kernels.hadamard``; what is within the bound is computed
again in double from the stored row, and what is still doubtful exactly: a product of a float32
weight and a float32 coordinate is a double, a coordinate of double is cut into two such parts, and
the sum is kept as an expansion (Shewchuk, Adaptive precision floating-point arithmetic, 1997,
section 2.4), whose sign is that of its last component. So C gives the labels of fastmem, whatever
the compiler and machine, as long as doubles are those of IEEE 754 and no product leaves their
range (coordinates from 1e-250 to 1e250). What a compiler defines where it may compute otherwise is
refused in the header; what is computed in expansions is volatile besides, for those that define
nothing. Unseen remains a program that is linked with -ffast-math: it takes float32 coordinates
below 1e-38 for 0.
"""

from __future__ import annotations

import os
import re
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastmem.export.c_compiler import compiled, find_compiler
from fastmem.export.c_source import Source
from fastmem.export.checking import (
    WHOLE,
    ExportReport,
    Reference,
    distances,
    nearest_rows,
    reference,
    smallest,
)
from fastmem.export.layers import (
    check_choice,
    check_network,
    check_size,
    has_patterns,
    refuse,
    transforms_of,
    without_unused,
)
from fastmem.machine.files import check_output, moved_when_complete

if TYPE_CHECKING:
    from fastmem.network.network import Network

_FAR = 64.0
"""Where the points are so many radii away from 0, floats leave most bits open."""
_LONG = 1 << 20
"""Coordinates beyond which the bound of a float sum tells too little."""
_KEYWORDS = re.compile(
    "auto|break|case|char|const|continue|default|do|double|else|enum|extern|float|for|goto|if|"
    "inline|int|long|register|restrict|return|short|signed|sizeof|static|struct|switch|typedef|"
    "union|unsigned|void|volatile|while|class|template|new|delete|this|namespace"
)


def to_c(
    network: Network,
    path: str | os.PathLike[str],
    X: Any = None,
    y: Any = None,
    *,
    name: str | None = None,
    points: str = "auto",
    arithmetic: str = "auto",
    exact: bool = True,
    masks: str = "auto",
    compiler: str | None = None,
    n_threads: int | None = None,
) -> ExportReport:
    """Write a network as one C99 header without dependencies, and check it by the C compiler.

    The header holds ``int NAME_predict(const NAME_point *x)``, the number of the class of one
    point of ``NAME_FEATURES`` coordinates, and ``NAME_labels``, the classes. It has constant arrays
    only and takes no memory but some buffers on the stack. Networks with ``decision="vote"`` have
    ``NAME_votes(const NAME_point *x, NAME_vote *votes)`` too, the votes of all classes: after
    points are rounded to a grid they are sums of integers of 8 and 32 bits. Structured hyperplanes
    stay signs, and are computed by Walsh-Hadamard transforms in place. A decision list stays a key
    and numbers of rows, which are computed, in double, when a neuron needs them. The first comment
    says which coordinate is which feature, where the network knows their names.

    It does not compile where its labels would not be those of fastmem: with options that let a
    compiler reorder sums (-ffast-math, -fassociative-math, /fp:fast), with sums in extended
    precision (x87), or where a number that it needs is not of IEEE 754 (a double of 32 bits).

    Parameters
    ----------
    network : Network
    path : str or os.PathLike
        Ends in .h. The file is written whole or not at all.
    X : array-like or CSR matrix of shape (n_samples, n_features_in_), optional
        Points on which the compiled header must agree with the network.
    y : array-like of shape (n_samples,), optional
        Their labels, to be told which rows are wrong.
    name : str, optional
        Prefix of all names in C; that of the file by default.
    points : {"auto", "float32", "float64"}
        Type of a coordinate; "auto" is that of X, or float32.
    arithmetic : {"auto", "float32", "float64"}
        In which the first layer is computed; "auto" is float32 but for far-away points.
    exact : bool
        Whether doubtful bits are decided exactly. If not, they are as rounding leaves them: that
        saves half the code, a buffer for a row and all use of double in float32.
    masks : {"auto", "bits", "lists"}
        One bit a hyperplane, or the gaps between those of a neuron; "auto" is the smaller.
    compiler : str, optional
        C compiler of the check; the first of cc, gcc, clang by default. With none of them nothing
        is checked, and the report says so.
    n_threads : int, optional
        Threads of the check; all cores by default.

    Returns
    -------
    ExportReport
        ``rows`` are those that get another label than from the network, and there is then an
        ExportWarning.

    Raises
    ------
    InvalidInputError
        If an argument is no such thing, a label cannot be written in C, the file cannot be written,
        or the compiler fails.
    """
    check_network(network)
    for argument, value in (("points", points), ("arithmetic", arithmetic)):
        check_choice(argument, value, ("auto", "float32", "float64"))
    check_choice("masks", masks, ("auto", "bits", "lists"))
    path = Path(path)
    check_output(path, (".h",))
    prefix = _prefix(name, path)
    network = without_unused(network)
    if transforms_of(network.first) is None:
        check_size(network)
    ref = reference(network, X, y, n_threads)
    point_type = "float32" if ref is None else str(ref.points.dtype)
    if points != "auto":
        if ref is not None and points == "float32" and point_type == "float64":
            refuse(
                "X is float64 and points='float32' would round it; pass points='float64', or "
                "X.astype('float32') to the fit and here"
            )
        point_type = points
    if network.default is not None:
        arithmetic = "float64"  # sums of a few numbers
    if arithmetic == "auto":
        first = network.first
        open_ = np.linalg.norm(first.origin) > _FAR * first.radius or first.n_features > _LONG
        wide = open_ if exact else point_type == "float64"
        arithmetic = "float64" if wide else "float32"
    source = Source(network, prefix, point_type, arithmetic, exact, masks)
    text = source.text()
    settings = {} if network.readout is None else {"cosines": f"{len(network.readout):,}"}
    if has_patterns(network):
        settings |= {
            "first layer": source.first_layer,
            "arithmetic": arithmetic + (", then exact" if exact else ""),
            "masks": source.mask_form,
        }
    settings["points"] = point_type
    report = ExportReport("c", settings, source.n_bytes, unchecked="no points were given")
    if ref is not None:
        report = _checked(report, ref, text, prefix, point_type, compiler)
    if len(report.rows):
        remedy = "their bits are lost in rounding; pass exact=True"
        report = replace(report, remedy=remedy)
    with moved_when_complete(path) as temporary:
        temporary.write_text(text, encoding="ascii")
    report.warn()
    return report


def _prefix(name: str | None, path: Path) -> str:
    if name is None:
        name = re.sub(r"\W", "_", path.stem, flags=re.ASCII) or "network"
        if not re.match("[A-Za-z]", name) or _KEYWORDS.fullmatch(name):
            name = f"net_{name}"
    if (
        not isinstance(name, str)
        or not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,60}", name)
        or _KEYWORDS.fullmatch(name)
    ):
        refuse(f"name is {name!r}; pass a C identifier: letters, digits and _, a letter first")
    return name


def _checked(
    report: ExportReport,
    ref: Reference,
    text: str,
    prefix: str,
    point_type: str,
    compiler: str | None,
) -> ExportReport:
    chosen = compiler or find_compiler()
    if chosen is None:
        return replace(report, unchecked="there is no C compiler (cc, gcc or clang) here")
    away = distances(ref)
    with tempfile.TemporaryDirectory() as folder:
        codes = compiled(text, prefix, point_type, Path(folder), chosen)
        rows, wrong = ref.differing(
            lambda block: ref.network.classes_[codes(block)], nearest_rows(away, ref, 8)
        )
    return replace(
        report, n_checked=ref.points.n_samples, unchecked="", rows=rows,
        wrong=None if ref.truth is None else wrong, smallest_distance=smallest(away),
        attempts=((report.settings.get("arithmetic", WHOLE), len(rows)),),
    )  # fmt: skip
