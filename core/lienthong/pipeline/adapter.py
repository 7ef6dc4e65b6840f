"""What both paths work with: configuration, store, open connections, trust, time and chance."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from lienthong.config import AgencySettings, Config
from lienthong.edxml.profile import PacketProfile
from lienthong.errors import ConfigError, LienthongError, StoreError
from lienthong.hookspecs import PacketFile
from lienthong.model import FileVerification, Part, mint_id
from lienthong.pipeline.proving import Proving
from lienthong.pipeline.signing import Signing
from lienthong.pipeline.steps import due
from lienthong.registry import OpenConnection
from lienthong.signing.verification.trust import TrustStore
from lienthong.store.rows import MessageRow
from lienthong.store.store import Store, Transaction


@dataclass(frozen=True, kw_only=True)
class Adapter:
    """Everything that a step may use.

    ``trust`` is whose certificates count; ``proving`` fetches what a signature needs to prove by itself.
    ``received_packets``: what received packets are judged by. ``wake`` tells a sleeping worker that there is something
    to do; ``wait(seconds)`` sleeps until then.
    """

    config: Config
    store: Store
    connections: dict[str, OpenConnection]
    signing: Signing
    proving: Proving
    trust: TrustStore
    verify: Callable[[Path, str, datetime], FileVerification]
    received_packets: PacketProfile
    now: Callable[[], datetime]
    entropy: Callable[[int], bytes]
    wake: Callable[[], None]
    wait: Callable[[float], None]
    owner: str

    def seconds(self) -> float:
        return self.now().timestamp()

    def chance(self) -> float:
        return int.from_bytes(self.entropy(4), "big") / 2**32

    def new_id(self) -> str:
        return mint_id(self.now(), self.entropy(10))

    def agency(self, code: str) -> AgencySettings:
        """:raises ConfigError: the configuration no longer names this agency"""
        found = self.config.agency_of(code)
        if found is None:
            raise ConfigError("rules.not-our-agency", where=str(self.config.file), code=code)
        return found

    def open_part(self, part: Part) -> BinaryIO:
        """The stored bytes of a part; see ``checked``."""
        return checked(self.store.blobs.open(part.sha256), part)

    def packet_file(self, sha256: str, size: int) -> PacketFile:
        return PacketFile(path=self.store.blobs.path(sha256), size=size, sha256=sha256)

    def step_done(
        self, tx: Transaction, row: MessageRow, *, run_at: float | None = None, **changes: object
    ) -> MessageRow:
        """Commit a step of a claimed message; the lease is kept while there is a next step to take now.

        :raises LeaseLost: somebody else holds it now; the result must be dropped
        """
        now = self.seconds()
        again = run_at or due(row, changes, now)
        changes = {"attempts": 0, "strikes": 0, **changes}
        if again is not None and again <= now:
            return tx.progress(row, now, **changes, run_at=again)
        return tx.commit(row, now, **changes, run_at=again)

    def note(
        self,
        tx: Transaction,
        row: MessageRow,
        kind: str,
        detail: Mapping[str, object] | None = None,
        *,
        delivery_key: str = "",
        actor: str = "",
    ) -> None:
        """Append to the ledger in the words of this adapter."""
        who = actor or self.owner
        tx.event(row.id, kind, self.seconds(), actor=who, delivery_key=delivery_key, detail=detail or {})


def checked(file: BinaryIO, part: Part) -> BinaryIO:
    """``file``, checked against the digest of ``part`` when it has been read to its end.

    Reading raises ``StoreError`` (store.bytes-changed) when the bytes are not those that were taken in.
    """
    return io.BufferedReader(_CheckedReader(file, part), 256 * 1024)


class _CheckedReader(io.RawIOBase):
    """Reads a blob and refuses to end quietly when its bytes are not those that were recorded at intake."""

    def __init__(self, file: BinaryIO, part: Part) -> None:
        self._file, self._part = file, part
        self._hash = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        self._hash.update(data)
        if not data and self._hash.hexdigest() != self._part.sha256:
            raise StoreError("store.bytes-changed", part=self._part.name, sha256=self._part.sha256)
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()


def failure_detail(error: LienthongError) -> dict[str, object]:
    """An error as ledger detail: its code, its place and both texts."""
    return {"code": error.code, "where": error.where, "en": error.text("en"), "vi": error.text("vi")}
