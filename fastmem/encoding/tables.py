"""Raw tables in memory: data frames of all kinds as Arrow has them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NoReturn

from fastmem.errors import InvalidInputError
from fastmem.inputs.refusals import refuse, show, typed
from fastmem.machine.wording import reason

_ROWS = 1 << 16


class ArrowSource:
    """A table in memory, in batches.

    Attributes
    ----------
    names : list of str
    types : list of pyarrow.DataType
    decimal : str
    """

    decimal = "."

    def __init__(self, table: Any) -> None:
        self._table = table
        self.names: list[str] = list(table.column_names)
        self.types: list[Any] = list(table.schema.types)

    def batches(self) -> Iterator[Any]:
        """The rows, some at a time."""
        yield from self._table.to_batches(max_chunksize=_ROWS)


def arrow_table(X: Any, name: str = "X") -> Any:
    """A data frame as a pyarrow.Table.

    Parameters
    ----------
    X : pandas or polars data frame, pyarrow Table or RecordBatch, or dict of columns
    name : str
        What messages call it.

    Raises
    ------
    InvalidInputError
        If X is nothing of the kind, a column cannot be taken over, or names repeat.
    """
    try:
        import pyarrow
    except ModuleNotFoundError:
        refuse(
            f'{name} is to be encoded, which needs pyarrow: pip install "fastmem-nets[cli]", or '
            f"encode it yourself and leave encode out"
        )
    try:
        table = _converted(X, name, pyarrow)
    except InvalidInputError:
        raise
    except (pyarrow.ArrowException, ValueError, TypeError, OverflowError) as error:
        refuse(
            f"{name} has a column that Arrow cannot take over ({reason(error)}); make its values "
            f"all of one type, or drop it"
        )
    if table is None:
        refuse(
            f"{name} is {typed(X)}, whose columns have no names; pass a data frame of pandas, "
            f"polars or pyarrow"
        )
    for at, field in enumerate(table.schema):
        kind = without_view(field.type)
        if _has_orders(table.column(at)):
            kind = kind.value_type
        if kind != field.type:
            table = table.set_column(at, field.with_type(kind), table.column(at).cast(kind))
    twice = sorted({one for one in table.column_names if table.column_names.count(one) > 1})
    if twice:
        refuse(f"{name} has several columns named {twice[0]!r}; rename them")
    return table


def _has_orders(column: Any) -> bool:
    """Whether pieces of a column order its categories in different ways: there is none of all."""
    if not getattr(column.type, "ordered", False):
        return False
    levels = [chunk.dictionary for chunk in column.chunks if len(chunk)]
    return any(not one.equals(levels[0]) for one in levels)


def levels_of(table: Any) -> dict[int, list[Any]]:
    """Ordered categories of a pyarrow.Table with rows, by place, as its first piece with rows has.

    They are those of all its pieces where it is of `arrow_table`.
    """
    return {
        at: next(chunk for chunk in column.chunks if len(chunk)).dictionary.to_pylist()
        for at, column in enumerate(table.columns)
        if getattr(column.type, "ordered", False)
    }


def without_view(kind: Any) -> Any:
    """A type of the same values that Arrow filters and casts, as it does not where they are views.

    As those polars hands over its texts, and its categories.
    """
    from pyarrow import dictionary, large_string, types

    if types.is_dictionary(kind) and types.is_string_view(kind.value_type):
        return dictionary(kind.index_type, large_string(), kind.ordered)
    return large_string() if types.is_string_view(kind) else kind


def schema_of_all(
    schemas: Sequence[Any],
    titles: Sequence[str],
    levels: Sequence[Mapping[int, list[Any]]],
    is_empty: Callable[[int, int], bool],
) -> Any:
    """The pyarrow.Schema of tables with the same columns as one: types that hold all values.

    Parameters
    ----------
    schemas : sequence of pyarrow.Schema
    titles : sequence of str
        What messages call each table.
    levels : sequence of dict of int to list
        `levels_of` each table.
    is_empty : callable
        Given a table and a column, by place, whether no row has a value there. Such a column's type
        does not count where it does not fit to others.

    Raises
    ------
    InvalidInputError
        If there is none; it names the column.
    """
    import pyarrow

    for at in {at for some in levels for at in some}:
        orders = [some.get(at) for some in levels]
        if any(one != orders[0] for one in orders):  # there is no order of all
            schemas = _as_values(schemas, at)
    # what libraries note beside columns, such as an index of pandas, would differ
    plain = _alike([schema.remove_metadata() for schema in schemas])
    fields = []
    for at, name in enumerate(schemas[0].names):
        types = [schema.field(at).type for schema in plain]
        found = _type_of_all(types)
        if found is None:
            counts = [k for k in range(len(types)) if not is_empty(k, at)]
            found = _type_of_all([types[k] for k in counts]) if counts else pyarrow.null()
            if found is None:
                _refuse_types(name, [(schemas[k].field(at).type, titles[k]) for k in counts])
        fields.append(pyarrow.field(name, found))
    return pyarrow.schema(fields)


def _type_of_all(types: Sequence[Any]) -> Any | None:
    """A type that holds the values of all of these, None where there is none."""
    import pyarrow

    try:
        fields = [pyarrow.schema([("", one)]) for one in dict.fromkeys(types)]
        return pyarrow.unify_schemas(fields, promote_options="permissive").field(0).type
    except pyarrow.ArrowException:
        return None


def _refuse_types(name: str, found: Sequence[tuple[Any, str]]) -> NoReturn:
    """Refuse a column, by its types in tables and what these are called."""
    one = found[0]
    other = next((pair for pair in found if _type_of_all([one[0], pair[0]]) is None), found[-1])
    refuse(
        f"column {show(name)} is of type {one[0]} in {one[1]} and of type {other[0]} in {other[1]}"
        f", which no column has together; make it of one type in all of them"
    )


def _alike(schemas: Sequence[Any]) -> list[Any]:
    """Schemas in which a column is of categories in all of them or in none, ordered or not."""
    import pyarrow

    found = list(schemas)
    for at in range(len(schemas[0])):
        types = {schema.field(at).type for schema in schemas}
        kinds = {
            pyarrow.types.is_dictionary(one) and (one.ordered, "category")
            for one in types
            if not pyarrow.types.is_null(one)
        }
        if len(kinds) > 1:
            found = _as_values(found, at)
    return found


def _as_values(schemas: Sequence[Any], at: int) -> list[Any]:
    """Schemas in which a column is of the values of its categories."""
    import pyarrow

    found = []
    for schema in schemas:
        field = schema.field(at)
        if pyarrow.types.is_dictionary(field.type):
            schema = schema.set(at, field.with_type(field.type.value_type))
        found.append(schema)
    return found


def with_schema(table: Any, schema: Any) -> Any:
    """A pyarrow.Table with columns of the types of `schema_of_all`.

    Raises InvalidInputError where a column has values that its type does not hold.
    """
    import pyarrow

    table = table.replace_schema_metadata()
    for at, (column, field) in enumerate(zip(table.columns, schema, strict=True)):
        if column.type == field.type:
            continue
        if column.null_count == len(column):
            table = table.set_column(at, field, pyarrow.nulls(len(column), field.type))
            continue
        is_coded = pyarrow.types.is_dictionary(column.type)
        if is_coded and not pyarrow.types.is_dictionary(field.type):
            column = column.cast(column.type.value_type)
        try:
            table = table.set_column(at, field, column.cast(field.type))
        except pyarrow.ArrowException as error:
            raise InvalidInputError(
                f"column {show(field.name)} is of type {column.type}, and of all parts together of "
                f"type {field.type} ({reason(error)}); make it of one type in all parts"
            ) from error
    return table.cast(schema)


def _converted(X: Any, name: str, pyarrow: Any) -> Any | None:
    if isinstance(X, pyarrow.Table):
        return X
    if isinstance(X, pyarrow.RecordBatch):
        return pyarrow.Table.from_batches([X])
    if isinstance(X, dict):
        return pyarrow.table({str(name): column for name, column in X.items()})
    if hasattr(X, "iloc") and hasattr(X, "columns"):
        frame = X
        if not all(isinstance(one, str) for one in X.columns):
            frame = X.set_axis([str(one) for one in X.columns], axis=1)
        return pyarrow.Table.from_pandas(frame, preserve_index=False)
    if hasattr(X, "collect") and hasattr(X, "collect_schema"):
        refuse(f"{name} is a {type(X).__name__}, which holds no data yet; pass {name}.collect()")
    if hasattr(X, "__arrow_c_stream__"):
        return pyarrow.table(X)
    return X.to_arrow() if hasattr(X, "to_arrow") else None
