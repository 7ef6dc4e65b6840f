"""The ledger's chain: each event's hash covers its own content and the hash before it, so that a changed or inserted
row, or one removed from before another, is found and located.

The chain alone cannot tell that its last rows were cut off: what is left is a shorter chain without a break. The last
hash, kept outside of the database (in a report, an evidence bundle, a backup), shows that.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable

GENESIS = "0" * 64


def event_hash(previous: str, at: float, message_id: str, delivery_key: str, kind: str, actor: str, detail: str) -> str:
    """SHA-256 over the previous hash and the event, as one canonical JSON array; lower-case hex."""
    content = json.dumps([previous, at, message_id, delivery_key, kind, actor, detail], ensure_ascii=False)
    return hashlib.sha256(content.encode()).hexdigest()


def first_break(rows: Iterable[tuple[int, float, str, str, str, str, str, str, str]]) -> int | None:
    """The sequence number of the first event that does not fit the chain, or None (rows: as in table ``event``)."""
    expected = GENESIS
    for seq, at, message_id, delivery_key, kind, actor, detail, previous, recorded in rows:
        if previous != expected or recorded != event_hash(previous, at, message_id, delivery_key, kind, actor, detail):
            return seq
        expected = recorded
    return None
