"""The versions of model files: what each holds, and how its arrays are stored."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Version(NamedTuple):
    """What a file of one version holds.

    Attributes
    ----------
    first : {"stored", "structured", "seeded"}
        How the first layer is given: by its weights, by the signs of transforms, or by a key.
    activation : {"threshold", "relu"}
    packed : bool
        Whether integers, floats and masks take as few bytes as `file_packing` can make of them.
    named : bool
        Whether there are feature names in a member of their own.
    described : bool
        Whether there are a scale or an encoding, and feature names beside them.
    votes : bool
        Whether there is a read-out.
    keyed : bool
        Whether the first layer comes from a key as a whole: signs of transforms and biases, too.
    """

    first: str
    activation: str
    packed: bool
    named: bool
    described: bool = False
    votes: bool = False
    keyed: bool = False

    @property
    def joined(self) -> bool:
        """Whether all arrays are in one member (`file_joining`).

        Such files are packed, and have room for what described files hold.
        """
        return self.votes or self.keyed


def _keyed(first: str, activation: str, votes: bool = False) -> Version:
    return Version(first, activation, True, False, described=True, votes=votes, keyed=True)


VERSIONS = {
    1: Version("stored", "threshold", packed=False, named=False),
    2: Version("structured", "threshold", packed=True, named=False),
    3: Version("seeded", "threshold", packed=True, named=False),
    4: Version("stored", "relu", packed=False, named=False),
    5: Version("structured", "relu", packed=True, named=False),
    6: Version("stored", "threshold", packed=False, named=True),
    7: Version("structured", "threshold", packed=True, named=True),
    8: Version("seeded", "threshold", packed=True, named=True),
    9: Version("stored", "relu", packed=False, named=True),
    10: Version("structured", "relu", packed=True, named=True),
    11: Version("stored", "threshold", packed=False, named=False, described=True),
    12: Version("structured", "threshold", packed=True, named=False, described=True),
    13: Version("seeded", "threshold", packed=True, named=False, described=True),
    14: Version("stored", "relu", packed=False, named=False, described=True),
    15: Version("structured", "relu", packed=True, named=False, described=True),
    16: Version("stored", "threshold", packed=True, named=False, described=True, votes=True),
    17: Version("structured", "threshold", packed=True, named=False, described=True, votes=True),
    18: Version("seeded", "threshold", packed=True, named=False, described=True, votes=True),
    19: _keyed("seeded", "threshold"),
    20: _keyed("structured", "threshold"),
    21: _keyed("seeded", "relu"),
    22: _keyed("structured", "relu"),
    23: _keyed("seeded", "threshold", votes=True),
    24: _keyed("structured", "threshold", votes=True),
}

STEP_TYPES = ("|i1", "<i2", "<i4", "<i8")
COUNT_TYPES = ("|u1", "<u2", "<u4")
GAIN_TYPES = (*COUNT_TYPES, "<u8")
OFFSET_TYPES = (*STEP_TYPES, "<f8")
_FLOAT_TYPES = ("<f4", "<f8")
RETRIEVE = "copy it again from where it came from, or save the network again"
_REBUILD = "save the network again"

LIST_MAGIC = b"\x89fml"
"""First bytes of a decision list's file."""
SEPARATOR_MAGIC = b"\x89fms"
"""First bytes of a separator's file."""
ARCHIVE_MAGIC = b"PK\x03\x04"
"""First bytes of the other networks' files, and of many a file that is none."""

Members = dict[str, tuple[tuple[str, ...] | None, int]]
"""For each name the dtypes that its array may have, and its dimensions; the dtype of classes, None,
is the labels' own."""

_ROWS: Members = {"row_steps": (STEP_TYPES, 1), "extra": (("<f4",), 2)}
_FIRST_LAYERS: dict[str, Members] = {
    "stored": {"weights": (("<f4",), 2)},
    "structured": {"signs": (("<u8",), 3)} | _ROWS,
    "seeded": {"key": (("<u8",), 0)} | _ROWS,
}
_KEYED: Members = {
    "key": (("<u8",), 0),
    "block_steps": (STEP_TYPES, 1),
    **_ROWS,
    "reaches": (_FLOAT_TYPES, 1),
    "center": (OFFSET_TYPES, 1),
    "center_exponent": (("<i2",), 0),
    "own": (("|u1",), 1),
    "own_biases": (_FLOAT_TYPES, 1),
    "origin": (OFFSET_TYPES, 1),
    "origin_exponent": (("<i2",), 0),
}
"""A first layer that comes from a key, in place of the others' up to the origin; ``block_steps``
only where it is structured."""
_PLAIN: Members = {
    "biases": (("<f8",), 1),
    "origin": (("<f8",), 1),
    "radius": (("<f8",), 0),
    "masks": (("<u8",), 2),
    "thresholds": (("<i4",), 1),
    "owners": (("<i4",), 1),
    "covered": (("<i8",), 1),
    "summary": (("U",), 0),
}
_PACKED: Members = {
    "biases": (_FLOAT_TYPES, 1),
    "origin": (_FLOAT_TYPES, 1),
    "radius": (("<f8",), 0),
    "masks": (("<u8",), 2),
    "mask_sizes": (COUNT_TYPES, 1),
    "mask_gaps": (("|u1",), 1),
    "thresholds": (COUNT_TYPES, 1),
    "owners": (COUNT_TYPES, 1),
    "covered": (COUNT_TYPES, 1),
    "summary": (("|u1",), 1),
}
MULTIPLIER = "multiplier"
"""Of a read-out: among the facts of a file, where it is not 1."""
_READ_OUT: Members = {
    "vote_key": (("<u8",), 0),
    "exponent": (("<i2",), 0),
    "offsets": (OFFSET_TYPES, 1),
    "vote_weights": (("|i1",), 2),
    "intercepts": (STEP_TYPES, 1),
    "gains": (GAIN_TYPES, 1),
    "temperature": (("<f8",), 0),
    "reach": (("<f8",), 0),
    MULTIPLIER: (("|u1",), 0),
}


def _members(version: Version) -> Members:
    members: Members = {"format_version": (("<i8",), 0), "classes": (None, 1)}
    if version.keyed:
        members |= _KEYED | {name: what for name, what in _PACKED.items() if name not in _KEYED}
        del members["biases"]
        if version.first == "seeded":
            del members["block_steps"]
    else:
        members |= _FIRST_LAYERS[version.first]
        members |= _PACKED if version.packed else _PLAIN
    if version.activation == "relu":
        members["thresholds"] = (_FLOAT_TYPES if version.packed else ("<f8",), 1)
    if version.named:
        members["feature_names"] = (("|u1",), 1)
    if version.votes:
        members |= _READ_OUT
    if version.described:
        members["inputs"] = (("|u1",), 1)
    return members


MEMBERS = {number: _members(version) for number, version in VERSIONS.items()}
"""The arrays of each version's files, in their order."""
JOINED: Members = {
    "format_version": (("<i8",), 0),
    "facts": (("|u1",), 1),
    "arrays": (("|u1",), 1),
}
"""The members that hold all arrays of some versions; see `file_joining`."""


def members_in_file(number: int) -> Members:
    """What a file of a version holds, in its order."""
    return JOINED if VERSIONS[number].joined else MEMBERS[number]


class Fault(Exception):
    """What is wrong and what to do about it: two parts of a sentence."""

    def __init__(self, problem: str, remedy: str = _REBUILD) -> None:
        super().__init__(problem)
        self.problem = problem
        self.remedy = remedy


def number_of(
    first: str,
    activation: str,
    *,
    named: bool,
    described: bool = False,
    votes: bool = False,
    keyed: bool = False,
) -> int:
    """The version of files of such networks."""
    is_joined = votes or keyed
    wanted = (first, activation, named and not is_joined, described or is_joined, votes, keyed)
    for number, version in VERSIONS.items():
        kind = version.first, version.activation, version.named, version.described
        if (*kind, version.votes, version.keyed) == wanted:
            return number
    if votes:
        raise Fault("it votes, and its neurons have ReLU activations")
    raise Fault("its ReLU activations come from hyperplanes that are not stored")


def version_of(arrays: dict[str, np.ndarray]) -> Version:
    """What the file is that holds these arrays, or will hold them."""
    return VERSIONS[int(arrays["format_version"])]
