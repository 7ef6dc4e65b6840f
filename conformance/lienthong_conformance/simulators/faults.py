"""Scripted misbehaviour of simulators: which request, which fault, how often. Nothing here is random.

The same script gives the same misbehaviour; Pebble's unseeded chaos was switched off by its users as flaky.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import ConfigDict, Field, TypeAdapter


class FaultKind(StrEnum):
    """How a simulator misbehaves; the comment says what has happened to the message."""

    ERROR_BEFORE = "error-before"  # 5xx, nothing done
    BUSY = "busy"  # 503 or 429 with Retry-After, nothing done
    UNAUTHORIZED = "unauthorized"  # 401, nothing done
    LOST_ANSWER = "lost-answer"  # done, then the connection is closed without an answer
    ERROR_AFTER = "error-after"  # done, then 5xx
    TRUNCATED = "truncated"  # done, then half of the answer
    SLOW = "slow"  # done, then the answer drips for ``seconds``
    DUPLICATE_LISTING = "duplicate-listing"  # a listing names each item twice
    TAMPER = "tamper"  # bytes of an attachment are changed on their way to the recipient


BEFORE = frozenset({FaultKind.ERROR_BEFORE, FaultKind.BUSY, FaultKind.UNAUTHORIZED})
ANSWER = frozenset({FaultKind.LOST_ANSWER, FaultKind.ERROR_AFTER, FaultKind.TRUNCATED, FaultKind.SLOW})
_USUAL_STATUS = {FaultKind.BUSY: 503, FaultKind.UNAUTHORIZED: 401}


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One scripted misbehaviour.

    ``match``: fact name -> text that the fact must contain; empty matches every request. ``times``: how often it fires.
    ``seconds``: how long a slow answer drips, or the Retry-After of ``busy``. ``status``: the HTTP status, 0 = usual.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    kind: FaultKind
    match: Mapping[str, str] = field(default_factory=dict)
    times: Annotated[int, Field(ge=1)] = 1
    seconds: Annotated[float, Field(ge=0)] = 1.0
    status: int = 0

    def concerns(self, facts: Mapping[str, str]) -> bool:
        return all(wanted in facts.get(name, "") for name, wanted in self.match.items())

    @property
    def http_status(self) -> int:
        return self.status or _USUAL_STATUS.get(self.kind, 500)


class FaultBook:
    """The scripted faults that have not fired yet. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []

    def script(self, faults: Iterable[Fault]) -> None:
        with self._lock:
            self._faults.extend(faults)

    def pending(self) -> list[Fault]:
        with self._lock:
            return list(self._faults)

    def clear(self) -> None:
        with self._lock:
            self._faults.clear()

    def take(self, facts: Mapping[str, str], kinds: Collection[FaultKind]) -> Fault | None:
        """The first fault that concerns these facts and can happen here; it has one firing less afterwards."""
        with self._lock:
            for index, fault in enumerate(self._faults):
                if fault.kind in kinds and fault.concerns(facts):
                    left = [replace(fault, times=fault.times - 1)] if fault.times > 1 else []
                    self._faults[index : index + 1] = left
                    return fault
        return None


_FAULTS: TypeAdapter[Fault | list[Fault]] = TypeAdapter(Fault | list[Fault])


def faults_from_json(text: bytes) -> list[Fault]:
    """Faults from JSON: one object or a list of objects with the fields of ``Fault``.

    :raises ValueError: an unknown kind or field, or a value of the wrong type
    """
    found = _FAULTS.validate_json(text)
    return found if isinstance(found, list) else [found]
