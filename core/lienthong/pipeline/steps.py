"""Decide: pure functions that say what comes next from what is stored. Nothing here acts.

Message states            outgoing: cleared -> [awaiting-signature] -> [awaiting-proof] -> dispatched
                          refused | quarantined
                          incoming: received -> dispatched | duplicate | unmatched | quarantined
Delivery states           ready -> sending -> delivered | offered -> delivered
                          sending -> unknown -> delivered | ready;  rejected, cancelled, quarantined are final
Acknowledgement (``ack``) none | pending (not yet) | due (stored) | failed-due (could not be used) | done
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum, auto

from lienthong.config import Profile
from lienthong.errors import (
    ContentError,
    LeaseLost,
    LienthongError,
    OutcomeUnknown,
    Refused,
    Rejected,
    SigningError,
    StorageFull,
    Unavailable,
)
from lienthong.store.rows import DeliveryRow, MessageRow

_LONGEST_WISH_SECONDS = 86_400.0
ACK_WANTED = frozenset({"due", "failed-due"})


class Step(Enum):
    READ = auto()
    MATCH = auto()
    PREPARE = auto()
    ACKNOWLEDGE = auto()


_BY_STATE = {
    "received": Step.READ,
    "unmatched": Step.MATCH,
    "cleared": Step.PREPARE,
    "awaiting-signature": Step.PREPARE,
    "awaiting-proof": Step.PREPARE,
}
_REFUSED_BY_PERSON = "sign.user-refused"
_ASKED_RARELY = frozenset({_REFUSED_BY_PERSON, "sign.certificate-revoked"})
"""What passes only when a person acts, and perhaps has to act again each time that it is tried."""


def next_step(row: MessageRow) -> Step | None:
    """What a claimed message needs. Acknowledging is the last write, so it waits for the rest, but not for a person,
    a signer, a timestamp authority or a missing document."""
    if row.ack in ACK_WANTED and row.state not in ("received", "cleared"):
        return Step.ACKNOWLEDGE
    return _BY_STATE.get(row.state)


def due(row: MessageRow, changes: dict[str, object], now: float) -> float | None:
    """When a message must be looked at again after ``changes``."""
    return now if next_step(replace(row, **changes)) is not None else None  # type: ignore[arg-type]


@dataclass(frozen=True, kw_only=True)
class Setback:
    """What a failure makes of an item: its new state, when to look again (None: not by itself), and why."""

    state: str
    run_at: float | None
    reason: str
    text: str
    attempts: int
    strikes: int

    def changes(self) -> dict[str, object]:
        return {
            "state": self.state,
            "run_at": self.run_at,
            "reason": self.reason,
            "reason_text": self.text,
            "attempts": self.attempts,
            "strikes": self.strikes,
        }


def after_failure(
    row: MessageRow | DeliveryRow, error: LienthongError, now: float, profile: Profile, chance: float
) -> Setback:
    """The three outcomes drive everything (``chance`` in [0, 1) spreads the retries).

    Rejected and content errors stop the item; Unavailable retries it; OutcomeUnknown sends a delivery to
    reconciliation; a signature that could not be made is tried again; anything else is a strike, and so is a person's
    refusal to sign, and enough strikes quarantine it.
    """
    delivering = isinstance(row, DeliveryRow)
    waiting = _state_after(row, error)
    attempts = row.attempts if delivering else row.attempts + 1  # claiming a delivery has counted it
    later = now + pause(attempts, profile, chance)
    state, strikes = waiting, row.strikes
    run_at: float | None = later
    if isinstance(error, Rejected | Refused) and delivering:
        state, run_at = "rejected", None
    elif isinstance(error, Rejected | Refused | ContentError):
        state, run_at = "quarantined", None
    elif isinstance(error, OutcomeUnknown) and delivering:
        state = "unknown"
    elif isinstance(error, Unavailable):
        run_at = max(later, now + min(error.retry_after or 0.0, _LONGEST_WISH_SECONDS))
    elif isinstance(error, SigningError) and error.code in _ASKED_RARELY:
        run_at = now + profile.refused_signature_pause_seconds
    if _is_strike(error):
        strikes += 1
        if strikes >= profile.strikes:
            state, run_at = "quarantined", None
    return Setback(
        state=state, run_at=run_at, reason=error.code, text=error.text("vi"), attempts=attempts, strikes=strikes
    )


def _is_strike(error: LienthongError) -> bool:
    """Whether a failure is the item's: not the weather, not a final answer, not a key that cannot be used just now."""
    if isinstance(error, SigningError):
        return error.code == _REFUSED_BY_PERSON
    final = Rejected | Refused | ContentError
    return not isinstance(error, final | Unavailable | OutcomeUnknown | StorageFull | LeaseLost)


def _state_after(row: MessageRow | DeliveryRow, error: LienthongError) -> str:
    """Where an item waits. What broke off while it was being sent may have arrived, unless nothing was sent."""
    if row.state == "cleared" and isinstance(error, SigningError):
        return "awaiting-signature"
    if row.state != "sending":
        return row.state
    return "ready" if isinstance(error, Unavailable) else "unknown"


def pause(failures: int, profile: Profile, chance: float) -> float:
    """Seconds until the next try: exponential with a cap, spread over its upper half."""
    longest = min(profile.retry_cap_seconds, profile.retry_first_seconds * 2.0 ** min(failures - 1, 30))
    return longest * (0.5 + 0.5 * chance)
