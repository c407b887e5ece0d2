"""Networks as one C99 header: constant arrays, bit operations, no library and no malloc.

How a bit is decided in C. The first layer is computed in float or double, with a bound on its
rounding as in ``kernels.signs`` and ``kernels.hadamard``; what is within the bound is computed
again in double from the stored row, and what is still doubtful exactly: a product of a float32
weight and a float32 coordinate is a double, a coordinate of double is cut into two such parts, and
the sum is kept as an expansion (Shewchuk, Adaptive precision floating-point arithmetic, 1997,
section 2.4), whose sign is that of its last component. So C gives the labels of fastmem, whatever
the compiler and machine, as long as doubles are those of IEEE 754 and no product leaves their
range (coordinates from 1e-250 to 1e250).
"""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastmem.export.checking import ExportReport, Reference, distances, reference
from fastmem.export.layers import (
    check_choice,
    check_network,
    check_size,
    refuse,
    transforms_of,
    unpacked_masks,
)
from fastmem.inputs import InvalidInputError

if TYPE_CHECKING:
    from fastmem.network import Network

_COMPILERS = ("cc", "gcc", "clang")
_LONG_GAP = 255
_LANES = 8
"""Sums side by side in a dot product, 1,024 rows of 784, gcc 12: 8 take 65 us with -O2 and 62 to 88
with -O3, 16 take 156 and 70. With -O3 -march=native it is the other way round: 164 and 42."""
_NUMBERS = count()
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
    only and takes no memory but some buffers on the stack. Structured hyperplanes stay signs, and
    are computed by Walsh-Hadamard transforms in place.

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
    from fastmem.tables import check_output, moved_when_complete

    check_output(path, (".h",))
    prefix = _prefix(name, path)
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
    if arithmetic == "auto":
        first = network.first
        open_ = np.linalg.norm(first.origin) > _FAR * first.radius or first.n_features > _LONG
        wide = open_ if exact else point_type == "float64"
        arithmetic = "float64" if wide else "float32"
    source = _Source(network, prefix, point_type, arithmetic, exact, masks)
    text = source.text()
    settings = {
        "first layer": "transforms" if source.planes is not None else "explicit",
        "arithmetic": arithmetic + (", then exact" if exact else ""),
        "masks": source.mask_form,
        "points": point_type,
    }
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


def find_compiler() -> str | None:
    """The first C compiler on the path."""
    return next((found for name in _COMPILERS if (found := shutil.which(name))), None)


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
    away = distances(ref.network.first, ref)
    with tempfile.TemporaryDirectory() as folder:
        codes = compiled(text, prefix, point_type, Path(folder), chosen)
        rows, wrong = ref.differing(
            lambda block: ref.network.classes_[codes(block)], np.argsort(away, kind="stable")[:8]
        )
    return replace(
        report, n_checked=ref.points.n_samples, unchecked="", rows=rows,
        wrong=None if ref.truth is None else wrong, smallest_distance=float(away.min()),
        attempts=((report.settings["arithmetic"], len(rows)),),
    )  # fmt: skip


def compiled(
    text: str,
    prefix: str,
    point_type: str,
    folder: Path,
    compiler: str,
    options: tuple[str, ...] = ("-O2",),
) -> Callable[[np.ndarray], np.ndarray]:
    """Compile a header and return codes(block), which runs it on the rows of an ndarray."""
    (folder / "net.h").write_text(text, encoding="ascii")
    source = folder / "net.c"
    source.write_text(
        f'#include "net.h"\nvoid all_codes(const {prefix}_point *x, long long n, int *codes);\n'
        f"void all_codes(const {prefix}_point *x, long long n, int *codes) {{\n"
        f"  long long i;\n"
        f"  for (i = 0; i < n; i++) codes[i] = {prefix}_predict(x + i * {prefix.upper()}_FEATURES);"
        f"\n}}\n",
        encoding="ascii",
    )
    # a name of its own: the loader takes an equal one for the library that it has already
    library = folder / f"net{next(_NUMBERS)}.so"
    command = [compiler, "-std=c99", *options, "-fPIC", "-shared", "-o", str(library), str(source)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InvalidInputError(f"the C compiler {compiler!r} cannot be run: {error}") from error
    if done.returncode:
        lines = (done.stderr.strip() or "no message").splitlines()
        raise InvalidInputError(f"the C compiler {compiler!r} fails: {' '.join(lines[:3])}")
    run = ctypes.CDLL(str(library)).all_codes
    run.restype = None
    run.argtypes = [ctypes.c_void_p, ctypes.c_longlong, ctypes.c_void_p]

    def codes(block: np.ndarray) -> np.ndarray:
        rows = np.ascontiguousarray(block, point_type)
        found = np.empty(len(rows), np.int32)
        run(rows.ctypes.data, len(rows), found.ctypes.data)
        return found

    return codes


class _Source:
    """Writes one header."""

    def __init__(
        self,
        network: Network,
        prefix: str,
        point_type: str,
        arithmetic: str,
        exact: bool,
        masks: str,
    ) -> None:
        self.network, self.prefix, self.exact = network, prefix, exact
        self.n_bytes = 0
        self.parts: list[str] = []
        first = network.first
        self.planes = transforms_of(first)
        if (
            self.planes is not None
            and 4 * len(first) * first.n_features <= 2 * self.planes.signs.nbytes
        ):
            self.planes = None  # a few short rows are smaller, and faster
        rows = np.arange(len(first))
        generated = np.zeros(0, np.int64)
        if self.planes is not None:
            numbers = self.planes.rows
            generated = np.flatnonzero(numbers >= 0)
            generated = generated[np.argsort(numbers[generated], kind="stable")]
            rows = np.flatnonzero(numbers < 0)
        self.generated, self.stored = generated, rows
        self.order = np.concatenate([generated, rows])
        self.n, self.d = len(first), first.n_features
        self.point_is_double = point_type == "float64"
        self.is_double = arithmetic == "float64"
        self.real = "double" if self.is_double else "float"
        self.unit = 2.0**-53 if self.is_double else 2.0**-24
        self.biases = first.biases[self.order]
        with np.errstate(over="ignore"):
            short = self.biases.astype(np.float32)
        self.short_biases = bool((short.astype(np.float64) == self.biases).all())
        unpacked = unpacked_masks(network, self.order)
        sizes, gaps = _gap_lists(unpacked)
        self.unpacked, self.sizes, self.gaps = unpacked, sizes, gaps
        bits = 4 * -(-self.n // 32) * len(unpacked)
        lists = len(gaps) + sizes.nbytes
        self.mask_form = masks if masks != "auto" else ("lists" if lists < bits else "bits")

    def array(self, kind: str, name: str, values: np.ndarray) -> None:
        """A constant array."""
        self.n_bytes += values.nbytes
        cells = _literals(values) or ["0"]
        lines = []
        line = ""
        for cell in cells:
            if len(line) + len(cell) > 96:
                lines.append(line)
                line = ""
            line += cell + ","
        lines.append(line)
        body = "\n".join(lines)
        self.parts.append(
            f"static const {kind} {self.prefix}_{name}[{len(cells)}] = {{\n{body}\n}};"
        )

    def text(self) -> str:
        """The whole header."""
        p, up = self.prefix, self.prefix.upper()
        n, m = self.network.widths
        self._second_layer()
        self._first_layer()
        labels = self._labels()
        values = {
            "@p": p, "@UP": up, "@real": self.real, "@n_words": str(max(1, -(-self.n // 32))),
            "@n": str(n), "@d": str(self.d), "@K": str(len(self.network.classes_)),
        }  # fmt: skip
        head = _HEAD
        if self.planes is not None:
            rounds = self.planes.signs.shape[1]
            head += f"\n#define @UP_ROWS {self.planes.block_rows}\n#define @UP_ROUNDS {rounds}\n"
        template = [head, *self.parts, labels, _POPCOUNT if self.mask_form == "bits" else ""]
        if self.exact:
            cap = self._capacity()
            inflate = f"{1.001 + 1.1 * self.d * self.unit:.6f}"
            exact = _EXACT.replace("@cap", str(cap)).replace("@parts", self._cut().strip("\n"))
            template.append(exact.replace("@inflate", inflate))
        if self.planes is not None:
            template.append(_TRANSFORM)
            if self.exact:
                template.append(_ROW)
        template += [self._pattern(), self._predict(), _TAIL]
        text = "\n\n".join(part.strip("\n") for part in template if part)
        values |= {
            "@point": "double" if self.point_is_double else "float",
            "@how": (
                "exactly: labels are those of fastmem on every machine with IEEE doubles."
                if self.exact
                else "as rounding leaves them: check the points that matter."
            ),
            "@m": str(m),
        }
        for key in sorted(values, key=len, reverse=True):
            text = text.replace(key, values[key])
        return text + "\n"

    # Second layer -----------------------------------------------------------------------------

    def _second_layer(self) -> None:
        second = self.network.second
        self.level_kind = _whole_kind(second.thresholds)
        self.array(self.level_kind[0], "levels", second.thresholds.astype(self.level_kind[1]))
        codes, ends = [], []
        for code in self.network.covered:
            codes.append(code)
            ends.append(int(np.searchsorted(second.owners, code, side="right")))
        self.n_blocks = len(codes)
        kind = _whole_kind(np.array([*codes, *ends, 0]))
        self.array(kind[0], "block_class", np.array(codes, kind[1]))
        self.array(kind[0], "block_end", np.array(ends, kind[1]))
        if self.mask_form == "lists":
            kind = _whole_kind(self.sizes)
            self.array(kind[0], "mask_size", self.sizes.astype(kind[1]))
            self.array("uint8_t", "mask_gaps", self.gaps)
        else:
            padded = np.zeros((len(self.unpacked), 32 * -(-self.n // 32)), np.uint8)
            padded[:, : self.n] = self.unpacked
            words = np.packbits(padded, axis=1, bitorder="little").view("<u4")
            self.array("uint32_t", "masks", words.reshape(-1))

    def _predict(self) -> str:
        left = [c for c in range(len(self.network.classes_)) if c not in self.network.covered]
        loop = _LISTS if self.mask_form == "lists" else _BITS
        # a class that was left out scores 0.5: it wins where no neuron is on
        start = f"long best = {'0' if left else '-2147483647L'};\n  int found = {(left or [0])[0]};"
        return (
            _PREDICT.replace("@count", loop.strip("\n"))
            .replace("@start", start)
            .replace("@blocks", str(self.n_blocks))
            .replace(
                "@prelude\n",
                "  const uint8_t *gaps = @p_mask_gaps;\n" * (self.mask_form == "lists"),
            )
        )

    # First layer ------------------------------------------------------------------------------

    def _first_layer(self) -> None:
        dtype = np.float32 if self.short_biases else np.float64
        self.array("float" if self.short_biases else "double", "biases", self.biases.astype(dtype))
        first = self.network.first
        if self.planes is not None:
            planes = self.planes
            size = planes.block_rows
            self.array("uint32_t", "signs", planes.signs.astype("<u8").reshape(-1).view("<u4"))
            used = np.zeros(len(planes.signs) * size, np.uint8)
            used[planes.rows[self.generated]] = 1
            words = np.packbits(used, bitorder="little").view("<u4")
            self.array("uint32_t", "used", words)
        if len(self.stored):
            weights = (
                planes.extra[-1 - planes.rows[self.stored]]
                if self.planes is not None
                else first.weights
            )
            self.array("float", "weights", weights.reshape(-1))
            if self.exact:
                norms = np.sqrt(np.einsum("ij,ij->i", weights, weights, dtype=np.float64))
                with np.errstate(over="ignore"):
                    bounds = (norms * 1.0001 + 1e-37).astype(np.float32)
                # a norm beyond float: 0 times infinity, so that every bit is doubtful
                self.array("float", "norms", np.minimum(bounds, np.float32(3.4e38)))

    def _capacity(self) -> int:
        """Components of an expansion, which is nonadjacent: one for two bits at most."""
        terms = self.d * (2 if self.point_is_double else 1) + 2
        usual = self.biases[self.biases != 0]
        # products of floats, and usual biases: bits from 2^-298 to 2^260
        usual = usual[np.abs(usual) < 2.0**260] * 2.0**298
        narrow = len(usual) == np.count_nonzero(self.biases) and bool(
            (usual == np.trunc(usual)).all()
        )
        return min(terms, 300 if narrow and not self.point_is_double else 1100)

    def _cut(self) -> str:
        return _PART_DOUBLE if self.point_is_double else _PART_FLOAT

    def _pattern(self) -> str:
        """The function that fills a sign pattern."""
        u, d = self.unit, self.d
        # points of double, computed in float, are rounded first
        rounded = 1.01 if self.point_is_double and not self.is_double else 0.0
        bias_error = 0.0 if self.is_double or self.short_biases else 1.01 * u
        tiny = 2.0**-1000 if self.is_double else 2.0**-120
        huge = 1e280 if self.is_double else 1e30
        suffix = "" if self.is_double else "f"
        parts = [
            "static inline void @p_pattern(const @p_point *x, uint32_t *bits) {",
            "  long i = 0;",
        ]
        largest = float(np.abs(self.biases).max(initial=0.0))
        body: list[str] = []
        if self.exact:
            body.append("  const @real reach = @p_norm(x);")
        if self.planes is not None:
            size = self.planes.block_rows
            rounds = self.planes.signs.shape[1]
            stages = rounds * (size.bit_length() - 1)
            stretch = float(size) ** (rounds / 2)
            norm = 1.02 * (1.01 * stages + 1.02 + rounded) * u * stretch
            add = tiny * size * size * (1 + stages)
            limit = huge / (stretch * size) if size * largest < huge else -1.0
            values = {
                "@norm": _number(norm, suffix), "@bias": _number(1.02 * bias_error, suffix),
                "@tiny": _number(add, suffix), "@limit": _number(limit, suffix),
                "@D": str(size), "@rounds": str(rounds),
                "@n_transforms": str(len(self.planes.signs)),
                "@decide": _DECIDE_ROW if self.exact else _DECIDE_FLOAT,
            }  # fmt: skip
            piece = _TRANSFORMED
            if self.exact:
                piece = piece.replace("@buffers", "  float row[@D];\n").replace("@slack", _SLACK)
            else:
                piece = piece.replace("@buffers", "").replace("@slack", "")
            body.append(_filled(piece.strip("\n"), values))
        if len(self.stored):
            sums = d // _LANES + 2 * _LANES + 4
            factor = 1.02 * (sums + rounded) * u
            limit = huge if largest < huge else -1.0
            values = {
                "@norm": _number(factor, suffix) + " * @p_norms[j]",
                "@bias": _number(1.02 * bias_error, suffix),
                "@tiny": _number(tiny * (d + 1), suffix),
                "@limit": _number(limit, suffix) + " / (1 + @p_norms[j])",
                "@decide": _DECIDE_STORED if self.exact else _DECIDE_FLOAT,
                "@n_stored": str(len(self.stored)),
                "@whole": str(d // _LANES * _LANES),
                "@lanes": str(_LANES),
            }
            piece = _STORED.replace("@slack", _SLACK if self.exact else "")
            piece = piece.replace("@sum", _SUM if d >= 2 * _LANES else _SHORT_SUM)
            body.append(_filled(piece.strip("\n"), values))
        fill = "\n".join(body)
        return "\n".join([*parts, "  memset(bits, 0, 4 * @n_words);", fill, "}"])

    # Labels -----------------------------------------------------------------------------------

    def _labels(self) -> str:
        classes = self.network.classes_
        kind = classes.dtype.kind
        if kind == "U":
            c_type, cells = "char *const", [_c_string(label) for label in classes.tolist()]
        elif kind == "f" and not (np.abs(classes) < 2.0**63).all():
            c_type, cells = "double", [f"{value!r}" for value in classes.tolist()]
        elif kind == "u" and int(classes.max()) >= 1 << 63:
            c_type, cells = "uint64_t", [f"UINT64_C({value})" for value in classes.tolist()]
        else:
            whole = [int(value) for value in classes.tolist()]
            low = -(1 << 63)
            c_type = "int64_t"
            cells = ["INT64_MIN" if value == low else f"INT64_C({value})" for value in whole]
        body = ",\n".join(cells)
        return f"static const {c_type} @p_labels[{len(cells)}] = {{\n{body}\n}};"


def _filled(text: str, values: dict[str, str]) -> str:
    for key in ("@decide", *(key for key in values if key != "@decide")):
        text = text.replace(key, values[key].strip("\n") if key == "@decide" else values[key])
    return text


def _gap_lists(unpacked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of gaps of each mask, and the gaps: zeros before each one; 255 is 255 zeros."""
    sizes = np.zeros(len(unpacked), np.int64)
    gaps: list[int] = []
    for j, mask in enumerate(unpacked):
        before = len(gaps)
        last = -1
        for place in np.flatnonzero(mask).tolist():
            gap = place - last - 1
            gaps.extend([_LONG_GAP] * (gap // _LONG_GAP))
            gaps.append(gap % _LONG_GAP)
            last = place
        sizes[j] = len(gaps) - before
    return sizes.astype(_whole_kind(sizes)[1]), np.array(gaps, np.uint8)


def _whole_kind(values: np.ndarray) -> tuple[str, Any]:
    top = int(values.max(initial=0))
    if top < 1 << 8:
        return "uint8_t", np.uint8
    return ("uint16_t", np.uint16) if top < 1 << 16 else ("uint32_t", np.uint32)


def _literals(values: np.ndarray) -> list[str]:
    if values.dtype == np.float32:
        return [f"{value:.8e}f" for value in values.tolist()]
    if values.dtype == np.float64:
        return [f"{value:.16e}" for value in values.tolist()]
    if values.dtype.itemsize == 4:
        return [f"0x{value:x}u" for value in values.tolist()]
    return [str(value) for value in values.tolist()]


def _number(value: float, suffix: str) -> str:
    return f"{value:.8e}{suffix}"


def _c_string(label: str) -> str:
    try:
        octets = label.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InvalidInputError(
            f"the label {label!r} is no text that UTF-8 can hold; rename it before the fit"
        ) from error
    if 0 in octets:
        refuse(f"the label {label!r} holds NUL, which ends a text in C; rename it")
    # octal escapes have three digits at most, so that what follows is never part of one; an
    # escaped question mark starts no trigraph
    plain = [chr(o) if 32 <= o < 127 and chr(o) not in '"\\?@' else f"\\{o:03o}" for o in octets]
    return '"' + "".join(plain) + '"'


_HEAD = """
/* A threshold network made by fastmem: @n hyperplanes, @m neurons, @K classes.
   int @p_predict(const @p_point *x): the class, 0 to @K - 1, of @d coordinates.
   @p_labels: the name of each class. C99, no library, no malloc.
   Doubtful bits of the first layer are decided @how */
#ifndef @UP_FASTMEM_H
#define @UP_FASTMEM_H

#include <float.h>
#include <stdint.h>
#include <string.h>

#ifdef __FAST_MATH__
#error "compile without -ffast-math: it breaks the error bounds"
#endif
#if defined(FLT_EVAL_METHOD) && FLT_EVAL_METHOD == 2
#error "compile for SSE2 or soft floats: extended precision breaks the exact sums"
#endif

#define @UP_FEATURES @d
#define @UP_CLASSES @K

typedef @point @p_point;
"""

_POPCOUNT = """
static inline int @p_count(uint32_t v) {
#if defined(__GNUC__)
  return __builtin_popcount(v);
#else
  v = v - ((v >> 1) & 0x55555555u);
  v = (v & 0x33333333u) + ((v >> 2) & 0x33333333u);
  return (int)((((v + (v >> 4)) & 0x0f0f0f0fu) * 0x01010101u) >> 24);
#endif
}
"""

_EXACT = """
/* At least the 2-norm of x: Newton's method from above, so that each step is a bound. */
static inline @real @p_norm(const @p_point *x) {
  @real largest = 0, sum = 0, root;
  int k;
  for (k = 0; k < @d; k++) {
    const @real size = (@real)(x[k] < 0 ? -x[k] : x[k]);
    if (size > largest) largest = size;
  }
  if (largest == 0) return 0;
  for (k = 0; k < @d; k++) {
    const @real part = (@real)x[k] / largest;
    sum += part * part;
  }
  root = (1 + sum) / 2;
  for (k = 0; k < 8; k++) root = (root + sum / root) / 2;
  return (@real)@inflate * root * largest;
}

/* Adds b to an expansion of *n components, without error; zeros are left out. */
static inline void @p_grow(double *parts, int *n, double b) {
  int i, kept = 0;
  for (i = 0; i < *n; i++) {
    const double a = parts[i], sum = a + b, back = sum - a;
    const double rest = (a - (sum - back)) + (b - back);
    if (rest != 0) parts[kept++] = rest;
    b = sum;
  }
  if (b != 0) parts[kept++] = b;
  *n = kept;
}

/* Whether <w, x> + bias > 0: in double with a bound, then exactly. */
static int @p_positive(const float *w, const @p_point *x, double bias) {
  double parts[@cap], total = bias, size = bias < 0 ? -bias : bias, bound;
  int k, n = 0;
  for (k = 0; k < @d; k++) {
    const double term = (double)w[k] * (double)x[k];
    total += term;
    size += term < 0 ? -term : term;
  }
  bound = (@d + 4) * 1.2e-16 * size + 1e-290;
  if (total > bound) return 1;
  if (total < -bound) return 0;
  @p_grow(parts, &n, bias);
  for (k = 0; k < @d; k++) {
@parts
  }
  return n > 0 && parts[n - 1] > 0;
}
"""

_PART_FLOAT = """    @p_grow(parts, &n, (double)w[k] * (double)x[k]);"""
_PART_DOUBLE = """    /* the upper 29 bits of x, times 24 bits, are 53 */
    const double whole = x[k];
    uint64_t word;
    double high;
    memcpy(&word, &whole, 8);
    word &= ~(uint64_t)0xffffff;
    memcpy(&high, &word, 8);
    @p_grow(parts, &n, (double)w[k] * (whole - high));
    @p_grow(parts, &n, (double)w[k] * high);"""

_TRANSFORM = """
/* v <- H v, the Walsh-Hadamard transform in place. */
static inline void @p_transform(@real *v) {
  int step, i, j;
  for (step = 1; step < @UP_ROWS; step *= 2)
    for (i = 0; i < @UP_ROWS; i += 2 * step)
      for (j = i; j < i + step; j++) {
        const @real a = v[j], b = v[j + step];
        v[j] = a + b;
        v[j + step] = a - b;
      }
}
"""

_ROW = """
/* One row of a block, all of whose sums are exact in float. */
static void @p_row(int block, int number, float *v) {
  int step, i, j, t;
  for (i = 0; i < @UP_ROWS; i++) v[i] = i == number ? 1.0f : 0.0f;
  for (t = @UP_ROUNDS - 1; t >= 0; t--) {
    const uint32_t *signs = @p_signs + (block * @UP_ROUNDS + t) * (@UP_ROWS / 32);
    for (step = 1; step < @UP_ROWS; step *= 2)
      for (i = 0; i < @UP_ROWS; i += 2 * step)
        for (j = i; j < i + step; j++) {
          const float a = v[j], b = v[j + step];
          v[j] = a + b;
          v[j + step] = a - b;
        }
    for (i = 0; i < @UP_ROWS; i++)
      if (signs[i >> 5] >> (i & 31) & 1) v[i] = -v[i];
  }
  for (i = 0; i < @UP_ROWS; i++) v[i] *= 1.0f / @UP_ROWS;
}
"""

_SLACK = """
      const @real size = beta < 0 ? -beta : beta;
      const @real slack = @norm * reach + @bias * size + @tiny;
      const int usable = reach < @limit;"""

_DECIDE_FLOAT = "z > 0"
_DECIDE_ROW = """
usable && z > slack ? 1 : usable && z < -slack ? 0
        : (@p_row(block, place, row), @p_positive(row, x, @p_biases[i]))"""
_DECIDE_STORED = """
usable && z > slack ? 1 : usable && z < -slack ? 0
        : @p_positive(w, x, @p_biases[i])"""

_TRANSFORMED = """
  @real v[@D];
@buffers  int block, place, k, t;
  for (block = 0; block < @n_transforms; block++) {
    for (k = 0; k < @D; k++) v[k] = k < @d ? (@real)x[k] : 0;
    for (t = 0; t < @rounds; t++) {
      const uint32_t *signs = @p_signs + (block * @rounds + t) * (@D / 32);
      for (k = 0; k < @D; k++)
        if (signs[k >> 5] >> (k & 31) & 1) v[k] = -v[k];
      @p_transform(v);
    }
    for (place = 0; place < @D; place++) {
      if (!(@p_used[block * (@D / 32) + (place >> 5)] >> (place & 31) & 1)) continue;
      {
      const @real beta = (@real)(@p_biases[i] * @D), z = v[place] + beta;@slack
      bits[i >> 5] |= (uint32_t)(@decide) << (i & 31);
      i++;
      }
    }
  }"""

_SUM = """@real acc[@lanes] = {0}, sum = 0;
      int h, l;
      for (h = 0; h < @whole; h += @lanes)
        for (l = 0; l < @lanes; l++) acc[l] += w[h + l] * (@real)x[h + l];
      for (h = @whole; h < @d; h++) sum += w[h] * (@real)x[h];
      for (l = 0; l < @lanes; l++) sum += acc[l];"""
_SHORT_SUM = """@real sum = 0;
      int h;
      for (h = 0; h < @d; h++) sum += w[h] * (@real)x[h];"""

_STORED = """
  {
    long j;
    for (j = 0; j < @n_stored; j++, i++) {
      const float *w = @p_weights + j * @d;
      const @real beta = (@real)@p_biases[i];
      @real z;
      @sum
      z = sum + beta;
      {@slack
      bits[i >> 5] |= (uint32_t)(@decide) << (i & 31);
      }
    }
  }"""

_PREDICT = """
static inline int @p_predict(const @p_point *x) {
  uint32_t bits[@n_words];
  long j = 0;
  int block;
  @start
@prelude
  @p_pattern(x, bits);
  for (block = 0; block < @blocks; block++)
    for (; j < (long)@p_block_end[block]; j++) {
      long score = @p_levels[j];
@count
      if (score > best) {
        best = score;
        found = @p_block_class[block];
      }
    }
  return found;
}
"""

_LISTS = """
      {
        const uint8_t *end = gaps + @p_mask_size[j];
        long place = 0;
        for (; gaps < end && score > best; gaps++) {
          place += *gaps;
          if (*gaps == 255) continue;
          score -= bits[place >> 5] >> (place & 31) & 1;
          place++;
        }
        gaps = end;
      }"""
_BITS = """
      {
        const uint32_t *mask = @p_masks + j * @n_words;
        int k;
        for (k = 0; k < @n_words && score > best; k++) score -= @p_count(mask[k] & bits[k]);
      }"""

_TAIL = """
#endif
"""
