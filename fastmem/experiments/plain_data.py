"""Dataclasses from the plain data that ``dataclasses.asdict`` and JSON made of them."""

from __future__ import annotations

import types
from dataclasses import is_dataclass
from typing import Any, Union, get_args, get_origin, get_type_hints


def built(kind: Any, value: Any) -> Any:
    """Make an object of a kind out of dictionaries, lists and values.

    Parameters
    ----------
    kind : type or annotation
        A dataclass, or what the annotations of one may hold: lists, tuples, dictionaries, unions
        with None, plain values.
    value : Any

    Raises
    ------
    TypeError
        If fields are missing or unknown, or a list or dictionary is something else.
    """
    if isinstance(kind, type) and is_dataclass(kind):
        return kind(**_fields(kind, value))
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        others = [one for one in arguments if one is not type(None)]
        return built(others[0], value) if value is not None and len(others) == 1 else value
    if origin is list:
        return [built(arguments[0], one) for one in _checked(value, list)]
    if origin is tuple:
        values = _checked(value, list | tuple)
        kinds = arguments
        if arguments[-1] is Ellipsis:
            kinds = arguments[:1] * len(values)
        if len(kinds) != len(values):
            raise TypeError(f"{len(values)} values for {len(kinds)}")
        return tuple(built(one, each) for one, each in zip(kinds, values, strict=True))
    if origin is dict:
        return {key: built(arguments[1], one) for key, one in _checked(value, dict).items()}
    return value


def _fields(kind: Any, value: Any) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {
        name: built(hints[name], one) if name in hints else one
        for name, one in _checked(value, dict).items()
    }


def _checked(value: Any, kind: Any) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"{value!r} is no {kind}")
    return value
