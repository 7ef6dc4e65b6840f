"""Files of the packet commands: a working folder that never stays, progress over big ones, names that nobody has."""

from __future__ import annotations

import itertools
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import BinaryIO, NoReturn

from lienthong.edxml.attachments import storage_errors

_SLOW = 64 * 1024 * 1024
"""A file of so many bytes takes about a second to read, decode and hash."""


@contextmanager
def working_folder(parent: Path | None) -> Iterator[Path]:
    """A new folder in ``parent`` (default: the system's), gone at the end, also after Ctrl-C and SIGTERM.

    :raises StoreError: it cannot be made
    """

    def stop(number: int, _frame: object) -> NoReturn:
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        with storage_errors(str(parent or tempfile.gettempdir())):
            made = tempfile.TemporaryDirectory(prefix=".lienthong-", dir=parent, ignore_cleanup_errors=True)
        with made as folder:
            yield Path(folder)
    finally:
        signal.signal(signal.SIGTERM, before)


def reading(file: Path) -> AbstractContextManager[BinaryIO]:
    """A file open for reading, with a bar on stderr when it is big and a person looks on."""
    if not sys.stderr.isatty() or file.stat().st_size < _SLOW:
        return file.open("rb")
    import rich.progress
    from rich.console import Console

    return rich.progress.open(file, "rb", description=file.name, console=Console(stderr=True), transient=True)


def put_new(temporary: Path, folder: Path, name: str) -> Path:
    """Move a finished file into a folder under a name that is still free: ``x.pdf``, else ``x (2).pdf``, ...

    Both must be on one disk, so that the file is there whole or not at all.

    :raises StoreError: the disk does not let it
    """
    stem, suffix = os.path.splitext(name)
    names = itertools.chain([name], (f"{stem} ({number}){suffix}" for number in itertools.count(2)))
    return next(folder / free for free in names if claimed(temporary, folder / free))


def claimed(temporary: Path, target: Path) -> bool:
    """Move a finished file to a name; False, and nothing done, when the name is taken.

    :raises StoreError: the disk does not let it
    """
    with storage_errors(str(target)):
        temporary.chmod(0o666 & ~_umask())
        try:
            os.link(temporary, target)
        except FileExistsError:
            return False
        except OSError:
            return _claimed_without_links(temporary, target)
        temporary.unlink()
        return True


def _claimed_without_links(temporary: Path, target: Path) -> bool:
    """As ``claimed``, for disks without hard links (memory sticks, network shares)."""
    try:
        target.open("xb").close()
    except FileExistsError:
        return False
    temporary.replace(target)
    return True


def replace(temporary: Path, target: Path) -> None:
    """Move a finished file to a name, over whatever has it.

    :raises StoreError: the disk does not let it
    """
    with storage_errors(str(target)):
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(target)


def _umask() -> int:
    # The system tells it only to whoever sets it.
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
