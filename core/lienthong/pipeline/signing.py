"""Who signs: a pool of processes (the work is Python under one lock, so threads would not help), or this thread.

Each process opens the signer's connection itself, once, so that a key is loaded once and never crosses a border.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import threading
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from lienthong.config import load
from lienthong.errors import SigningError
from lienthong.hookspecs import Pending, Signature, SignRequest
from lienthong.registry import OpenConnection, discover, open_connection
from lienthong.signing import pades


@dataclass(frozen=True, kw_only=True)
class SigningOrder:
    """One PDF to sign, file to file. ``parked`` continues an order that was pending; its file is at ``target``."""

    connection: str
    source: Path
    target: Path
    at: datetime
    summary: str
    parked: pades.Parked | None = None


class Signing(Protocol):
    def sign(self, order: SigningOrder) -> pades.Parked | None:
        """Sign; None when ``target`` is complete, else what is needed to ask again later.

        :raises SigningError: the key cannot be used
        :raises ContentError: the file cannot be signed
        """

    def close(self) -> None: ...


class ThreadSigning:
    """Signs in the calling thread."""

    def __init__(self, connections: Mapping[str, OpenConnection]) -> None:
        self._connections = connections

    def sign(self, order: SigningOrder) -> pades.Parked | None:
        return _sign(self._connections[order.connection], order)

    def close(self) -> None:
        """Nothing to end: the connections are not ours."""


class PoolSigning:
    """Signs in processes; a process that dies costs one signature, which is tried again."""

    def __init__(self, config_file: Path, folder: Path, processes: int) -> None:
        self._arguments = (config_file, folder)
        self._processes = processes
        self._lock = threading.Lock()
        self._pool: ProcessPoolExecutor | None = None

    def sign(self, order: SigningOrder) -> pades.Parked | None:
        pool = self._started()
        try:
            return pool.submit(_sign_in_process, order).result()
        except BrokenProcessPool as problem:
            self._forget(pool)
            raise SigningError("sign.process-died", where=order.connection) from problem

    def close(self) -> None:
        with self._lock:
            if self._pool is not None:
                self._pool.shutdown(wait=False, cancel_futures=True)
                self._pool = None

    def _started(self) -> ProcessPoolExecutor:
        with self._lock:
            if self._pool is None:
                spawn = multiprocessing.get_context("spawn")
                self._pool = ProcessPoolExecutor(
                    self._processes, mp_context=spawn, initializer=_begin, initargs=self._arguments
                )
            return self._pool

    def _forget(self, pool: ProcessPoolExecutor) -> None:
        with self._lock:
            if self._pool is pool:
                self._pool = None
        pool.shutdown(wait=False, cancel_futures=True)


def _sign(connection: OpenConnection, order: SigningOrder) -> pades.Parked | None:
    credential = connection.call("credential").result()

    def ask(request: SignRequest) -> Signature | Pending:
        answer: Signature | Pending = connection.call("sign", request=request).result()
        return answer

    if order.parked is not None:
        return pades.resume(order.target, order.parked, credential=credential, sign=ask, summary=order.summary)
    if _may_be_signed(order.source) and pades.already_signed_by(order.source, credential):
        shutil.copyfile(order.source, order.target)
        return None
    return pades.sign_pdf(
        order.source, order.target, credential=credential, sign=ask, at=order.at, summary=order.summary
    )


def _may_be_signed(source: Path) -> bool:
    """A quick look that saves parsing the usual, unsigned file twice."""
    overlap = b""
    with source.open("rb") as file:
        while chunk := file.read(1024 * 1024):
            window = overlap + chunk
            if b"/ByteRange" in window or b"/ObjStm" in window:
                return True
            overlap = chunk[-16:]
    return False


_place: tuple[Path, Path] | None = None
_opened: dict[str, OpenConnection] = {}


def _begin(config_file: Path, folder: Path) -> None:
    """Start of a signing process: the daemon decides when to stop, and the process never outlives it."""
    global _place
    _place = (config_file, folder)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)


def _sign_in_process(order: SigningOrder) -> pades.Parked | None:
    assert _place is not None, "the pool's initializer ran"
    if order.connection not in _opened:
        config = load(_place[0])
        plugins = discover(frozenset({config.connection[order.connection].plugin}))
        _opened[order.connection] = open_connection(
            config, order.connection, plugins, _place[1], lambda: datetime.now(UTC)
        )
    return _sign(_opened[order.connection], order)
