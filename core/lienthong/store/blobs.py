"""Content-addressed files: a blob's name is the SHA-256 of its bytes.

A blob is written under a temporary name, fsynced, renamed, and its folder fsynced; only then may a row name it.
Writing the same bytes twice is one blob. Blobs are never changed.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from lienthong.errors import StorageFull, StoreError

HEAD_BYTES = 4096
_NAME = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Blob:
    """``sha256`` in lower-case hex, ``size`` in bytes."""

    sha256: str
    size: int


class BlobWriter:
    """An open blob. ``write`` may be given to anything that streams."""

    def __init__(self, file: BinaryIO) -> None:
        self.head = b""
        """The first bytes, for whoever must know what kind of file this is."""
        self._file = file
        self._hash = hashlib.sha256()
        self._size = 0

    def write(self, data: bytes) -> int:
        self._hash.update(data)
        self._size += len(data)
        if len(self.head) < HEAD_BYTES:
            self.head += data[: HEAD_BYTES - len(self.head)]
        with disk_errors():
            return self._file.write(data)

    def blob(self) -> Blob:
        return Blob(sha256=self._hash.hexdigest(), size=self._size)


class BlobStore:
    """Blobs under one folder. ``work`` is a folder on the same file system for files that may become blobs."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.work = root / "tmp"
        with disk_errors():
            self.work.mkdir(parents=True, exist_ok=True)

    def path(self, sha256: str) -> Path:
        if not _NAME.fullmatch(sha256):
            raise StoreError("store.no-such-blob", sha256=sha256)
        return self._root / sha256[:2] / sha256

    def open(self, sha256: str) -> BinaryIO:
        """:raises StoreError: it is not there, or cannot be read"""
        try:
            with disk_errors():
                return self.path(sha256).open("rb")
        except StoreError as problem:
            if isinstance(problem.__cause__, FileNotFoundError):
                raise StoreError("store.no-such-blob", sha256=sha256) from problem
            raise

    @contextmanager
    def writing(self) -> Iterator[BlobWriter]:
        """Write a blob. On a clean exit it is durable; on an error nothing stays.

        :raises StorageFull: the disk is full
        :raises StoreError: it cannot be written for another reason
        """
        temporary = self.work / secrets.token_hex(12)
        with disk_errors():
            file = temporary.open("xb", buffering=256 * 1024)
        writer = BlobWriter(file)
        try:
            yield writer
            with disk_errors():
                file.flush()
                os.fsync(file.fileno())
                file.close()
            self._publish(temporary, writer.blob().sha256)
        except BaseException:
            with suppress(OSError):  # what is still buffered is not wanted, and may not fit
                file.close()
            with suppress(OSError):
                temporary.unlink()
            raise

    def adopt(self, file: Path) -> Blob:
        """Make a finished file of ``work`` a blob; the file moves.

        :raises StorageFull: the disk is full
        :raises StoreError: it cannot be read or moved
        """
        writer_hash, size = hashlib.sha256(), 0
        with disk_errors(), file.open("rb") as source:
            while chunk := source.read(256 * 1024):
                writer_hash.update(chunk)
                size += len(chunk)
            os.fsync(source.fileno())
        blob = Blob(sha256=writer_hash.hexdigest(), size=size)
        self._publish(file, blob.sha256)
        return blob

    def sweep(self, older_than: float) -> int:
        """Remove what killed processes left unfinished before ``older_than`` (seconds since the epoch)."""
        removed = 0
        with disk_errors():
            for entry in self.work.iterdir():
                with suppress(FileNotFoundError):  # whoever writes it has just finished
                    if entry.stat().st_mtime < older_than:
                        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
                        removed += 1
        return removed

    def _publish(self, file: Path, sha256: str) -> None:
        final = self.path(sha256)
        with disk_errors():
            if final.exists():
                file.unlink()
                return
            if not final.parent.exists():
                final.parent.mkdir(exist_ok=True)
                _sync_folder(self._root)
            file.replace(final)
            _sync_folder(final.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def disk_errors() -> Iterator[None]:
    """Errors of the disk as errors of the store. A full one is its own: the operator must make room.

    :raises StorageFull: nothing was accepted
    :raises StoreError: a file or folder of the store cannot be used
    """
    try:
        yield
    except OSError as problem:
        if problem.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise StorageFull("store.full", where=str(problem.filename or "")) from problem
        reason = problem.strerror or str(problem)
        raise StoreError("store.unusable", where=str(problem.filename or ""), reason=reason) from problem
