"""What signing and checking share about PDF files: telling them apart, finding signature fields, and a limit on time.

A PDF from outside may be built to keep a parser busy for ever or to make it fail in any way it can. So every reading
of such a file happens inside ``within``, and callers turn whatever pyHanko raises into their own answer.
"""

from __future__ import annotations

import _thread
import ctypes
import errno
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TypeVar

from pyhanko.pdf_utils.generic import DictionaryObject
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.pdf_utils.rw_common import PdfHandler
from pyhanko.sign.fields import enumerate_sig_fields

from lienthong.errors import ContentError, LienthongError, SigningError

_HEADER_WITHIN = 1024
"""Readers accept the header anywhere in the first kilobyte (ISO 32000-1 Annex H, implementation note 13)."""
_SECONDS_FOR_ANY_FILE = 8.0
_BYTES_PER_SECOND = 2_000_000
"""An honest file of usual size takes a hundredth of what these two allow, so a busy machine changes no answer."""
_SECONDS_BETWEEN_STOPS = 1.0
"""A stop can get lost in a destructor, whose exceptions Python drops; so it is sent again."""

Result = TypeVar("Result")


class OutOfTime(BaseException):
    """The time for one file is over. Not an ``Exception``, so that no handler inside a parser swallows it."""


def looks_like_pdf(stream: BinaryIO) -> bool:
    """Whether the file says that it is a PDF. Leaves the position at the start."""
    stream.seek(0)
    found = b"%PDF-" in stream.read(_HEADER_WITHIN)
    stream.seek(0)
    return found


def reader_of(stream: BinaryIO, name: str) -> PdfFileReader:
    """Lenient: Word writes files that a strict reading refuses, and refusing them protects nobody.

    :raises ContentError: the file is not a PDF or is encrypted. pyHanko's own errors need ``document_errors``.
    """
    if not looks_like_pdf(stream):
        raise ContentError("sign.not-a-pdf", where=name)
    reader = PdfFileReader(stream, strict=False)
    if reader.encrypted:
        raise ContentError("sign.pdf-encrypted", where=name)
    return reader


@contextmanager
def document_errors(path: Path) -> Iterator[None]:
    """Give the errors of files and of pyHanko, which raises of every kind on damaged input, our names.

    :raises ContentError: the document is damaged, or reading it took too long
    :raises SigningError: the disk is at fault
    """
    try:
        yield
    except LienthongError:
        raise
    except OutOfTime as problem:
        raise ContentError("sign.pdf-too-slow", where=path.name) from problem
    except Exception as problem:
        if is_disk_trouble(problem):
            raise SigningError("sign.file", where=path.name, reason=problem) from problem
        raise ContentError("sign.pdf-damaged", where=path.name, reason=repr(problem)[:200]) from problem


def signature_fields(document: PdfHandler) -> list[tuple[str, DictionaryObject]]:
    """The filled signature fields of a document: full name and field dictionary, in the form's order."""
    return [(name, field.get_object()) for name, _, field in enumerate_sig_fields(document, filled_status=True)]


def is_disk_trouble(problem: BaseException) -> bool:
    """Whether a failure is the disk's. A document can only make us seek to where nothing can be."""
    return isinstance(problem, OSError) and problem.errno != errno.EINVAL


def seconds_for(size: int) -> float:
    """How long work on a file of ``size`` bytes may take before it is stopped."""
    return _SECONDS_FOR_ANY_FILE + size / _BYTES_PER_SECOND


def within(seconds: float, work: Callable[[], Result]) -> Result:
    """``work()``, stopped by ``OutOfTime`` when it runs longer than ``seconds``.

    The work may be any Python code in any thread, which rules out signals and polling; CPython offers this one way to
    stop it from outside. The exception arrives between two bytecodes, so a single call into C code is finished first.
    """
    deadline = _Deadline(seconds)
    try:
        deadline.start()
        return work()
    finally:
        # A plain store, where no stop can arrive: whatever happens after it, no further stop is sent.
        deadline.over = True
        deadline.settle()


class _Deadline:
    """Sends stops to the thread that made it, from ``seconds`` after the start until it is ``over``."""

    def __init__(self, seconds: float) -> None:
        self.over = False
        self._seconds = seconds
        self._thread = ctypes.c_ulong(threading.get_ident())
        self._gate = threading.Lock()
        self._woken = threading.Event()
        self._sent = False

    def start(self) -> None:
        # ``Thread.start`` would wait until the watch runs, which costs as much as an RSA signature on a busy machine.
        _thread.start_new_thread(self._watch, ())

    def settle(self) -> None:
        """Let a stop that is on its way arrive here, and not in the caller's code."""
        self._woken.set()
        with self._gate:
            late = self._sent
        while late:
            self._send()  # again, because a stop to another thread can hold this one back

    def _watch(self) -> None:
        wait = self._seconds
        while not (self._woken.wait(wait) or self.over):
            with self._gate:
                if not self.over:
                    self._sent = True
                    self._send()
            wait = _SECONDS_BETWEEN_STOPS

    def _send(self) -> None:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(self._thread, ctypes.py_object(OutOfTime))
