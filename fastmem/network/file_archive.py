"""The archive itself: written sealed, read with nothing believed."""

from __future__ import annotations

import hashlib
import io
import math
import zipfile
import zlib
from collections.abc import Iterator
from typing import IO, NamedTuple

import numpy as np
from numpy.lib import format as npy_format

from fastmem.network.file_joining import parted
from fastmem.network.file_members import (
    ALWAYS_UNPACKED,
    bytes_of,
    check_dimensions,
    check_dtype,
    check_shapes,
    check_values,
)
from fastmem.network.file_packing import unpack
from fastmem.network.file_versions import (
    MEMBERS,
    RETRIEVE,
    VERSIONS,
    Fault,
    Members,
    members_in_file,
    version_of,
)

_SEAL = b"fastmem model, sha256 of all before: "
_DIGEST_LENGTH = 64
_BLOCK = 1 << 20
"""Bytes that are read, written and hashed at a time."""
_UNPACKED_RATIO = 128
"""To so many times its size may a file unpack; see `ALWAYS_UNPACKED`."""
_DEFLATE_RATIO = 1032
"""To so many times its size can deflate's output unpack."""
_MAX_HEADER = 512
_MAX_MEMBERS = 64


class _Header(NamedTuple):
    dtype: np.dtype
    shape: tuple[int, ...]
    n_bytes: int  # of the header itself


def write_members(arrays: dict[str, np.ndarray], file: IO[bytes]) -> None:
    """Write the arrays of a model file, sealed, over all that ``file`` holds."""
    members = {name: (_npy_header(array), bytes_of(array)) for name, array in arrays.items()}
    # packed arrays are few bytes, which any gain is worth waiting for
    worth = 1.0 if version_of(arrays).packed else 7 / 8
    unpacked = sum(len(header) + len(data) for header, data in members.values())
    for may_deflate in (True, False):
        file.seek(0)
        file.truncate()
        with zipfile.ZipFile(file, "w") as archive:
            archive.comment = _SEAL + b"0" * _DIGEST_LENGTH
            for name, (header, data) in members.items():
                deflate = may_deflate and _is_compressible(header, data, worth)
                _write_member(archive, name, header, data, deflate)
        size = file.seek(0, io.SEEK_END)
        if unpacked <= _unpacked_limit(size):
            break
    digest = _digest(file, size - _DIGEST_LENGTH)
    file.seek(size - _DIGEST_LENGTH)
    file.write(digest)


def _write_member(
    archive: zipfile.ZipFile, name: str, header: bytes, data: np.ndarray, deflate: bool
) -> None:
    # the constructor's fixed time stamp, and one system for all, make the bytes repeatable
    info = zipfile.ZipInfo(f"{name}.npy")
    info.create_system = 3
    info.compress_type = zipfile.ZIP_DEFLATED if deflate else zipfile.ZIP_STORED
    info.file_size = len(header) + len(data)  # decides whether ZIP64 is needed
    with archive.open(info, "w") as stream:
        stream.write(header)
        for start in range(0, len(data), _BLOCK):  # in blocks, so that Ctrl-C is seen
            stream.write(data[start : start + _BLOCK].data)


def _is_compressible(header: bytes, data: np.ndarray, worth: float) -> bool:
    """Whether deflate leaves less than ``worth`` of the bytes, judged by sixteen pieces of 4 KiB.

    Measured: Gaussian weights shrink by 7 % at 38 MB/s, not worth waiting for; masks with 23 bits
    of 1,164 or 5,000 shrink to 0.21 or 0.07, masks with three quarters of the bits to 0.84,
    thresholds to 0.29.
    """
    step = max(4096, len(data) // 16)
    pieces = [data[i : i + 4096].tobytes() for i in range(0, len(data), step)]
    sample = header + b"".join(pieces)
    return len(zlib.compress(sample)) < int(len(sample) * worth)


def _npy_header(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    npy_format.write_array_header_1_0(buffer, npy_format.header_data_from_array_1_0(array))
    return buffer.getvalue()


def _unpacked_limit(file_size: int) -> int:
    return max(ALWAYS_UNPACKED, _UNPACKED_RATIO * file_size)


class CappedReader(io.BufferedReader):
    """A file that gives at most one block a read, whatever a forged archive asks for.

    `zipfile` reads a whole directory at once, of a size that stands in the file.
    """

    def read(self, size: int | None = -1, /) -> bytes:
        """Read as a file does, but refuse more than a block."""
        if size is not None and 0 <= size <= _BLOCK:
            return super().read(size)
        data = super().read(_BLOCK + 1)
        if len(data) > _BLOCK:
            raise Fault("its directory is larger than a model's", RETRIEVE)
        return data


def read_members(file: CappedReader) -> dict[str, np.ndarray]:
    """Read the arrays of a model file and check bytes, sizes, types and values, in this order."""
    size = file.seek(0, io.SEEK_END)
    _check_seal(file, size)
    with zipfile.ZipFile(file) as archive:
        infos = _check_directory(archive, size)
        number = _checked_version(archive, infos)
        members = members_in_file(number)
        if list(infos) != list(members):
            raise Fault(f"it holds {', '.join(map(repr, infos))} instead of a model's arrays")
        headers = {name: _read_header(archive, name, info, members) for name, info in infos.items()}
        shapes = {name: header.shape for name, header in headers.items()}
        if VERSIONS[number].joined:
            check_dimensions(shapes, members)
        else:
            check_shapes(shapes, number)
        arrays = {name: _read_array(archive, infos[name], headers[name]) for name in infos}
    if VERSIONS[number].joined:
        arrays = parted(arrays)
    arrays = unpack(arrays)
    check_values(arrays)
    return arrays


def _check_seal(file: CappedReader, size: int) -> None:
    if not size:
        raise Fault("it is empty", RETRIEVE)
    sealed = size - _DIGEST_LENGTH
    file.seek(max(0, sealed - len(_SEAL)))
    if file.read(len(_SEAL)) != _SEAL:
        problem = "it does not end as a fastmem model does: it is cut short or another kind of file"
        raise Fault(problem, RETRIEVE)
    if file.read(_DIGEST_LENGTH) != _digest(file, sealed):
        raise Fault("its bytes are not those that were written: its digest differs", RETRIEVE)


def _digest(file: IO[bytes], size: int) -> bytes:
    """SHA-256 of the first `size` bytes of a file, in hexadecimal digits."""
    file.seek(0)
    digest = hashlib.sha256()
    while size > 0:
        block = file.read(min(size, _BLOCK))
        if not block:
            raise Fault("it ends before its arrays do", RETRIEVE)
        digest.update(block)
        size -= len(block)
    return digest.hexdigest().encode()


def _check_directory(archive: zipfile.ZipFile, size: int) -> dict[str, zipfile.ZipInfo]:
    """Return members by name; refuse some twice, encrypted or impossibly large."""
    infos: dict[str, zipfile.ZipInfo] = {}
    if len(archive.infolist()) > _MAX_MEMBERS:
        raise Fault(f"it holds {len(archive.infolist())} members instead of {len(MEMBERS[1])}")
    for info in archive.infolist():
        name = info.filename.removesuffix(".npy")
        if info.filename == name or name in infos:
            raise Fault(f"its member {info.filename!r} is no array or is there twice")
        if info.flag_bits & 1:
            raise Fault(f"its member {name!r} is encrypted")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise Fault(f"its member {name!r} is packed by method {info.compress_type}")
        ratio = 1 if info.compress_type == zipfile.ZIP_STORED else _DEFLATE_RATIO
        if info.file_size > ratio * info.compress_size:
            raise Fault(
                f"its member {name!r} claims {info.file_size} bytes from {info.compress_size}"
            )
        infos[name] = info
    packed = sum(info.compress_size for info in infos.values())
    if packed > size:
        raise Fault(f"its members claim {packed} of its {size} bytes")
    unpacked = sum(info.file_size for info in infos.values())
    if unpacked > _unpacked_limit(size):
        raise Fault(
            f"its {size} bytes would unpack to {unpacked}, above the limit of "
            f"{_unpacked_limit(size)}"
        )
    return infos


def _checked_version(archive: zipfile.ZipFile, infos: dict[str, zipfile.ZipInfo]) -> int:
    name = "format_version"
    if name not in infos:
        raise Fault("it states no format version")
    header = _read_header(archive, name, infos[name], MEMBERS[1])
    if header.shape:
        raise Fault(f"{name} has {len(header.shape)} dimensions instead of 0")
    number = int(_read_array(archive, infos[name], header))
    if number > max(VERSIONS):
        raise Fault(
            f"it has format version {number} and this fastmem reads up to {max(VERSIONS)}",
            "upgrade fastmem",
        )
    if number not in VERSIONS:
        raise Fault(f"it has format version {number}, which never was")
    return number


def _read_header(
    archive: zipfile.ZipFile, name: str, info: zipfile.ZipInfo, members: Members
) -> _Header:
    with archive.open(info) as stream:
        start = _read_exactly(stream, 10)
        if start[:8] != npy_format.magic(1, 0):
            raise Fault(f"{name} is no array in .npy format 1.0")
        length = int.from_bytes(start[8:], "little")
        if length > _MAX_HEADER:
            raise Fault(f"{name} has a header of {length} bytes instead of {_MAX_HEADER} or fewer")
        text = start[8:] + _read_exactly(stream, length)
    shape, fortran_order, dtype = npy_format.read_array_header_1_0(io.BytesIO(text))
    check_dtype(name, dtype, members)
    if fortran_order:
        raise Fault(f"{name} is stored by columns")
    if any(type(extent) is not int or extent < 0 for extent in shape):
        raise Fault(f"{name} has the impossible shape {shape}")
    claimed = math.prod(shape) * dtype.itemsize
    stored = info.file_size - 10 - length
    if claimed != stored:
        raise Fault(f"{name} claims {claimed} bytes in its header and stores {stored}")
    return _Header(dtype, shape, 10 + length)


def _read_array(archive: zipfile.ZipFile, info: zipfile.ZipInfo, header: _Header) -> np.ndarray:
    """Read an array whose type and size are checked already.

    The header and the array are all of the member: with its last byte zipfile compares the CRC.
    """
    array = np.empty(header.shape, header.dtype)
    data = bytes_of(array)
    with archive.open(info) as stream:
        _read_exactly(stream, header.n_bytes)
        start = 0
        for block in _blocks(stream, len(data)):
            data[start : start + len(block)] = np.frombuffer(block, np.uint8)
            start += len(block)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _blocks(stream: IO[bytes], n_bytes: int) -> Iterator[bytes]:
    while n_bytes:
        block = stream.read(min(n_bytes, _BLOCK))
        if not block:
            raise Fault("it ends before its arrays do", RETRIEVE)
        n_bytes -= len(block)
        yield block


def _read_exactly(stream: IO[bytes], n_bytes: int) -> bytes:
    return b"".join(_blocks(stream, n_bytes))
