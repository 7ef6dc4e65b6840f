"""Certificates that will end: the signers' and the trusted authorities', watched so that nobody is surprised.

A look finds out what is in use now, warns in the log once at each of ``[profile] certificate_warning_days``, and keeps
what it saw in the store, where ``readyz`` and the next look find it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Literal

import structlog
from cryptography import x509

from lienthong.errors import LienthongError
from lienthong.model import VIETNAM, vietnam_time
from lienthong.pipeline.adapter import Adapter
from lienthong.signing.keys.credentials import holder_of

ENDED = 0
_KEPT_AS = "certificate:"
log = structlog.get_logger("lienthong")

Use = Literal["signer", "root", "intermediate"]


@dataclass(frozen=True, kw_only=True)
class Watched:
    """A certificate as last seen. ``name`` is the signer's connection, or the digest of an authority's certificate.

    ``ends`` in seconds since the epoch; ``warned`` is the threshold in days that was last warned of, ``ENDED`` at the
    end; ``problem`` says why a signer's certificate cannot be read now (then the rest is what was last seen, if any).
    """

    name: str
    use: Use
    holder: str = ""
    serial: str = ""
    sha256: str = ""
    ends: float | None = None
    warned: int | None = None
    problem: str = ""

    @property
    def not_after(self) -> datetime | None:
        return None if self.ends is None else datetime.fromtimestamp(self.ends, UTC)


def days_left(not_after: datetime, now: datetime) -> int:
    """Days in Vietnam's calendar until a certificate ends; 0 on its last day, negative after it."""
    return (not_after.astimezone(VIETNAM).date() - now.astimezone(VIETNAM).date()).days


def due_warning(not_after: datetime, now: datetime, warned: int | None, thresholds: Iterable[int]) -> int | None:
    """The threshold to warn of now, ``ENDED`` when the certificate is past its end; None when all is said.

    A look that comes late warns of the threshold that counts now, and not of those that it missed.
    """
    if now > not_after:
        reached: int | None = ENDED
    else:
        reached = min((days for days in thresholds if days_left(not_after, now) <= days), default=None)
    return reached if reached is not None and (warned is None or reached < warned) else None


def look(adapter: Adapter) -> list[Watched]:
    """See which certificates are in use, warn of those that end soon, and keep what was seen. Asks every signer for its
    certificate, which may take long and never signs anything."""
    before = {(each.use, each.name): each for each in watched(adapter)}
    seen = [_authority(der, use) for use, der in _authorities(adapter)]
    seen += [_signer(adapter, name, before.get(("signer", name))) for name in _signers(adapter)]
    return [_kept(adapter, each, before.get((each.use, each.name))) for each in seen]


def watched(adapter: Adapter) -> list[Watched]:
    """What the last look saw of the certificates that are still in use, signers first."""
    with adapter.store.read() as reader:
        kept = [Watched(**json.loads(text)) for text in reader.cursors(_KEPT_AS).values()]
    names = {*_signers(adapter), *(hashlib.sha256(der).hexdigest() for _, der in _authorities(adapter))}
    return sorted((each for each in kept if each.name in names), key=lambda each: (each.use != "signer", each.name))


def ends_soon(certificate: Watched, now: datetime, thresholds: Sequence[int]) -> bool:
    """Whether a certificate is past the first threshold."""
    end = certificate.not_after
    return end is not None and (now > end or days_left(end, now) <= max(thresholds, default=0))


def _signers(adapter: Adapter) -> list[str]:
    return [name for name, each in adapter.connections.items() if each.manifest.role == "signer"]


def _authorities(adapter: Adapter) -> list[tuple[Use, bytes]]:
    roots: list[tuple[Use, bytes]] = [("root", der) for der in adapter.trust.roots]
    return roots + [("intermediate", der) for der in adapter.trust.intermediates]


def _signer(adapter: Adapter, name: str, before: Watched | None) -> Watched:
    try:
        leaf = adapter.signing.credential(name).certificates[0]
    except LienthongError as problem:
        log.warning("certificate-unknown", connection=name, code=problem.code, text=problem.text("en"))
        return replace(before or Watched(name=name, use="signer"), problem=problem.text("vi"))
    return replace(_authority(leaf, "signer"), name=name)


def _authority(der: bytes, use: Use) -> Watched:
    digest = hashlib.sha256(der).hexdigest()
    certificate = x509.load_der_x509_certificate(der)
    return Watched(
        name=digest,
        use=use,
        holder=holder_of(certificate),
        serial=f"{certificate.serial_number:x}",
        sha256=digest,
        ends=certificate.not_valid_after_utc.timestamp(),
    )


def _kept(adapter: Adapter, seen: Watched, before: Watched | None) -> Watched:
    """A renewed certificate begins anew; the warning is kept only after it was given."""
    warned = before.warned if before is not None and before.sha256 == seen.sha256 else None
    end = seen.not_after
    if end is not None:
        days = due_warning(end, adapter.now(), warned, adapter.config.profile.certificate_warning_days)
        if days is not None:
            _warn(seen, end, days, adapter.now())
            warned = days
    kept = replace(seen, warned=warned)
    if kept != before:
        with adapter.store.write() as tx:
            tx.polled(f"{_KEPT_AS}{kept.use}:{kept.name}", adapter.seconds(), json.dumps(asdict(kept)))
    return kept


def _warn(certificate: Watched, end: datetime, threshold: int, now: datetime) -> None:
    log.warning(
        "certificate-ended" if threshold == ENDED else "certificate-ends-soon",
        use=certificate.use,
        name=certificate.name,
        holder=certificate.holder,
        serial=certificate.serial,
        ends=vietnam_time(end),
        days=days_left(end, now),
    )
