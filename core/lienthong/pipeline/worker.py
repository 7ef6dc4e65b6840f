"""One loop: claim, decide, act, commit. A restart is just running the loop again."""

from __future__ import annotations

from lienthong.errors import LeaseLost, LienthongError
from lienthong.http import Exchange
from lienthong.model import MessageKind
from lienthong.pipeline import delivering, incoming, outgoing, sealing
from lienthong.pipeline.adapter import Adapter, failure_detail
from lienthong.pipeline.steps import Step, after_failure, next_step
from lienthong.store.rows import DeliveryRow, MessageRow

_TOLD_OF_FAILURE = {"in": ("pending", "due"), "out": ("pending", "due", "done")}
"""Acknowledgements after which a source still hears of a failure. An office was told that its document is safe with us
while that waited for a signature; that it will never leave is another matter. An axis has forgotten the item."""


def work_once(adapter: Adapter) -> bool:
    """Do one due piece of work; False when nothing was due.

    Deliveries go first: they are nearest to their end.
    """
    seconds, lease = adapter.seconds(), adapter.config.adapter.lease_seconds
    claimed = adapter.store.claim_next(adapter.owner, seconds, lease)
    if claimed is None:
        return False
    adapter.wake()  # there may be more: let one sleeping worker look
    if isinstance(claimed, DeliveryRow):
        _deliver(adapter, claimed)
    else:
        _advance(adapter, claimed)
    return True


def _deliver(adapter: Adapter, row: DeliveryRow) -> None:
    try:
        delivering.advance(adapter, row)
    except LeaseLost:
        return  # another worker has it and its result counts
    except LienthongError as problem:
        with adapter.store.read() as reader:
            message = reader.message(row.message_id)
        if message is not None:
            delivering.failed(adapter, row, message, problem)


def _advance(adapter: Adapter, row: MessageRow) -> None:
    """Walk a claimed message as far as it goes now, under one lease; each step is its own commit."""
    try:
        while row.lease_owner is not None:
            row = _step(adapter, row)
    except LeaseLost:
        return  # another worker has it and its result counts
    except LienthongError as problem:
        _failed(adapter, row, problem)


def _step(adapter: Adapter, row: MessageRow) -> MessageRow:
    match next_step(row):
        case Step.READ:
            return incoming.read(adapter, row)
        case Step.MATCH:
            return incoming.match(adapter, row)
        case Step.PREPARE:
            return outgoing.prepare(adapter, row)
        case Step.ACKNOWLEDGE:
            return _acknowledge(adapter, row)
        case None:
            with adapter.store.write() as tx:
                return adapter.step_done(tx, row)


def _acknowledge(adapter: Adapter, row: MessageRow) -> MessageRow:
    """Tell the source that its item is safe, or that it could not be used. This is the last write."""
    source = adapter.connections.get(row.connection)
    stored = row.ack == "due"
    exchanges: tuple[Exchange, ...] = ()
    if source is not None and source.has("acknowledge"):
        call = source.call(
            "acknowledge", source_id=row.source_id, kind=MessageKind(row.kind), stored=stored, detail=row.ack_detail
        )
        exchanges = call.exchanges
        if call.error is not None:
            return _acknowledge_later(adapter, row, call.error, exchanges)
    with adapter.store.write() as tx:
        tx.record_wire(row.connection, "acknowledge", exchanges, message_id=row.id)
        adapter.note(tx, row, "acknowledged", {"stored": stored})
        return adapter.step_done(tx, row, ack="done")


def _acknowledge_later(
    adapter: Adapter, row: MessageRow, error: LienthongError, exchanges: tuple[Exchange, ...]
) -> MessageRow:
    """A failed acknowledgement never changes the message: the source merely offers it again."""
    setback = after_failure(row, error, adapter.seconds(), adapter.config.profile, adapter.chance())
    now = adapter.seconds()
    again = setback.run_at or now + adapter.config.profile.retry_cap_seconds
    with adapter.store.write() as tx:
        tx.record_wire(row.connection, "acknowledge", exchanges, message_id=row.id)
        adapter.note(tx, row, "acknowledgement-failed", failure_detail(error))
        return adapter.step_done(tx, row, run_at=again, attempts=row.attempts + 1)


def _failed(adapter: Adapter, row: MessageRow, error: LienthongError) -> None:
    """Record a failed step. A message that cannot go on is quarantined with its bytes kept, and its source is told."""
    now = adapter.seconds()
    setback = after_failure(row, error, now, adapter.config.profile, adapter.chance())
    changes = setback.changes() if setback.state == "quarantined" else setback.changes() | sealing.dropped(row, error)
    if setback.state == "quarantined" and row.ack in _TOLD_OF_FAILURE[row.direction]:
        changes |= {"ack": "failed-due", "ack_detail": setback.text, "run_at": now}
    with adapter.store.write() as tx:
        tx.commit(row, now, **changes)
        kind = "quarantined" if setback.state == "quarantined" else "step-failed"
        adapter.note(tx, row, kind, {**failure_detail(error), "retry_at": setback.run_at})
