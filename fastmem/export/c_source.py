"""The text of one C99 header: a network's arrays, and the templates filled in for it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

from fastmem.errors import InvalidInputError
from fastmem.export.c_lists import ListSource, whole_kind
from fastmem.export.c_templates import (
    BITS,
    DECIDE_FLOAT,
    DECIDE_ROW,
    DECIDE_STORED,
    DOUBLES,
    EXACT,
    HEAD,
    LISTS,
    PART_DOUBLE,
    PART_FLOAT,
    POPCOUNT,
    PREDICT,
    ROW,
    SCALED,
    SHORT_SUM,
    SLACK,
    STORED,
    SUM,
    TAIL,
    TRANSFORM,
    TRANSFORMED,
)
from fastmem.export.c_votes import EXCEPTIONS, VoteSource
from fastmem.export.layers import has_patterns, refuse, transforms_of, unpacked_masks
from fastmem.patterns.words import packed

if TYPE_CHECKING:
    from fastmem.hyperplanes.structured import StructuredHyperplanes
    from fastmem.network.network import Network

_LONG_GAP = 255
_FLOAT_MAX = float(np.finfo(np.float32).max)
_LANES = 8
"""Sums side by side in a dot product. With gcc 12, 8 are fast with -O2 and -O3, where 16 are slow
with -O2; with -march=native it is the other way round."""


class Source:
    """The text of one header, from what `fastmem.export.to_c` was told.

    ``planes`` are the hyperplanes where some are rows of transforms, else None. Bits stand in the
    order ``order``: those of transforms (``generated``), block by block, then those of ``stored``
    rows. ``mask_form`` is "bits" or "lists", and ``n_bytes`` counts what the arrays take, once
    `text` has been called. ``votes`` is what a read-out adds, or None.
    """

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
        self.takes_double = point_type == "float64"
        self.scale = network.scale
        # what is computed with, after the scale; products with it are exact in double
        self.point_is_double = self.takes_double or (
            self.scale is not None and (exact or not _fits_float(self.scale))
        )
        self.has_patterns = has_patterns(network)
        self.rules = None if network.default is None else ListSource(network, exact)
        self.votes = None
        if network.readout is not None:
            owners = network.second.owners
            self.votes = VoteSource(network.readout, owners, self.takes_double, self.scale)
        self.is_double = arithmetic == "float64"
        self.real = "double" if self.is_double else "float"
        self.unit = 2.0**-53 if self.is_double else 2.0**-24
        self.tiny = 2.0**-1000 if self.is_double else 2.0**-120
        self.huge = 1e280 if self.is_double else 1e30
        # points of double, computed in float, are rounded first
        self.rounded = 1.01 if self.point_is_double and not self.is_double else 0.0
        self.biases = first.biases[self.order]
        self.largest_bias = float(np.abs(self.biases).max(initial=0.0))
        with np.errstate(over="ignore"):
            short = self.biases.astype(np.float32)
        self.short_biases = bool((short.astype(np.float64) == self.biases).all())
        if not exact and not self.is_double:  # rounded there just as in the sum, and no double
            self.biases = np.clip(self.biases, -_FLOAT_MAX, _FLOAT_MAX)
            self.short_biases = True
        unpacked = unpacked_masks(network, self.order)
        sizes, gaps = _gap_lists(unpacked)
        self.unpacked, self.sizes, self.gaps = unpacked, sizes, gaps
        bits = 4 * -(-self.n // 32) * len(unpacked)
        lists = len(gaps) + sizes.nbytes
        self.mask_form = masks if masks != "auto" else ("lists" if lists < bits else "bits")
        if self.rules is not None:
            self.mask_form = "lists"

    @property
    def first_layer(self) -> str:
        """In which form the header holds the first layer."""
        if self.rules is not None:
            return "key"
        return "explicit" if self.planes is None else "transforms"

    def text(self) -> str:
        """The whole header."""
        votes = self.votes
        self._scale_array()
        if self.rules is not None:
            self.rules.arrays(self._array)
        elif self.has_patterns:
            self._second_layer_arrays()
            self._first_layer_arrays()
        if votes is not None:
            votes.arrays(self._array)
        self.parts.append(self._label_array())
        head = HEAD
        if self.has_patterns and self.planes is not None:
            rounds = self.planes.signs.shape[1]
            head += f"\n#define @UP_ROWS {self.planes.block_rows}\n#define @UP_ROUNDS {rounds}\n"
        if votes is not None:
            head += votes.types()
        template = [head, *self.parts]
        if self.has_patterns:
            template += self._patterns()
        if self.rules is not None:
            predict = self.rules.predict()
            template.append(predict if self.scale is None else predict.replace(*SCALED))
        elif votes is None:
            template.append(self._predict_function())
        else:
            template += [*votes.read(), *self._exceptions(), votes.votes()]
        text = "\n\n".join(part.strip("\n") for part in [*template, TAIL] if part)
        values = {
            "@what": self._what(),
            "@p": self.prefix,
            "@UP": self.prefix.upper(),
            "@point": "double" if self.takes_double else "float",
            "@value": "double" if self.point_is_double else "float",
            "@real": self.real,
            "@n_words": str(max(1, -(-self.n // 32))),
            "@n": str(self.n),
            "@d": str(self.d),
            "@K": str(len(self.network.classes_)),
            "@how": self._how(),
            "@m": str(len(self.network.second)),
            "@doubles\n": DOUBLES.strip("\n") + "\n" if self._needs_double() else "",
            "@votes": votes.comment() if votes is not None else "",
            "@names": _names_comment(self.network.feature_names),
        }
        for key in sorted(values, key=len, reverse=True):
            text = text.replace(key, values[key])
        return text + "\n"

    def _patterns(self) -> list[str]:
        """The functions that make a sign pattern, and what neurons need to count ones."""
        parts = PART_DOUBLE if self.point_is_double else PART_FLOAT
        exact = EXACT.replace("@cap", str(self._capacity())).replace("@parts", parts.strip("\n"))
        exact = exact.replace("@inflate", f"{1.001 + 1.1 * self.d * self.unit:.6f}")
        if self.rules is not None:
            return [self._taking_values(part) for part in self.rules.patterns(exact)]
        template = [POPCOUNT if self.mask_form == "bits" else ""]
        if self.exact:
            template.append(exact)
        if self.planes is not None:
            template.append(TRANSFORM)
            if self.exact:
                template.append(ROW)
        template.append(self._pattern_function())
        return [self._taking_values(part) for part in template]

    def _taking_values(self, part: str) -> str:
        """A function that takes points as the first layer does: after the scale."""
        return part if self.scale is None else part.replace("const @p_point *x", "const @value *x")

    def _what(self) -> str:
        layers = "@n hyperplanes, @m neurons"
        if self.rules is not None:
            return f"A decision list made by fastmem: {layers}"
        if self.network.readout is None:
            return f"A threshold network made by fastmem: {layers}"
        exceptions = f", for exceptions {layers}" if self.has_patterns else ""
        return f"A vote made by fastmem: {len(self.network.readout)} cosines{exceptions}"

    def _how(self) -> str:
        same = "labels are those of fastmem on every machine"
        if not self.has_patterns:
            return f"After points are rounded all numbers are whole: {same}."
        decided = (
            f"exactly: {same} with IEEE doubles."
            if self.exact
            else "as rounding leaves them: check the points that matter."
        )
        return f"Doubtful bits of the first layer are decided {decided}"

    def _needs_double(self) -> bool:
        """Whether anything in the header is of type double."""
        texts = any(part.startswith("static const double") for part in self.parts)
        computed = self.exact or self.is_double or self.point_is_double or self.rules is not None
        return (
            self.takes_double
            or texts
            or (self.has_patterns and computed)
            or (self.votes is not None and not self.votes.takes_whole)
        )

    def _array(self, kind: str, name: str, values: np.ndarray) -> None:
        """Add a constant array to the header."""
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

    # Second layer -----------------------------------------------------------------------------

    def _second_layer_arrays(self) -> None:
        second = self.network.second
        kind = whole_kind(second.thresholds)
        self._array(kind[0], "levels", second.thresholds.astype(kind[1]))
        codes, ends = [], []
        for code in self.network.covered:
            codes.append(code)
            ends.append(int(np.searchsorted(second.owners, code, side="right")))
        kind = whole_kind(np.array([*codes, *ends, 0]))
        self._array(kind[0], "block_class", np.array(codes, kind[1]))
        self._array(kind[0], "block_end", np.array(ends, kind[1]))
        if self.mask_form == "lists":
            kind = whole_kind(self.sizes)
            self._array(kind[0], "mask_size", self.sizes.astype(kind[1]))
            self._array("uint8_t", "mask_gaps", self.gaps)
        else:
            halves = _halves(packed(self.unpacked))[:, : -(-self.n // 32)]
            self._array("uint32_t", "masks", halves.reshape(-1))

    def _predict_function(self) -> str:
        """The function that finds the class of a point."""
        left = [c for c in range(len(self.network.classes_)) if c not in self.network.covered]
        # a class that was left out scores 0.5: it wins where no neuron is on
        start = f"long best = {'0' if left else '-2147483647L'};\n  int found = {(left or [0])[0]};"
        text = PREDICT if self.scale is None else PREDICT.replace(*SCALED)
        return self._counting(text).replace("@start", start)

    def _exceptions(self) -> list[str]:
        """The function that adds what neurons give to the votes of their classes."""
        if not self.has_patterns:
            return []
        return [self._taking_values(self._counting(EXCEPTIONS))]

    def _counting(self, text: str) -> str:
        """A function that goes through all neurons, filled in."""
        loop = LISTS if self.mask_form == "lists" else BITS
        prelude = "  const uint8_t *gaps = @p_mask_gaps;\n" * (self.mask_form == "lists")
        text = text.replace("@count", loop.strip("\n")).replace("@prelude\n", prelude)
        return text.replace("@blocks", str(len(self.network.covered)))

    # First layer ------------------------------------------------------------------------------

    def _scale_array(self) -> None:
        """The scale, unless the exponents of a read-out are all that needs it."""
        votes_by_exponents = self.votes is None or self.votes.takes_whole
        if self.scale is None or (votes_by_exponents and not self.has_patterns):
            return
        kind = "double" if self.point_is_double else "float"
        scale = self.scale if self.point_is_double else self.scale.astype(np.float32)
        self._array(kind, "scale", scale)

    def _first_layer_arrays(self) -> None:
        dtype = np.float32 if self.short_biases else np.float64
        self._array("float" if self.short_biases else "double", "biases", self.biases.astype(dtype))
        first = self.network.first
        if self.planes is not None:
            planes = self.planes
            size = planes.block_rows
            self._array("uint32_t", "signs", _halves(planes.signs).reshape(-1))
            used = np.zeros((1, len(planes.signs) * size), np.bool_)
            used[0, planes.rows[self.generated]] = True
            self._array("uint32_t", "used", _halves(packed(used)).reshape(-1))
        if len(self.stored):
            weights = (
                planes.extra[-1 - planes.rows[self.stored]]
                if self.planes is not None
                else first.weights
            )
            self._array("float", "weights", weights.reshape(-1))
            if self.exact:
                norms = np.sqrt(np.einsum("ij,ij->i", weights, weights, dtype=np.float64))
                with np.errstate(over="ignore"):
                    bounds = (norms * 1.0001 + 1e-37).astype(np.float32)
                # a norm beyond float: 0 times infinity, so that every bit is doubtful
                self._array("float", "norms", np.minimum(bounds, np.float32(3.4e38)))

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

    def _pattern_function(self) -> str:
        """The function that fills a sign pattern."""
        body = ["  const @real reach = @p_norm(x);"] if self.exact else []
        if self.planes is not None:
            body.append(self._transformed_bits(self.planes))
        if len(self.stored):
            body.append(self._stored_bits())
        return "\n".join(
            [
                "static inline void @p_pattern(const @p_point *x, uint32_t *bits) {",
                "  long i = 0;",
                "  memset(bits, 0, sizeof(uint32_t) * @n_words);",
                "\n".join(body),
                "}",
            ]
        )

    def _transformed_bits(self, planes: StructuredHyperplanes) -> str:
        """What fills the bits of the rows of transforms."""
        size, rounds = planes.block_rows, planes.signs.shape[1]
        stages = rounds * (size.bit_length() - 1)
        stretch = float(size) ** (rounds / 2)
        fits = size * self.largest_bias < self.huge
        values = self._bound(
            norm=1.02 * (1.01 * stages + 1.02 + self.rounded) * self.unit * stretch,
            tiny=self.tiny * size * size * (1 + stages),
            limit=self.huge / (stretch * size) if fits else -1.0,
        ) | {
            "@D": str(size), "@rounds": str(rounds), "@n_transforms": str(len(planes.signs)),
            "@decide": DECIDE_ROW if self.exact else DECIDE_FLOAT,
        }  # fmt: skip
        text = TRANSFORMED.replace("@buffers", "  float row[@D];\n" if self.exact else "")
        text = text.replace("@slack", SLACK if self.exact else "")
        return _filled(text.strip("\n"), values)

    def _stored_bits(self) -> str:
        """What fills the bits of stored rows."""
        sums = self.d // _LANES + 2 * _LANES + 4
        values = self._bound(
            norm=1.02 * (sums + self.rounded) * self.unit,
            tiny=self.tiny * (self.d + 1),
            limit=self.huge if self.largest_bias < self.huge else -1.0,
        )
        values["@norm"] += " * @p_norms[j]"
        values["@limit"] += " / (1 + @p_norms[j])"
        values |= {
            "@decide": DECIDE_STORED if self.exact else DECIDE_FLOAT,
            "@n_stored": str(len(self.stored)),
            "@whole": str(self.d // _LANES * _LANES),
            "@lanes": str(_LANES),
        }
        text = STORED.replace("@slack", SLACK if self.exact else "")
        text = text.replace("@sum", SUM if self.d >= 2 * _LANES else SHORT_SUM)
        return _filled(text.strip("\n"), values)

    def _bound(self, norm: float, tiny: float, limit: float) -> dict[str, str]:
        """What SLACK holds: norm |x| + bias |beta| + tiny, for |x| below the limit."""
        bias = 0.0 if self.is_double or self.short_biases else 1.01 * self.unit
        suffix = "" if self.is_double else "f"
        numbers = {"@norm": norm, "@bias": 1.02 * bias, "@tiny": tiny, "@limit": limit}
        return {key: f"{value:.8e}{suffix}" for key, value in numbers.items()}

    # Labels -----------------------------------------------------------------------------------

    def _label_array(self) -> str:
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


def _fits_float(scale: np.ndarray) -> bool:
    """Whether powers of two are normal numbers of float."""
    limits = np.finfo(np.float32)
    return bool(scale.min() >= limits.tiny and scale.max() <= limits.max)


def _filled(text: str, values: dict[str, str]) -> str:
    for key in ("@decide", *(key for key in values if key != "@decide")):
        text = text.replace(key, values[key].strip("\n") if key == "@decide" else values[key])
    return text


def _names_comment(names: tuple[str, ...] | None) -> str:
    """Lines of the comment that say which coordinate is which column, as texts of JSON."""
    if names is None:
        return ""
    lines = ["\n   x[k] is the column:"]
    for k, name in enumerate(names):
        # JSON in ASCII has no line ends; nor may it end the comment, begin another, hold a
        # trigraph or what is replaced in the templates
        text = json.dumps(name).replace("*/", "*\\/").replace("/*", "/\\u002a")
        text = text.replace("?", "\\u003f").replace("@", "\\u0040")
        lines.append(f"   {k} {text}")
    return "\n".join(lines)


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
    return sizes.astype(whole_kind(sizes)[1]), np.array(gaps, np.uint8)


def _halves(words: np.ndarray) -> np.ndarray:
    """Words of 64 bits as twice as many of 32, lower halves first."""
    return words.astype("<u8").view("<u4")


def _literals(values: np.ndarray) -> list[str]:
    if values.dtype == np.float32:
        return [f"{value:.8e}f" for value in values.tolist()]
    if values.dtype == np.float64:
        return [f"{value:.16e}" for value in values.tolist()]
    if values.dtype == np.uint32:
        return [f"0x{value:x}u" for value in values.tolist()]
    if values.dtype.itemsize == 8:
        return [
            f"INT64_C({value})" if values.dtype.kind == "i" else f"UINT64_C(0x{value:x})"
            for value in values.tolist()
        ]
    return [str(value) for value in values.tolist()]


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
