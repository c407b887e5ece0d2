"""Data frames and Arrow tables: their columns as they lie in memory, and the columns' names.

Taken as frames are pandas and polars data frames, pyarrow tables and record batches, whatever
hands out an Arrow stream of records (``__arrow_c_stream__``), and any other object with
``columns`` that gives columns by name. No library is imported for it but pyarrow, and that only
for what is Arrow's.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from fastmem.inputs.arrays import array_points, sparse_points
from fastmem.inputs.arrow import NO_DIGITS, ArrowColumn, Wording, check_digits, check_pieces
from fastmem.inputs.points import ColumnPoints, Points
from fastmem.inputs.refusals import NAMES_SHOWN, refuse, show, typed
from fastmem.inputs.values import block_dtype, check_shape
from fastmem.machine.wording import printable

_SHORT = 4096
"""Chunks of fewer rows on average are joined: they would cost more than a copy of the column."""
_PANDAS = "encode it as numbers (fit with encode=True, or pandas.get_dummies) or drop it"
_POLARS = "encode it as numbers (fit with encode=True, or to_dummies) or drop it"

Pieces = list[np.ndarray]  # a column in arrays (rows,) or (rows, k) that follow each other


def is_frame(X: Any) -> bool:
    """Say whether X is a table of named columns."""
    kind = type(X)
    if hasattr(kind, "collect") and hasattr(
        kind, "collect_schema"
    ):  # a lazy frame warns when it is asked for its columns
        return True
    return _is_arrow(X) or (hasattr(X, "columns") and hasattr(X, "to_numpy"))


def frame_points(
    X: Any, n_features: int | None, feature_names: Sequence[str] | None, name: str
) -> Points:
    """Check a data frame and wrap it; nothing is copied where columns are plain arrays.

    Parameters
    ----------
    X : object for which `is_frame`
    n_features, feature_names, name
        As of `check_points`.
    """
    if _is_lazy(X):
        kind = type(X).__name__
        refuse(f"{name} is a {kind}, which holds no data yet; pass {name}.collect()")
    if _is_arrow(X):
        return _arrow_points(_arrow_table(X, name), n_features, feature_names, name)
    labels = list(X.columns)
    names = _text_names(labels)
    check_names(names, feature_names, name)
    check_shape((len(X), len(labels)), n_features, name)
    wording = Wording(name, encode=_POLARS if hasattr(X, "get_column") else _PANDAS)

    def place(index: Sequence[int]) -> str:
        return wording.place(index[0], labels[index[1]])

    points: Points
    if _is_one_array(X):
        points = array_points(X.to_numpy(), n_features, name, place)
    elif _is_all_sparse(X):
        points = sparse_points(X.sparse.to_coo(), n_features, name, place)
    else:
        columns: list[Pieces] = []
        features: list[Any] = []
        for j, label in enumerate(labels):
            column = X.iloc[:, j] if hasattr(X, "iloc") else X[label]
            pieces = _pieces(column, label, wording)
            more = [label]
            if pieces[0].ndim > 1:
                more = [f"{label}[{k}]" for k in range(pieces[0].shape[1])]
            check_pieces(pieces, label, wording, more)
            columns.append(pieces)
            features += more
        points = _column_points(columns, len(X))
        if len(features) != len(labels):
            names = _text_names(features)
            check_names(names, feature_names, name)
            check_shape((len(X), len(features)), n_features, name)
    points.feature_names = names
    return points


def check_names(
    found: Sequence[str] | None,
    expected: Sequence[str] | None,
    name: str,
    remedy: str = "pass the columns of the fit in their order (feature_names of the network)",
) -> None:
    """Refuse columns that are not those of the fit, in its order, where both have names."""
    if found is None or expected is None or list(found) == list(expected):
        return
    known, here = set(expected), set(found)
    missing = [one for one in expected if one not in here]
    extra = [one for one in found if one not in known]
    if missing or extra:
        parts = []
        if missing:
            parts.append(f"lacks {_columns(missing)} of the fit")
        if extra:
            parts.append(f"has {_columns(extra)}, which the fit did not have")
        refuse(f"{name} {' and '.join(parts)}; {remedy}")
    for j, (one, other) in enumerate(zip(found, expected, strict=False)):
        if one != other:
            refuse(
                f"{name} has its columns in another order than at the fit, {show(one)} where "
                f"{show(other)} was (column {j}); {remedy}"
            )


def _columns(names: Sequence[str]) -> str:
    shown = ", ".join(show(one) for one in names[:NAMES_SHOWN])
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return f"{'column' if len(names) == 1 else 'columns'} {shown}{more}"


def _text_names(labels: Sequence[Any]) -> list[str] | None:
    """Return the names where all of them are strings."""
    return [str(one) for one in labels] if all(isinstance(one, str) for one in labels) else None


# Columns ---------------------------------------------------------------------------------------


def _column_points(columns: Sequence[Pieces], n_samples: int) -> ColumnPoints:
    n_features = sum(1 if part[0].ndim == 1 else part[0].shape[1] for part in columns)
    dtype = block_dtype(*(part[0].dtype for part in columns))
    return ColumnPoints(_batches(columns, n_samples), (n_samples, n_features), dtype)


def _batches(columns: Sequence[Pieces], n_samples: int) -> list[list[np.ndarray]]:
    """Cut all columns at the same rows, wherever one of them is cut."""
    columns = [
        [np.concatenate(pieces)] if n_samples < _SHORT * len(pieces) and len(pieces) > 1 else pieces
        for pieces in columns
    ]
    cuts = {n_samples} | {
        int(end) for pieces in columns for end in np.cumsum([len(part) for part in pieces])
    }
    ends = sorted(cuts - {0}) or [0]
    batches: list[list[np.ndarray]] = [[] for _ in ends]
    for pieces in columns:
        rest = iter(pieces)
        piece, start, above = next(rest), 0, 0
        for batch, end in zip(batches, ends, strict=True):
            while above + len(piece) <= start and start < n_samples:
                above += len(piece)
                piece = next(rest)
            batch.append(piece[start - above : end - above])
            start = end
    return batches


def _is_lazy(X: Any) -> bool:
    return hasattr(type(X), "collect") and hasattr(type(X), "collect_schema")


def _is_one_array(frame: Any) -> bool:
    """Say whether the frame is one numeric array inside, so that to_numpy() copies nothing."""
    dtypes = set(frame.dtypes) if hasattr(frame, "iloc") else ()
    if not all(isinstance(dtype, np.dtype) and dtype.kind in "biuf" for dtype in dtypes):
        return False
    return len(dtypes) == 1 and np.may_share_memory(
        frame.iloc[:1].to_numpy(), frame.iloc[:, :1].to_numpy()
    )


def _is_all_sparse(frame: Any) -> bool:
    """Say whether all columns are pandas' sparse ones of one dtype, and mostly zero."""
    dtypes = set(frame.dtypes) if hasattr(frame, "iloc") else set()
    return len({getattr(dtype, "subtype", None) for dtype in dtypes}) == 1 and all(
        hasattr(dtype, "fill_value") and dtype.subtype.kind in "biuf" and dtype.fill_value == 0
        for dtype in dtypes
    )


def _pieces(column: Any, label: Any, wording: Wording) -> Pieces:
    """Return a column of a data frame as numeric arrays; nullable ones are not copied."""
    dtype = column.dtype
    if hasattr(column, "get_chunks"):
        return _polars_pieces(column, label, wording)
    if hasattr(dtype, "pyarrow_dtype"):  # pandas' Arrow columns
        return _arrow_pieces(column.array.__arrow_array__(), str(label), wording)[1]
    if hasattr(dtype, "numpy_dtype"):  # pandas' nullable columns
        missing = np.asarray(column.isna())
        if missing.any():
            wording.refuse_missing(label, int(missing.argmax()), int(missing.sum()), len(missing))
        return [column.to_numpy(dtype=dtype.numpy_dtype, copy=False)]
    values: np.ndarray = column.to_numpy()
    if values.dtype.kind not in "biuf" or str(dtype) == "category":
        _refuse_kind(column, values, label, wording)
    return [values]


def _refuse_kind(column: Any, values: Any, label: Any, wording: Wording) -> None:
    first = f" and its first value is {typed(values[0])}" if len(values) else ""
    refuse(
        f"{wording.column(label)} has dtype {printable(str(column.dtype))}{first}; {wording.encode}"
    )


def _polars_pieces(column: Any, label: Any, wording: Wording) -> Pieces:
    dtype = column.dtype
    missing = column.null_count()
    if missing:
        row = int(column.is_null().arg_max())
        wording.refuse_missing(label, row, missing, len(column))
    kind = getattr(dtype, "inner", dtype)
    is_array = kind is not dtype and hasattr(dtype, "shape")
    if kind.is_decimal() and kind is dtype:
        return [_polars_decimals(column, label, wording)]
    if kind is not dtype and not is_array:
        refuse(
            f"{wording.column(label)} has dtype {printable(str(dtype))}; make it an array of equal "
            f"lengths (list.to_array) or drop it"
        )
    if not (kind.is_numeric() or str(kind) == "Boolean") or str(kind) in ("Int128", "UInt128"):
        _refuse_kind(column, column.head(1).to_list(), label, wording)
    if kind.is_decimal():
        _refuse_kind(column, (), label, wording)
    chunks = column.get_chunks() or [column]
    pieces: Pieces = [chunk.to_numpy() for chunk in chunks]
    return [piece.reshape(len(piece), -1) for piece in pieces] if is_array else pieces


def _polars_decimals(column: Any, label: Any, wording: Wording) -> np.ndarray:
    """Return decimals as the nearest float64; what is said of them is said of Arrow's."""
    import polars

    texts = column.cast(polars.String)
    values: np.ndarray = texts.cast(polars.Float64).to_numpy()
    digits = texts.str.replace_all(NO_DIGITS, "").str.strip_chars("0").str.len_bytes()
    check_digits(digits.to_numpy(), values, column.__getitem__, lambda i: wording.place(i, label))
    return values


# Arrow -----------------------------------------------------------------------------------------


def _is_arrow(X: Any) -> bool:
    """Say whether X is a table of Arrow's, or a stream of records that is nothing else."""
    pyarrow = sys.modules.get("pyarrow")
    if pyarrow is not None and isinstance(
        X, pyarrow.Table | pyarrow.RecordBatch | pyarrow.RecordBatchReader
    ):
        return True
    return hasattr(X, "__arrow_c_stream__") and not hasattr(X, "__array__")


def _arrow_table(X: Any, name: str) -> Any:
    try:
        import pyarrow
    except ModuleNotFoundError:
        refuse(
            f"{name} is a {type(X).__name__} that pyarrow reads, which is not installed; install "
            f"it, or pass an array"
        )
    return X if isinstance(X, pyarrow.Table) else pyarrow.table(X)


def _arrow_points(
    table: Any, n_features: int | None, feature_names: Sequence[str] | None, name: str
) -> Points:
    wording = Wording(name)
    flat = not any(hasattr(kind, "value_field") for kind in table.schema.types)
    if flat:  # wrong names are told before wrong values
        check_names(table.column_names, feature_names, name)
        check_shape(table.shape, n_features, name)
    names: list[str] = []
    columns: list[Pieces] = []
    for label, column in zip(table.column_names, table.columns, strict=True):
        more, pieces = _arrow_pieces(column, label, wording)
        names += more
        columns.append(pieces)
    check_names(names, feature_names, name)
    check_shape((table.num_rows, len(names)), n_features, name)
    points = _column_points(columns, table.num_rows)
    points.feature_names = names
    return points


def _arrow_pieces(column: Any, label: str, wording: Wording) -> tuple[list[str], Pieces]:
    """Return the names of the features of a chunked column, and its values."""
    reader = ArrowColumn(label, column.type, wording)
    chunks = [chunk for chunk in column.chunks if len(chunk)]
    pieces, above = [], 0
    for i, chunk in enumerate(chunks):
        pieces.append(reader.read(chunk, above, chunks[i + 1 :]))
        above += len(chunk)
    if not pieces:
        pieces = [np.empty((0, reader.width or 0) if reader.is_list else 0, reader.dtype)]
    return reader.feature_names, pieces
