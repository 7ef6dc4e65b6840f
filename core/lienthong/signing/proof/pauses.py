"""Leaving alone for a while whom one could not reach, so that not every document pays for the same time-out."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

_FIRST_SECONDS = 5.0
_LONGEST_SECONDS = 300.0


@dataclass(frozen=True, kw_only=True)
class _Pause:
    seconds: float
    until: datetime


class Pauses:
    """By address, doubling with every failure from 5 s to 5 minutes; one success ends it. Thread-safe."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._running: dict[str, _Pause] = {}

    def seconds_left(self, address: str) -> float:
        """0 when the address may be asked."""
        with self._lock:
            pause = self._running.get(address)
        return max(0.0, (pause.until - self._now()).total_seconds()) if pause else 0.0

    def shortest(self, addresses: Iterable[str]) -> float:
        """Seconds until the first of them may be asked."""
        return min(map(self.seconds_left, addresses), default=0.0)

    def failed(self, address: str) -> None:
        now = self._now()
        with self._lock:
            before = self._running.get(address)
            if before is not None and before.until > now:
                return  # others failed at the same time as the one that began this pause
            seconds = min(2 * before.seconds, _LONGEST_SECONDS) if before else _FIRST_SECONDS
            self._running[address] = _Pause(seconds=seconds, until=now + timedelta(seconds=seconds))

    def answered(self, address: str) -> None:
        with self._lock:
            self._running.pop(address, None)
