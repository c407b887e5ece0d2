"""What the columns of a raw table become."""

from __future__ import annotations

from typing import Any

from fastmem.errors import InvalidInputError


class Encoding:
    """What the columns of a raw table become: a placeholder that keeps the description."""

    def __init__(self, description: dict[str, Any]) -> None:
        self._description = description
        self.feature_names = tuple(description["feature_names"])

    def to_dict(self) -> dict[str, Any]:
        """Return a description that JSON can hold."""
        return dict(self._description)

    @classmethod
    def from_dict(cls, description: Any) -> Encoding:
        """Return the encoding of a description; InvalidInputError if it is none."""
        if not isinstance(description, dict) or not isinstance(
            description.get("feature_names"), list
        ):
            raise InvalidInputError("the encoding has no list of feature_names; pass one")
        return cls(description)
