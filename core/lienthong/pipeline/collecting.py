"""Looking at a peer: batch after batch, the cursor moving only past what is committed."""

from __future__ import annotations

from collections.abc import Callable

from lienthong.errors import LienthongError
from lienthong.hookspecs import Item
from lienthong.pipeline.adapter import Adapter
from lienthong.registry import OpenConnection

_MOST_BATCHES = 1000


def collect_batches(adapter: Adapter, source: OpenConnection, take_in: Callable[[Item], bool]) -> int:
    """Take in everything that a peer offers now; returns how many new messages were stored.

    An item that cannot be taken in stays at the peer and is offered again: its error is raised after the rest of its
    batch was tried, and the cursor stays before that batch.

    :raises LienthongError: the peer cannot be looked at, or the first item that could not be taken in
    """
    stored = 0
    for _ in range(_MOST_BATCHES):
        with adapter.store.read() as reader:
            cursor = reader.cursor(source.name)
        batch = source.call("fetch", cursor=cursor).result()
        failures: list[LienthongError] = []
        for item in batch.items:
            try:
                stored += take_in(item)
            except LienthongError as problem:
                failures.append(problem)
        if failures:
            raise failures[0]
        with adapter.store.write() as tx:
            tx.polled(source.name, adapter.seconds(), batch.cursor)
        if not batch.more:
            break
    return stored
