"""Labels, and their numbers as classes."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from fastmem.errors import InvalidInputError
from fastmem.inputs.refusals import UNREADABLE, at, listed, refuse, show, typed
from fastmem.inputs.values import SCAN, check_characters, is_scipy_sparse

_LABEL_KINDS: dict[str, tuple[type, ...]] = {  # a bool is an int in Python: bool comes first
    "bool": (bool, np.bool_),
    "int": (int, np.integer),
    "float": (float, np.floating),
    "str": (str,),
}


@dataclass(frozen=True, eq=False)
class EncodedLabels:
    """Labels as ``classes[codes]``: a byte a point where strings would take dozens.

    Attributes
    ----------
    classes : ndarray of shape (n_values,)
        Different labels in any order; some may not occur.
    codes : ndarray of shape (n_samples,)
        Of any integer dtype, from 0.
    """

    classes: np.ndarray
    codes: np.ndarray

    def __len__(self) -> int:
        return len(self.codes)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        labels = self[:]
        return labels if dtype is None else labels.astype(dtype)

    def __getitem__(self, rows: Any) -> np.ndarray:
        """The labels of some rows."""
        labels: np.ndarray = self.classes[self.codes[rows]]
        return labels


def check_labels(
    y: Any, n_samples: int, *, name: str = "y", narrow: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Check labels and number them: ``classes[codes]`` equals y.

    Parameters
    ----------
    y : array-like of shape (n_samples,)
        Integers, strings, bools, or floats that are whole numbers; also a pandas or polars
        Series, a Categorical, a pyarrow Array or ChunkedArray, dictionary-encoded or not,
        `EncodedLabels`, and lists or object arrays of labels of one kind.
    narrow : bool
        Whether codes may be uint16, where classes and form of y allow it.

    Returns
    -------
    classes : ndarray of shape (n_classes,)
        The labels that occur, at least two, ascending; bool, integer, float or str dtype.
    codes : ndarray of shape (n_samples,), intp or uint16

    Raises
    ------
    InvalidInputError
        y is not such a sequence, has another length, a missing label, or one class only.
    """
    classes, codes = classes_and_codes(y, n_samples, name, narrow)
    require_two(classes, n_samples, name)
    return classes, codes


def require_two(classes: np.ndarray, n_samples: int, name: str) -> None:
    """Refuse labels of one class only."""
    if len(classes) == 1:
        refuse(
            f"{name} holds one class only, {show(classes[0])}, {n_samples} times; "
            f"pass labels of at least two classes"
        )


def check_known_labels(
    y: Any, n_samples: int, classes: np.ndarray, *, name: str = "y"
) -> np.ndarray:
    """Check labels against the classes of a network: ``classes[codes]`` equals y.

    Labels are as in `check_labels`, but not every class need occur; returns the codes, shape
    (n_samples,), intp. Raises InvalidInputError also for a label that is not among the classes.
    """
    found, codes = classes_and_codes(y, n_samples, name)
    known = {label: code for code, label in enumerate(classes.tolist())}
    table = np.array([known.get(label, -1) for label in found.tolist()], dtype=np.intp)
    if (table < 0).any():
        first = int(np.argmax(table[codes] < 0))
        refuse(
            f"{name}[{first}] is {show(found[codes[first]])}, which is not a class of the "
            f"network; its classes are {listed(classes)}"
        )
    known_codes: np.ndarray = table[codes]
    return known_codes


def check_label(name: str, value: Any, classes: np.ndarray) -> int:
    """Return the code of a label, which must be among the classes."""
    label = value.item() if isinstance(value, np.generic) else value
    known = {known_label: code for code, known_label in enumerate(classes.tolist())}
    same_kind = isinstance(label, bool) == (classes.dtype.kind == "b")  # 1 == True in Python
    if same_kind and isinstance(label, str | int | float) and label in known:
        return known[label]
    refuse(f"{name} is {typed(label)}, which is not a class of y; pass one of {listed(classes)}")


def classes_and_codes(
    y: Any, n_samples: int, name: str, narrow: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """As `check_labels`, where one class may be all: of some labels of more."""
    y = _encoded(y, name)
    if not isinstance(y, EncodedLabels):
        return _encode(_label_array(y, n_samples, name))
    _check_length(len(y), n_samples, name)
    occurs = np.zeros(len(y.classes), bool)
    for start in range(0, n_samples, 16 * SCAN):
        occurs[y.codes[start : start + 16 * SCAN]] = True
    used = np.flatnonzero(occurs)
    try:
        values = _label_array(y.classes[used], len(used), name)
    except InvalidInputError:  # again, for the row of what is refused
        values = _label_array(y[:], n_samples, name)
    classes, rank = _encode(values)
    is_narrow = narrow and len(classes) <= 1 << 16
    table = np.zeros(len(y.classes), np.uint16 if is_narrow else np.intp)
    table[used] = rank
    return classes, table[y.codes]


def _encoded(y: Any, name: str) -> Any:
    """Return labels that are encoded already, or soon are, as `EncodedLabels`; else y."""
    if hasattr(y, "array") and hasattr(getattr(y, "dtype", None), "pyarrow_dtype"):
        y = y.array.__arrow_array__()  # pandas' Arrow columns
    is_polars = callable(getattr(y, "null_count", None)) and not hasattr(y, "columns")
    if is_polars and y.null_count():
        _refuse_missing(int(y.is_null().arg_max()), y.null_count(), len(y), name)
    if is_polars and str(getattr(y, "dtype", "")) in ("Int128", "UInt128"):
        return y.to_list()  # NumPy has no such integers
    if str(getattr(y, "dtype", "")) == "category":  # pandas' Series or Categorical
        categorical: Any = getattr(y, "cat", y)
        codes = np.asarray(categorical.codes)
        if len(codes) and codes.min() >= 0:
            return EncodedLabels(np.asarray(categorical.categories), codes)
    pyarrow = sys.modules.get("pyarrow")
    if pyarrow is None or not isinstance(y, pyarrow.Array | pyarrow.ChunkedArray):
        return y
    if y.null_count:
        missing = np.asarray(y.is_null())
        _refuse_missing(int(missing.argmax()), int(missing.sum()), len(missing), name)
    kinds = pyarrow.types
    is_text = kinds.is_string(y.type) or kinds.is_large_string(y.type)
    if not (is_text or kinds.is_dictionary(y.type) or kinds.is_string_view(y.type)):
        return np.asarray(y)
    if kinds.is_string_view(y.type):
        y = y.cast(pyarrow.large_string())
    y = y if kinds.is_dictionary(y.type) else y.dictionary_encode()
    if isinstance(y, pyarrow.ChunkedArray):
        y = y.unify_dictionaries().combine_chunks()
        if isinstance(y, pyarrow.ChunkedArray):
            y = y.chunk(0) if y.num_chunks else y
    if not len(y):
        return np.empty(0, object)
    values, codes = y.dictionary, y.indices.to_numpy()
    if values.null_count:  # beside a null NumPy would make floats of integers
        valid = np.asarray(values.is_valid())
        missing = ~valid[codes]
        if missing.any():
            _refuse_missing(int(missing.argmax()), int(missing.sum()), len(missing), name)
        values, codes = values.drop_null(), (np.cumsum(valid) - 1)[codes]
    return EncodedLabels(values.to_numpy(zero_copy_only=False), codes)


def _refuse_missing(row: int, count: int, total: int, name: str) -> NoReturn:
    refuse(
        f"{name} has no value at row {row}, and {count} of its {total} labels "
        f"{'is' if count == 1 else 'are'} missing; remove the points that have no label"
    )


def _check_length(found: int, n_samples: int, name: str) -> None:
    if found != n_samples:
        refuse(
            f"{name} has {found} labels but there are {n_samples} points; "
            f"pass one label for each point"
        )
    if n_samples == 0:
        refuse(f"{name} is empty; pass at least one labelled point")


def _label_array(y: Any, n_samples: int, name: str) -> np.ndarray:
    """Return labels as a 1-D array: bool, integer, whole float, str, or objects all str."""
    if is_scipy_sparse(y):
        refuse(f"{name} is a sparse matrix; pass a plain array of {n_samples} labels")
    if isinstance(y, np.ma.MaskedArray) and np.ma.is_masked(y):
        masked = np.argwhere(np.ma.getmaskarray(y))[0]
        refuse(f"{at(name, masked)} is masked; remove the points that have no label")
    # A list is read as objects: NumPy would turn a number beside a string into a string.
    dtype = object if isinstance(y, list | tuple) else None
    try:
        labels = y.to_numpy() if hasattr(y, "to_numpy") else np.asarray(y, dtype=dtype)
    except UNREADABLE as error:
        sentence = f"{name} is a {type(y).__name__} that NumPy cannot read ({error})"
        raise InvalidInputError(f"{sentence}; pass an array of labels") from error
    if labels.ndim == 0:
        refuse(f"{name} is {typed(y)}, not a sequence; pass an array of {n_samples} labels")
    if labels.ndim == 2 and labels.shape[1] == 1:
        refuse(f"{name} has shape {labels.shape}, a column; pass np.ravel({name})")
    if labels.ndim > 1:
        refuse(
            f"{name} has shape {labels.shape}; pass one label for each point, "
            f"for one-hot rows np.argmax({name}, axis=1)"
        )
    _check_length(len(labels), n_samples, name)
    check_characters(labels, name)
    if labels.dtype.kind in "OT":
        labels = _object_labels(labels.tolist(), name)
    kind = labels.dtype.kind
    if kind not in "biufUO":
        refuse(
            f"{name} has dtype {labels.dtype} and {name}[0] is {show(labels[0])}; "
            f"labels are integers, strings or bools, so convert it to one of these"
        )
    if kind == "f":
        with np.errstate(invalid="ignore"):  # of NaN with any bits
            whole = np.isfinite(labels) & (np.trunc(labels) == labels)
        if not whole.all():
            first = int(np.argmin(whole))
            _refuse_fraction(at(name, [first]), labels[first])
        if labels.dtype.itemsize > 8:
            labels = _without_long_doubles(labels, name)
    return labels.astype(labels.dtype.newbyteorder("="), copy=False)


def _object_labels(values: list[Any], name: str) -> np.ndarray:
    """Return Python objects, all one kind of label, as an array; strings stay objects."""
    types = list(map(type, values))
    kind_of = {
        found: next((kind for kind, of in _LABEL_KINDS.items() if issubclass(found, of)), "other")
        for found in set(types)
    }
    kinds = set(kind_of.values())
    if "other" in kinds:
        i = min(types.index(found) for found, kind in kind_of.items() if kind == "other")
        remedy = "labels are integers, strings or bools, so convert it to one of these"
        if types[i].__name__ in ("NoneType", "NAType", "NaTType"):
            remedy = "remove the points that have no label"
        refuse(f"{name}[{i}] is {typed(values[i])}; {remedy}")
    for i, value in enumerate(values if "float" in kinds else ()):
        if kind_of[types[i]] == "float" and not value.is_integer():  # np.longdouble has it too
            _refuse_fraction(at(name, [i]), value)
    if len(kinds) > 1 and kinds != {"int", "float"}:
        i = next(i for i, found in enumerate(types) if kind_of[found] != kind_of[types[0]])
        refuse(
            f"{name} mixes kinds of label, {name}[0] is {typed(values[0])} but {name}[{i}] is "
            f"{typed(values[i])}; make all of them strings or all integers"
        )
    if "str" in kinds:
        labels = np.empty(len(values), dtype=object)
        # members of an Enum are equal to their text, but str() gives another one
        labels[:] = values if set(types) == {str} else [str.__str__(value) for value in values]
        return labels
    if "bool" in kinds:
        return np.array(values, dtype=bool)
    if "int" not in kinds and all(float(value) == value for value in values):
        return np.array(values, dtype=np.float64)
    return _integers([int(value) for value in values], name)


def _without_long_doubles(labels: np.ndarray, name: str) -> np.ndarray:
    """Return whole long doubles as float64, or as integers where float64 would round some."""
    with np.errstate(over="ignore"):
        numbers = labels.astype(np.float64)
    if (numbers == labels).all():
        return numbers
    return _integers([int(label) for label in labels], name)


def _integers(whole: list[int], name: str) -> np.ndarray:
    """Return integers as int64, or as uint64 where they are too large for it."""
    for dtype in (np.int64, np.uint64):
        try:
            return np.array(whole, dtype=dtype)
        except OverflowError:
            continue
    refuse(f"{name} reaches {show(max(whole, key=abs))}, beyond 64 bits; number the classes")


def _refuse_fraction(where: str, value: Any) -> NoReturn:
    problem = "not a whole number" if math.isfinite(value) else "not a label"
    refuse(
        f"{where} is {show(value)}, {problem}; labels are integers, strings or bools, "
        f"so give such points a class or remove them"
    )


def _encode(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the classes, ascending, and each label's place among them (intp)."""
    if labels.dtype.kind in "OU":  # sorting a million strings takes several times as long
        known: dict[str, int] = {}
        numbers = (known.setdefault(label, len(known)) for label in labels.tolist())
        codes = np.fromiter(numbers, dtype=np.intp, count=len(labels))
        names = sorted(known)
        rank = np.empty(len(names), dtype=np.intp)
        rank[[known[label] for label in names]] = np.arange(len(names))
        classes = np.array(names)
        if classes.tolist() != names:  # NumPy drops them
            ended = next(label for label in names if label.endswith("\0"))
            refuse(f"the label {show(ended)} ends in NUL, which NumPy drops; strip your labels")
        return classes, rank[codes]
    low, high = int(labels.min()), int(labels.max())
    span = high - low
    # differences of whole floats, and of integers, are rounded or wrap in the labels' own type
    wide = np.uint64 if labels.dtype.kind == "u" else np.int64
    fits = np.iinfo(wide).min <= low and high <= np.iinfo(wide).max
    if not fits or span > max(1 << 16, 4 * len(labels)):
        classes, codes = np.unique(labels, return_inverse=True)
        return _one_zero(classes), codes.astype(np.intp, copy=False)
    values = np.zeros(span + 1, dtype=labels.dtype)
    occurs = np.zeros(span + 1, dtype=bool)
    codes = np.empty(len(labels), dtype=np.intp)
    parts = [slice(i, i + SCAN) for i in range(0, len(labels), SCAN)]
    for part in parts:  # each copy of all labels would take as much as the codes
        some = labels[part]
        offsets = (some.astype(wide) - wide(low)).astype(np.intp)
        values[offsets], occurs[offsets], codes[part] = some, True, offsets
    rank = np.cumsum(occurs) - 1
    for part in parts:
        codes[part] = rank[codes[part]]
    return _one_zero(values[occurs]), codes


def _one_zero(classes: np.ndarray) -> np.ndarray:
    """Return classes with 0.0 for -0.0, which is equal."""
    return classes + classes.dtype.type(0) if classes.dtype.kind == "f" else classes
