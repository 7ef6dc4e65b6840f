"""Rows as the pipeline writes them, with everything that does not matter filled in."""

from __future__ import annotations

import itertools
from typing import Any

from lienthong.store.rows import DeliveryRow, MessageRow
from lienthong.store.store import Store

_numbers = itertools.count(1)


def a_message(**changes: Any) -> MessageRow:
    """A message with work at once."""
    number = f"{next(_numbers):06}"
    values: dict[str, Any] = {
        "id": f"M{number}",
        "direction": "out",
        "kind": "edoc",
        "agency": "000.00.01.H53",
        "connection": "drop",
        "source_id": f"drop-{number}",
        "state": "cleared",
        "run_at": 0.0,
    }
    return MessageRow(**values | changes)


def a_delivery(message_id: str, **changes: Any) -> DeliveryRow:
    """A delivery that is ready; each has a lineage of its own unless one is given."""
    number = f"{next(_numbers):06}"
    values: dict[str, Any] = {
        "key": f"K{number}",
        "message_id": message_id,
        "connection": "axis",
        "recipient": "000.00.02.H53",
        "lineage": f"L{number}",
        "state": "ready",
        "run_at": 0.0,
    }
    return DeliveryRow(**values | changes)


def add_deliveries(store: Store, *changes: dict[str, Any]) -> list[str]:
    """Stores one message with these deliveries; returns their keys in order."""
    message = a_message(run_at=None, state="dispatched")
    deliveries = [a_delivery(message.id, **change) for change in changes]
    with store.write() as tx:
        tx.add_message(message)
        for delivery in deliveries:
            tx.add_delivery(delivery)
    return [delivery.key for delivery in deliveries]


def delivery_of(store: Store, key: str) -> DeliveryRow:
    with store.read() as reader:
        found = reader.delivery(key)
    assert found is not None
    return found
