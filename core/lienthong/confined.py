"""Work on hostile input in a child process of its own: limited in memory, in processor time and on the clock.

A native library that reads what a stranger sent can ask for all memory, never end, or crash; here it takes only the
child with it. The child limits itself before it imports anything of this package, so it works from a parent with many
threads, which must not run Python between fork and exec. Arguments and result travel as lines of JSON through pipes;
whatever the function prints goes nowhere.

A fresh child for each call (``run_confined``) keeps nothing of one stranger's input for the next; where starting one
would cost more than the work, ``ConfinedWorkers`` keeps a few.

POSIX only: the limits are those of ``setrlimit(2)``.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import json
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from enum import StrEnum
from typing import Any

from lienthong.errors import ConfigError, ContentError

_MOST_RESULT = 16 * 1024 * 1024
_PIECE = 64 * 1024
_MOST_CALLS, _MOST_IDLE = 200, 4
_LIFETIME_SECONDS = 3600.0
"""Of processor time, which a child cannot be given anew for each call; the clock limits each call."""
_STARTING = """\
import os, resource, sys
def limit(which, value):
    resource.setrlimit(which, (value, value))
limit(resource.RLIMIT_CORE, 0)
limit(resource.RLIMIT_FSIZE, 0)
limit(resource.RLIMIT_AS, int(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_CPU, (int(sys.argv[2]), int(sys.argv[2]) + 1))
answer, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
os.dup2(nowhere, 1)
try:
    from lienthong.confined import answer_requests
    answer_requests(answer)
except MemoryError:
    os.write(answer, b'{"out_of_memory": true}')
"""


class FailureKind(StrEnum):
    """Why a confined function gave no result. ``REFUSED``: it raised a ``ContentError`` of its own."""

    CRASHED = "crashed"
    OUT_OF_MEMORY = "out-of-memory"
    TOO_SLOW = "too-slow"
    REFUSED = "refused"


class ConfinedFailure(ContentError):
    """A confined function gave no result. When it refused, code, place and facts are those of its ``ContentError``."""

    @property
    def kind(self) -> FailureKind:
        return _KINDS.get(self.code, FailureKind.REFUSED)


_KINDS = {
    "confined.crashed": FailureKind.CRASHED,
    "confined.out-of-memory": FailureKind.OUT_OF_MEMORY,
    "confined.too-slow": FailureKind.TOO_SLOW,
}


def run_confined(function: str, *arguments: object, memory_bytes: int, seconds: float) -> Any:
    """Call ``function`` (``module:name``) in a fresh process and give back what it returns.

    Arguments and result are what JSON can carry. ``memory_bytes`` limits the address space of the child, interpreter
    and libraries included (an empty child needs about 40 MB); ``seconds`` limits processor time and the clock alike.
    The child has no environment and no open file of this process, and can write no file; what it started ends with it.

    :raises ConfinedFailure: it crashed, took too much memory or time, or raised a ``ContentError``
    :raises ConfigError: this platform cannot limit a process
    """
    if importlib.util.find_spec("resource") is None:
        raise ConfigError("confined.platform", where=sys.platform)
    process = _started(function, memory_bytes, seconds)
    try:
        answer = _exchange(process, _request(function, arguments), time.monotonic() + seconds)
    finally:
        status = _ended(process)
    return _outcome(answer, function, status, memory_bytes, seconds)


class ConfinedWorkers:
    """Confined children that are kept for further calls; as many as there are callers at one time.

    ``memory_bytes`` limits each as in ``run_confined``. One whose call failed in any way but by an error of its
    function is killed, and so is one that has answered often, so that what a library leaks stays small.
    """

    def __init__(self, *, memory_bytes: int) -> None:
        self._memory_bytes = memory_bytes
        self._lock = threading.Lock()
        self._idle: list[tuple[subprocess.Popen[bytes], int]] = []
        self._closed = False

    def call(self, function: str, *arguments: object, seconds: float) -> Any:
        """As ``run_confined``; ``seconds`` limits the clock.

        :raises ConfinedFailure: it crashed, took too much memory or time, or raised a ``ContentError``
        :raises ConfigError: this platform cannot limit a process
        """
        if importlib.util.find_spec("resource") is None:
            raise ConfigError("confined.platform", where=sys.platform)
        process, calls = self._taken(function)
        answer: bytes | None = None
        status = 0
        try:
            answer = _exchange(process, _request(function, arguments), time.monotonic() + seconds, more=True)
        finally:
            if answer is None or not answer.endswith(b"\n") or not self._kept(process, calls + 1):
                status = _ended(process)
        return _outcome(answer, function, status, self._memory_bytes, seconds)

    def close(self) -> None:
        """End all children; one that is at work ends after its call."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for process, _ in idle:
            _ended(process)

    def _taken(self, function: str) -> tuple[subprocess.Popen[bytes], int]:
        with self._lock:
            while self._idle:
                process, calls = self._idle.pop()
                if process.poll() is None:
                    return process, calls
        return _started(function, self._memory_bytes, _LIFETIME_SECONDS), 0

    def _kept(self, process: subprocess.Popen[bytes], calls: int) -> bool:
        with self._lock:
            wanted = not self._closed and calls < _MOST_CALLS and len(self._idle) < _MOST_IDLE
            if wanted:
                self._idle.append((process, calls))
            return wanted


def _started(function: str, memory_bytes: int, seconds: float) -> subprocess.Popen[bytes]:
    # One second more than the clock gives, so that the clock decides whenever the child is alone on its processor.
    limits = [str(memory_bytes), str(int(seconds) + 2)]
    try:
        return subprocess.Popen(  # noqa: S603 - our own interpreter and program; no shell, nothing from outside
            [sys.executable, "-I", "-B", "-c", _STARTING, *limits],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={},
            start_new_session=True,
            bufsize=0,
        )
    except OSError as problem:
        reason = problem.strerror or str(problem)
        raise ConfinedFailure("confined.crashed", where=function, reason=reason) from problem


def _request(function: str, arguments: tuple[object, ...]) -> bytes:
    return json.dumps([function, arguments]).encode() + b"\n"


def _exchange(process: subprocess.Popen[bytes], request: bytes, deadline: float, *, more: bool = False) -> bytes | None:
    """The line that the child answered, or what it said before it closed its end; None when the deadline came first.

    ``more``: further requests may follow.
    """
    assert process.stdin is not None
    assert process.stdout is not None
    answer = bytearray()
    waiting = memoryview(request)
    with selectors.DefaultSelector() as ready:
        os.set_blocking(process.stdin.fileno(), False)
        ready.register(process.stdin, selectors.EVENT_WRITE)
        ready.register(process.stdout, selectors.EVENT_READ)
        while (left := deadline - time.monotonic()) > 0:
            for key, _ in ready.select(left):
                if key.fileobj is process.stdin:
                    waiting = waiting[_sent(process.stdin.fileno(), waiting) :]
                    if not waiting:
                        ready.unregister(process.stdin)
                    if not waiting and not more:
                        process.stdin.close()
                    continue
                piece = os.read(process.stdout.fileno(), _PIECE)
                answer += piece
                if not piece or piece.endswith(b"\n") or len(answer) > _MOST_RESULT:
                    return bytes(answer)
    return None


def _sent(pipe: int, waiting: memoryview) -> int:
    try:
        return os.write(pipe, waiting)
    except BrokenPipeError:
        # It died before it read its request; its exit tells why.
        return len(waiting)


def _ended(process: subprocess.Popen[bytes]) -> int:
    """Kill what is left of the child and of everything it started, and wait for it.

    It is not reaped before, so its group cannot be somebody else's by now.
    """
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    status = process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
    return status


def _outcome(answer: bytes | None, function: str, status: int, memory_bytes: int, seconds: float) -> Any:
    """:raises ConfinedFailure: there is no result"""
    if answer is None or status == -signal.SIGXCPU:
        raise ConfinedFailure("confined.too-slow", where=function, seconds=seconds)
    said = _said(answer, status)
    if "result" in said:
        return said["result"]
    if "out_of_memory" in said:
        raise ConfinedFailure("confined.out-of-memory", where=function, limit=memory_bytes)
    if "code" in said:
        raise ConfinedFailure(str(said["code"]), where=str(said.get("where", "")), **said.get("facts", {}))
    raise ConfinedFailure("confined.crashed", where=function, reason=str(said.get("crashed")))


def _said(answer: bytes, status: int) -> dict[str, Any]:
    # Hostile input may have taken over the child, so its answer is no more trusted than the input.
    if len(answer) > _MOST_RESULT:
        return {"crashed": "its answer is too long"}
    try:
        said = json.loads(answer)
    except (ValueError, RecursionError):
        return {"crashed": _last_words(status)}
    if not isinstance(said, dict) or not isinstance(said.get("facts", {}), dict):
        return {"crashed": "its answer cannot be understood"}
    return said


def _last_words(status: int) -> str:
    if status >= 0:
        return f"exit {status}"
    with contextlib.suppress(ValueError):
        return signal.Signals(-status).name
    return f"signal {-status}"


def answer_requests(pipe: int) -> None:
    """The child's side: read requests from standard input, a line each, and write their answers to ``pipe``, until the
    parent closes its end. Limits are set already."""
    for line in sys.stdin.buffer:
        function, arguments = json.loads(line)
        answer = _answer(function, arguments) + b"\n"
        while answer:
            answer = answer[os.write(pipe, answer) :]


def _answer(function: str, arguments: list[object]) -> bytes:
    module, _, name = function.partition(":")
    said: dict[str, object]
    try:
        call: Callable[..., object] = getattr(importlib.import_module(module), name)
        return json.dumps({"result": call(*arguments)}).encode()
    except ContentError as problem:
        facts = {fact: str(value) for fact, value in problem.facts.items()}
        said = {"code": problem.code, "where": problem.where, "facts": facts}
    except MemoryError:
        raise
    except Exception as problem:
        # Any other error is a defect of the function; its words must reach the log of the parent.
        said = {"crashed": f"{type(problem).__name__}: {problem}"}
    return json.dumps(said).encode()
