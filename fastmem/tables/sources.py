"""Where bytes come from: a file, compressed or not, a member of a zip archive, standard input."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import sys
import tempfile
import weakref
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any

from fastmem.errors import InvalidInputError
from fastmem.tables.raw_table import shown
from fastmem.tables.wording import some

STDIN = Path("-")
COMPRESSED = (".gz", ".bz2", ".xz", ".zst", ".zip")
_MAGIC = {
    b"\x1f\x8b": ".gz",
    b"BZh": ".bz2",
    b"\xfd7zXZ\0": ".xz",
    b"\x28\xb5\x2f\xfd": ".zst",
    b"PK\x03\x04": ".zip",
    b"PAR1": ".parquet",
    b"ARROW1": ".feather",
    b"\xff\xff\xff\xff": ".arrows",
}


class Source:
    """Bytes that can be read from the start as often as one likes.

    Parameters
    ----------
    path : Path
        For messages; "-" is standard input.
    suffix : str
        What the bytes are, as a suffix of a file in lower case.
    n_bytes : int or None
        How many there are about, where that is known without reading them.
    open_once : callable
        Gives a binary file at the first byte.
    is_file : bool
        Whether those files can be sought in.
    """

    def __init__(
        self, path: Path, suffix: str, n_bytes: int | None, open_once: Callable[[], Any],
        *, is_file: bool,
    ) -> None:  # fmt: skip
        self.path, self.suffix, self.n_bytes = path, suffix, n_bytes
        self._open, self._is_file = open_once, is_file

    @contextmanager
    def opened(self) -> Iterator[IO[bytes]]:
        """Give the bytes from the first one on; more than one may be open at a time."""
        with self._open() as file:
            yield file

    @contextmanager
    def native(self) -> Iterator[Any]:
        """Give the bytes as a file of Arrow's own, which is quicker, where there can be one."""
        try:
            str(self.path).encode()  # Arrow takes names of UTF-8 alone
            is_plain = isinstance(self._open, partial)
        except UnicodeEncodeError:
            is_plain = False
        if not is_plain:
            with self.opened() as file:
                yield file
            return
        import pyarrow as pa

        with pa.OSFile(str(self.path)) as file:
            yield file

    def seekable(self) -> Source:
        """Return the same bytes, unpacked into an unnamed file where they were compressed."""
        if self._is_file:
            return self
        with self.opened() as file:
            return _spooled(self.path, self.suffix, file)


def source_of(path: Path, suffixes: tuple[str, ...]) -> Source:
    """Open a file or standard input, and take off what it was compressed with.

    Parameters
    ----------
    path : Path
    suffixes : tuple of str
        Those of tables, which a name may have before ".gz" and the like.

    Raises
    ------
    InvalidInputError
        If an archive does not hold exactly one table.
    """
    if path == STDIN:
        source = _spooled(path, ".csv", sys.stdin.buffer)
        with source.opened() as file:
            source.suffix = kind_of(file.read(8)) or ".csv"
        if source.suffix == ".zip":
            with source.opened() as file, zipfile.ZipFile(file) as archive:
                if "xl/workbook.xml" in archive.namelist():
                    source.suffix = ".xlsx"
    else:
        size = path.stat().st_size
        source = Source(path, path.suffix.lower(), size, partial(open, path, "rb"), is_file=True)
    while source.suffix in COMPRESSED:
        inner = Path(path.stem).suffix.lower() if path != STDIN else ""
        source = _unpacked(source, inner if inner in suffixes else "", suffixes)
    return source


def kind_of(start: bytes) -> str | None:
    """Return the suffix that the first bytes of a file stand for, or None."""
    return next((suffix for magic, suffix in _MAGIC.items() if start.startswith(magic)), None)


def _unpacked(packed: Source, inner: str, suffixes: tuple[str, ...]) -> Source:
    """Return what a compressed source holds."""
    if packed.suffix == ".zip":
        return _only_member(packed, suffixes)
    kind = packed.suffix

    def unpack() -> Any:
        file = packed._open()
        if kind == ".gz":
            # closes what it is given when it is a buffer's
            return _Owning(gzip.GzipFile(fileobj=file), file)
        if kind == ".bz2":
            return _Owning(bz2.BZ2File(file), file)
        if kind == ".xz":
            return _Owning(lzma.LZMAFile(file), file)
        import pyarrow as pa

        stream = pa.CompressedInputStream(pa.PythonFile(file, "r"), "zstd")
        return _Owning(stream, file)

    # a guess: text shrinks to a quarter
    n_bytes = None if packed.n_bytes is None else 4 * packed.n_bytes
    source = Source(packed.path, inner, n_bytes, unpack, is_file=False)
    if not inner:
        with source.opened() as file:
            source.suffix = kind_of(file.read(8)) or ".csv"
    return source


def _only_member(packed: Source, suffixes: tuple[str, ...]) -> Source:
    """Return the one table of a zip archive."""
    with packed.opened() as file, zipfile.ZipFile(file) as archive:
        members = [
            info for info in archive.infolist()
            if not info.is_dir() and not info.filename.startswith("__MACOSX/")
            and not Path(info.filename).name.startswith(".")
        ]  # fmt: skip
    tables = [info for info in members if Path(info.filename).suffix.lower() in suffixes]
    if len(tables) != 1:
        held = f"holds {some([info.filename for info in members])}" if members else "holds no file"
        raise InvalidInputError(
            f"{shown(packed.path)} {held}, {len(tables)} of which are tables: give an archive of "
            "one table, or unpack it"
        )
    member = tables[0]
    if member.flag_bits & 1:
        raise InvalidInputError(
            f"{shown(packed.path)} is encrypted: unpack it with its password first"
        )

    def unpack() -> Any:
        file = packed._open()
        try:
            archive = zipfile.ZipFile(file)
            return _Owning(archive.open(member), archive, file)
        except BaseException:
            file.close()
            raise

    suffix = Path(member.filename).suffix.lower()
    return Source(packed.path, suffix, member.file_size, unpack, is_file=False)


class _Owning(io.RawIOBase):
    """A reader that closes what it reads from."""

    def __init__(self, stream: Any, *below: Any) -> None:
        self._stream, self._below = stream, below

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        # a decompressor gives what it has: ask again until it is enough
        if size is None or size < 0:
            return bytes(self._stream.read())
        parts, left = [], size
        while left:
            part = self._stream.read(left)
            if not part:
                break
            parts.append(bytes(part))
            left -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def close(self) -> None:
        if not self.closed:
            for stream in (self._stream, *self._below):
                stream.close()
        super().close()


class Spooled:
    """A temporary file without a name, written once and read by any number of readers.

    Parameters
    ----------
    path : str
        What is copied there, for messages.

    Attributes
    ----------
    size : int
        Bytes written so far.
    """

    def __init__(self, path: str) -> None:
        self._path, self.size = path, 0
        try:
            self._file = tempfile.TemporaryFile(prefix="fastmem-", buffering=0)  # noqa: SIM115
        except OSError as error:
            raise self._no_room(error) from error
        weakref.finalize(self, self._file.close)

    def write(self, part: Any) -> None:
        """Add bytes."""
        left = memoryview(part)
        while left:
            try:
                count = self._file.write(left)
            except OSError as error:
                raise self._no_room(error) from error
            left = left[count:]
            self.size += count

    def window(self) -> io.RawIOBase:
        """Give a reader at the first byte."""
        return _Window(self)

    def read_at(self, size: int, place: int) -> bytes:
        """Read at a place, whatever others read."""
        return os.pread(self._file.fileno(), size, place)

    def _no_room(self, error: OSError) -> InvalidInputError:
        return InvalidInputError(
            f"{self._path} goes to a temporary file, but {error.strerror or error}: make room "
            "there, or set TMPDIR to another directory"
        )


class _Window(io.RawIOBase):
    """A reader with a place of its own in a file, which stays open."""

    def __init__(self, file: Spooled) -> None:
        self._file, self._at = file, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        bases = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._file.size}
        self._at = bases[whence] + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        part = self._file.read_at(len(buffer), self._at)
        buffer[: len(part)] = part
        self._at += len(part)
        return len(part)


def _spooled(path: Path, suffix: str, file: IO[bytes]) -> Source:
    """Copy what can be read once to a temporary file."""
    kept = Spooled(shown(path))
    while part := file.read(1 << 20):
        kept.write(part)
    return Source(path, suffix, kept.size, kept.window, is_file=True)
