"""The running adapter: pollers, workers, the API, and a clean stop.

Stopping (SIGTERM, SIGINT): nothing new is begun, work in hand has ``STOP_SECONDS`` to finish; what has not finished by
then is parked: its lease is taken back, a delivery that was being sent becomes *unknown* and is looked up at the next
start. A killed daemon is the same thing without the courtesy.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import IO

import structlog

from lienthong.config import Config
from lienthong.edxml.profile import load_profile
from lienthong.errors import ConfigError, LienthongError
from lienthong.model import FileVerification
from lienthong.pipeline import certificates, incoming, intake, outgoing
from lienthong.pipeline.adapter import Adapter
from lienthong.pipeline.proving import open_proving
from lienthong.pipeline.signing import LaneSigning
from lienthong.pipeline.worker import work_once
from lienthong.registry import OpenConnection, open_connections
from lienthong.signing.verification.confinement import ConfinedReading
from lienthong.signing.verification.trust import configured_trust
from lienthong.signing.verification.verify import verify_pdf
from lienthong.store.store import Store

STOP_SECONDS = 8.0
_IDLE_SECONDS = 0.5
_DIRECTORY_SECONDS = 6 * 3600.0
_UNFINISHED_SECONDS = 24 * 3600.0
_WATCH_SECONDS = 3600.0
log = structlog.get_logger("lienthong")


class Wake:
    """Lets a sleeping worker know that there is something to do: one ring wakes at most one."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._rung = False

    def ring(self) -> None:
        with self._changed:
            self._rung = True
            self._changed.notify()

    def wait(self, seconds: float) -> None:
        """Sleep until somebody rings, or for ``seconds``. A ring while nobody sleeps is not lost."""
        with self._changed:
            self._changed.wait_for(lambda: self._rung, timeout=seconds)
            self._rung = False


Observe = Callable[[str, str, float, LienthongError | None], None]


@contextmanager
def open_adapter(config: Config, *, pool: bool = False, observe: Observe = lambda *_: None) -> Iterator[Adapter]:
    """Everything that the pipeline works with, for a daemon (``pool``) or one command.

    :raises ConfigError: the configuration, a connection or a trust root cannot be used
    :raises StoreError: the data folder cannot be used
    """
    folder = config.path(config.adapter.data)
    judged_by = config.profile.received_packets
    now = _clock
    connections = open_connections(config, folder, now, observe)
    trust = configured_trust(config.trust, config.path)

    store = Store(folder)
    processes = config.adapter.signing_processes if pool else 0
    signing = LaneSigning(config.file, folder, connections, processes)
    # One worker stays for deliveries, however slow the authorities are.
    proving = open_proving(config.signing, folder / "revocation", trust, now, most=max(1, config.adapter.workers - 1))
    reading = ConfinedReading()

    def verify(path: Path, part_name: str, at: datetime) -> FileVerification:
        policy = config.trust.revocation
        return verify_pdf(path, part_name, trust, at=at, revocation=proving.revocation, policy=policy, read=reading)

    wake = Wake()
    adapter = Adapter(
        config=config,
        store=store,
        connections=connections,
        signing=signing,
        proving=proving,
        trust=trust,
        verify=verify,
        received_packets=load_profile(str(config.path(judged_by)) if judged_by else "lenient"),
        now=now,
        entropy=secrets.token_bytes,
        wake=wake.ring,
        wait=wake.wait,
        owner=f"daemon:{socket.gethostname()}:{os.getpid()}",
    )
    try:
        yield adapter
    finally:
        signing.close()
        proving.close()
        reading.close()
        for connection in connections.values():
            connection.close()
        store.close()


def _clock() -> datetime:
    return datetime.now(UTC)


@contextmanager
def sole_daemon(folder: Path) -> Iterator[None]:
    """Hold the data folder: two daemons on one SQLite store would take each other for dead.

    :raises ConfigError: another daemon holds it
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "daemon.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as problem:
            raise ConfigError("daemon.already-running", where=str(folder), pid=_holder(lock)) from problem
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def _holder(lock: IO[str]) -> str:
    lock.seek(0)
    return lock.read().strip() or "?"


def take_over(adapter: Adapter) -> int:
    """Free what a dead daemon held; returns how many items. Only while ``sole_daemon`` is held."""
    adapter.store.blobs.sweep(adapter.seconds() - _UNFINISHED_SECONDS)
    with adapter.store.write() as tx:
        return tx.park("daemon:", adapter.seconds())


def run_once(adapter: Adapter) -> int:
    """Look at every peer once, then work until nothing is due now; returns how many pieces of work were done."""
    for connection in fetching(adapter):
        poll(adapter, connection)
    done = 0
    while work_once(adapter):
        done += 1
    return done


def fetching(adapter: Adapter) -> list[OpenConnection]:
    return [connection for connection in adapter.connections.values() if connection.has("fetch")]


def poll(adapter: Adapter, connection: OpenConnection) -> bool:
    """Look at one peer; False when that failed (the reason is logged and kept for ``readyz``)."""
    try:
        if connection.manifest.role == "axis":
            _directory_when_old(adapter, connection)
            stored = incoming.collect(adapter, connection)
        else:
            stored = outgoing.collect(adapter, connection)
    except LienthongError as problem:
        log.warning("poll-failed", connection=connection.name, code=problem.code, text=problem.text("en"))
        _remember_failure(adapter, connection, problem)
        return False
    if stored:
        log.info("polled", connection=connection.name, new=stored)
    return True


def _directory_when_old(adapter: Adapter, axis: OpenConnection) -> None:
    if not axis.has("directory"):
        return
    with adapter.store.read() as reader:
        seen_at = reader.agencies_seen_at(axis.name)
    if seen_at is None or adapter.seconds() - seen_at > _DIRECTORY_SECONDS:
        known = intake.refresh_directory(adapter, axis)
        log.info("directory", connection=axis.name, agencies=known)


def _remember_failure(adapter: Adapter, connection: OpenConnection, problem: LienthongError) -> None:
    try:
        with adapter.store.write() as tx:
            tx.poll_failed(connection.name, problem.text("vi"))
    except LienthongError as worse:
        log.error("store-failed", code=worse.code, text=worse.text("en"))


class Daemon:
    """The threads of a running adapter. ``start``, wait for ``stopping``, ``stop``."""

    def __init__(self, adapter: Adapter) -> None:
        self._adapter = adapter
        self._threads: list[threading.Thread] = []
        self.stopping = threading.Event()

    def start(self) -> None:
        """Begin: take over from a dead daemon, then poll and work."""
        freed = take_over(self._adapter)
        if freed:
            log.info("took-over", items=freed)
        for connection in fetching(self._adapter):
            self._begin(f"poll-{connection.name}", partial(self._poll_loop, connection))
        self._begin("certificates", self._watch_loop)
        for number in range(self._adapter.config.adapter.workers):
            self._begin(f"work-{number}", self._work_loop)

    def stop(self) -> bool:
        """Finish or park; True when everything finished by itself."""
        self.stopping.set()
        self._adapter.wake()
        until = time.monotonic() + STOP_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        finished = not any(thread.is_alive() for thread in self._threads)
        if not finished:
            parked = take_over(self._adapter)
            log.warning("parked", items=parked)
        return finished

    def _begin(self, name: str, target: Callable[[], None]) -> None:
        thread = threading.Thread(target=target, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _poll_loop(self, connection: OpenConnection) -> None:
        while not self.stopping.is_set():
            self._guarded(lambda: poll(self._adapter, connection))
            self.stopping.wait(connection.poll_seconds)

    def _watch_loop(self) -> None:
        """In a thread of its own: a token or a remote signer may take long to say what certificate it has."""
        while not self.stopping.is_set():
            self._guarded(lambda: bool(certificates.look(self._adapter)))
            self.stopping.wait(_WATCH_SECONDS)

    def _work_loop(self) -> None:
        while not self.stopping.is_set():
            if not self._guarded(lambda: work_once(self._adapter)):
                self._adapter.wait(_IDLE_SECONDS)

    def _guarded(self, action: Callable[[], bool]) -> bool:
        """A defect in one step must not end the thread that serves all others."""
        try:
            return action()
        except LienthongError as problem:
            log.error("step-failed", code=problem.code, text=problem.text("en"))
        except Exception:
            log.exception("step-crashed")
        self.stopping.wait(_IDLE_SECONDS)
        return False
