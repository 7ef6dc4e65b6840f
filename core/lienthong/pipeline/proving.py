"""Proof of time and of revocation for files that are signed: the authorities, and few at a time who wait for them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from lienthong.config import SigningSettings
from lienthong.http import HttpClient, HttpSettings
from lienthong.model import SignatureLevel
from lienthong.signing.proof import levels
from lienthong.signing.proof.revocation import RevocationSource
from lienthong.signing.proof.timestamps import TimestampAuthorities
from lienthong.signing.verification.trust import TrustStore

_ANSWER_SECONDS = 20.0
_CONNECT_SECONDS = 5.0


@dataclass(frozen=True, kw_only=True)
class Proving:
    """The authorities of one adapter. ``level`` is what the agency's signatures are brought to."""

    level: SignatureLevel
    timestamps: TimestampAuthorities
    revocation: RevocationSource
    trust: TrustStore
    http: HttpClient
    places: threading.Semaphore

    @contextmanager
    def place(self) -> Iterator[bool]:
        """Whether there was a place left among those who wait for an authority. Nobody waits for a place: a slow
        authority must not hold all workers, for deliveries need some."""
        taken = self.places.acquire(blocking=False)
        try:
            yield taken
        finally:
            if taken:
                self.places.release()

    def raise_level(
        self, file: Path, *, at: datetime, ours: bool, level: SignatureLevel | None = None
    ) -> SignatureLevel:
        """Bring the last signature of ``file`` to ``level`` (default: the configured one), in place.

        ``ours``: it was just made here, with room for a timestamp inside. Returns the level that the file has now.

        :raises Unavailable: no authority answers now; the file is as before
        :raises SigningError: it cannot be proven: refused, or its certificate is revoked
        :raises ContentError: the file cannot be read as a signed PDF
        """
        return levels.raise_level(
            file,
            level or self.level,
            timestamps=self.timestamps,
            revocation=self.revocation,
            trust=self.trust,
            at=at,
            ours=ours,
        )

    def close(self) -> None:
        self.http.close()


def open_proving(
    settings: SigningSettings, folder: Path, trust: TrustStore, now: Callable[[], datetime], *, most: int = 1
) -> Proving:
    """``folder`` keeps revocation answers until they end; at most ``most`` callers wait for an authority at once."""
    http = HttpClient(
        HttpSettings(
            connect_seconds=_CONNECT_SECONDS,
            deadline_seconds=_ANSWER_SECONDS,
            silence_seconds=max((each.seconds for each in settings.timestamp_authority), default=_ANSWER_SECONDS),
            tries=1,
            plaintext_reason="timestamps, OCSP answers and CRLs are signed by their authorities",
        ),
        peer="timestamp and revocation services",
        now=now,
    )
    return Proving(
        level=settings.level,
        timestamps=TimestampAuthorities(settings.timestamp_authority, http, trust, now),
        revocation=RevocationSource(http, folder, address_map=settings.address_map, now=now),
        trust=trust,
        http=http,
        places=threading.Semaphore(most),
    )
