"""Processes that do one kind of work, each order with a deadline.

A process that hangs in foreign code is killed, one that dies is replaced; either costs the order that it had and
nothing else.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import queue
import signal
import threading
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from lienthong.errors import LienthongError, SigningError, Unavailable

_START_SECONDS = 60.0
_END_SECONDS = 2.0
_context = multiprocessing.get_context("spawn")

Work = Callable[[Any], object]
"""What a process does with an order. Orders and answers cross by pickle."""


class Lane:
    """Up to ``size`` processes. ``begin`` runs once in each of them and gives what that process does with orders.

    A process starts when it is first needed, and never outlives this one. ``wait_seconds`` is how long an order waits
    for a free process.
    """

    def __init__(self, begin: Callable[[], Work], size: int, *, wait_seconds: float) -> None:
        self._begin = begin
        self._wait_seconds = wait_seconds
        self._closed = False
        # Last in, first out: a small load keeps to processes that have their keys open.
        self._places: queue.LifoQueue[_Child | None] = queue.LifoQueue()
        self._running: set[_Child] = set()
        for _ in range(size):
            self._places.put(None)

    def call(self, order: object, seconds: float, *, where: str) -> object:
        """What the work answers, or raises, within ``seconds`` after a process has taken the order. ``where`` names the
        order in errors.

        :raises Unavailable: every process was busy all the time; nothing was begun
        :raises SigningError: the process hung and was killed, or died
        """
        try:
            child = self._places.get(timeout=self._wait_seconds)
        except queue.Empty:
            raise Unavailable("sign.key-busy", where=where) from None
        try:
            child = child or self._started()
            return child.answer(order, seconds)
        except TimeoutError:
            child = child and self._ended(child)
            raise SigningError("sign.key-hangs", where=where, seconds=round(seconds)) from None
        except (EOFError, OSError) as problem:
            child = child and self._ended(child)
            raise SigningError("sign.process-died", where=where) from problem
        finally:
            self._places.put(child)

    def close(self) -> None:
        """End every process, whatever it is doing."""
        self._closed = True
        for child in list(self._running):
            self._ended(child)

    def _started(self) -> _Child:
        if self._closed:
            raise EOFError
        child = _Child(self._begin)
        self._running.add(child)
        return child

    def _ended(self, child: _Child) -> _Child | None:
        """Kill a process. One that the kernel does not let die (its driver waits for a device) keeps its place: a
        second process on the same device would be worse."""
        if not child.kill():
            return child
        self._running.discard(child)
        return None


class _Child:
    """One process and the pipe to it."""

    def __init__(self, begin: Callable[[], Work]) -> None:
        self._pipe, theirs = _context.Pipe()
        self._process = _context.Process(target=_serve, args=(theirs, begin), daemon=True)
        self._process.start()
        theirs.close()
        self._ready = False
        self._doomed = False

    def answer(self, order: object, seconds: float) -> object:
        """:raises TimeoutError: no answer in time. :raises EOFError, OSError: the process is gone."""
        if self._doomed:
            raise TimeoutError  # what still lies in its pipe answers an earlier order
        if not self._ready:
            # Importing takes a second or two, much more on a busy machine; it says nothing about the key.
            self._received(_START_SECONDS)
            self._ready = True
        self._pipe.send(order)
        answer = self._received(seconds)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def _received(self, seconds: float) -> object:
        if not self._pipe.poll(seconds):
            raise TimeoutError
        received: object = self._pipe.recv()
        return received

    def kill(self) -> bool:
        """Whether the process is gone."""
        self._doomed = True
        self._process.kill()
        self._process.join(_END_SECONDS)
        return not self._process.is_alive()


def _serve(pipe: Connection, begin: Callable[[], Work]) -> None:
    """The life of a process: the parent decides when it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    work = begin()
    pipe.send(None)
    with contextlib.suppress(EOFError, OSError):
        while True:
            pipe.send(_answer(work, pipe.recv()))


def _answer(work: Work, order: object) -> object:
    try:
        return work(order)
    except LienthongError as problem:
        # Facts may hold anything, exceptions of foreign libraries included, and not all of that can be pickled.
        facts = {name: v if isinstance(v, int | float | str) else str(v) for name, v in problem.facts.items()}
        return type(problem)(problem.code, where=problem.where, **facts)
    except Exception as problem:
        # A defect: the parent's log needs the place, and the exception itself may not survive the crossing.
        return RuntimeError("".join(traceback.format_exception(problem)))


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)
