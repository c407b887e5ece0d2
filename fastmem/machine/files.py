"""Files written whole or not at all, and room reserved on the disk."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from fastmem.errors import InvalidInputError
from fastmem.machine.wording import either, reason


@contextmanager
def replaced_when_complete(path: str) -> Iterator[str]:
    """Give a temporary name beside `path`, and move that file there once it is complete.

    At every moment `path` holds the old file or the new one, never a part.

    Parameters
    ----------
    path : str
        Where the finished file belongs; what is there is replaced. A symbolic link is followed. A
        new file gets the permissions of any other new file, an old one keeps its own.

    Yields
    ------
    str
        The name to write to; removed again if anything, Ctrl-C included, interrupts.

    Raises
    ------
    OSError
        Of `path`, whatever name it was that failed.
    """
    # os.replace would put a file where the link is and leave the file that it points to as it was
    target = os.path.realpath(path)
    _require_directory(path, os.path.dirname(target))
    # not the number of the process: two containers may both have it
    temporary = os.path.join(os.path.dirname(target), f".fastmem-{secrets.token_hex(8)}.tmp")
    try:
        yield temporary
        with suppress(FileNotFoundError):
            os.chmod(temporary, stat.S_IMODE(os.stat(target).st_mode))
        os.replace(temporary, target)
    except BaseException as error:
        with suppress(OSError):
            os.unlink(temporary)
        if isinstance(error, OSError) and error.filename in (None, temporary):
            error.filename = path
        raise


def _require_directory(path: str, directory: str) -> None:
    """Say what is missing, where `open` would name the file that it cannot make."""
    if os.path.isdir(directory):
        return
    given = os.path.dirname(path) or directory
    try:
        os.stat(directory)
    except FileNotFoundError:
        why = f"there is no directory {given}, so create it first"
        raise FileNotFoundError(errno.ENOENT, why, path) from None
    except OSError as error:  # what may not be seen may be there
        error.filename = path
        raise
    why = f"{given} is a file and no directory, so give another place"
    raise NotADirectoryError(errno.ENOTDIR, why, path)


@contextmanager
def moved_when_complete(path: Path) -> Iterator[Path]:
    """As `replaced_when_complete`, with the sentences of commands.

    Parameters
    ----------
    path : Path
        Where the finished file belongs.

    Yields
    ------
    Path
        The name to write to.

    Raises
    ------
    InvalidInputError
        If the file cannot be written.
    """
    _refuse_device(path)
    try:
        with replaced_when_complete(str(path)) as temporary:
            yield Path(temporary)
    except OSError as error:
        raise InvalidInputError(f"{path} cannot be written: {reason(error)}") from error


def check_replaceable(path: str, not_regular: Callable[[], Exception]) -> None:
    """Refuse what `open` would not write to, and what is there but no file.

    Parameters
    ----------
    path : str
        What is to be replaced, if it is there.
    not_regular : callable
        Makes the exception to raise where ``path`` is a pipe or a device.

    Raises
    ------
    OSError
        As from `open` for writing, with ``path`` as its name.
    """
    target = os.path.realpath(path)
    _require_directory(path, os.path.dirname(target))
    try:
        mode = os.stat(target).st_mode
    except FileNotFoundError:
        return
    if is_special(mode):
        raise not_regular()
    try:
        open(target, "r+b").close()
    except OSError as error:
        error.filename = path
        raise


def is_special(mode: int) -> bool:
    """Whether ``st_mode`` is that of a pipe or a device: neither a file nor a directory."""
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def check_output(path: Path, suffixes: Sequence[str], inputs: Sequence[Path] = ()) -> None:
    """Refuse a file that cannot be written, before the work that would be lost.

    Parameters
    ----------
    path : Path
        Where a result is to be written.
    suffixes : sequence of str
        What the name may end in.
    inputs : sequence of Path
        Files that the result is made of.

    Raises
    ------
    InvalidInputError
        If the suffix is another one, the file is one of the inputs, by whatever name, or there is
        no such directory to write to.
    """
    if path.suffix.lower() not in suffixes:
        raise InvalidInputError(
            f"{path} has the suffix {path.suffix!r}: give a name that ends in {either(suffixes)}"
        )
    if path.is_dir():
        raise InvalidInputError(f"{path} is a directory: give the name of a file")
    _refuse_device(path)
    if any(path.exists() and given.exists() and path.samefile(given) for given in inputs):
        raise InvalidInputError(
            f"{path} would be written over what it is made of: give the name of another file"
        )
    if not path.parent.is_dir():
        raise InvalidInputError(
            f"{path} cannot be written: there is no directory {path.parent}, so create it first"
        )
    if not os.access(path.parent, os.W_OK):
        raise InvalidInputError(
            f"{path} cannot be written: the directory {path.parent} is write-protected for you"
        )


def _refuse_device(path: Path) -> None:
    """Refuse what is there but no file: root could replace /dev/null."""
    if path.exists() and is_special(path.stat().st_mode):
        raise InvalidInputError(f"{path} is not a regular file: give the name of a new file")


def reserve(file: IO[bytes], size: int, no_room: Callable[[str], Exception]) -> None:
    """Give the file ``size`` bytes on the disk, or raise what ``no_room(why)`` makes."""
    missing = size - os.fstat(file.fileno()).st_size
    if missing <= shutil.disk_usage(tempfile.gettempdir()).free:
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
            else:
                os.truncate(file.fileno(), size)
            return
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise
    raise no_room("there is no room")
