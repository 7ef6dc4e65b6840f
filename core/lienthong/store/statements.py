"""The statements that every document needs several times, built once: building one costs more than running it."""

from __future__ import annotations

from functools import cache
from typing import Any

import sqlalchemy as sa

from lienthong.store.schema import agency, delivery, event, message, wire

_OPEN = ("ready", "sending", "unknown", "offered")


def _given(name: str) -> sa.BindParameter[Any]:
    """A parameter that is given at every run; not ``required``, so that the SQL can be written out beforehand."""
    return sa.bindparam(name, required=False)


NOW, OWNER, UNTIL = _given("now"), _given("owner"), _given("until")

last_hash = sa.select(event.c.hash).order_by(event.c.seq.desc()).limit(1)
append_event = event.insert().values({c.name: _given(c.name) for c in event.c if c.name != "seq"})
append_wire = wire.insert().values({c.name: _given(c.name) for c in wire.c if c.name != "seq"})
add_message = message.insert().values({c.name: _given(c.name) for c in message.c})
add_delivery = delivery.insert().values({c.name: _given(c.name) for c in delivery.c if c.name != "seq"})
message_by_id = sa.select(message).where(message.c.id == _given("id"))
message_by_source = sa.select(message).where(
    message.c.connection == _given("connection"),
    message.c.kind == _given("kind"),
    message.c.source_id == _given("source_id"),
)
unpackaged = sa.select(message).where(
    message.c.lineage == _given("lineage"),
    message.c.direction == "out",
    message.c.state.in_(("cleared", "awaiting-signature", "awaiting-proof")),
)
listed_agency = sa.select(agency.c.body).where(
    agency.c.connection == _given("connection"), agency.c.code == _given("code")
)
number_used = (
    sa.select(message.c.id)
    .where(
        message.c.code == _given("code"),
        message.c.promulgated.between(_given("first_day"), _given("last_day")),
        message.c.agency == _given("agency"),
        message.c.direction == "out",
        message.c.kind == "edoc",
        message.c.business == 0,
        message.c.state.not_in(("refused", "quarantined")),
    )
    .limit(1)
)

Statement = sa.Select[Any] | sa.UpdateBase


@cache
def compiled(statement: Statement, dialect: sa.Dialect) -> tuple[str, tuple[tuple[str, object], ...]]:
    """A statement's SQL for a database, and its parameters in their order, each with the value that stands in it."""
    sql = statement.compile(dialect=dialect, compile_kwargs={"render_postcompile": True})
    return str(sql), tuple((name, sql.params[name]) for name in sql.positiontup or ())


def key_of(table: sa.Table) -> sa.ColumnElement[Any]:
    return table.c.id if table is message else table.c.key


@cache
def claim(table: sa.Table) -> sa.UpdateBase:
    """Lease the most urgent due row and return it. Parameters: now, owner, until."""
    due = sa.select(key_of(table)).where(table.c.run_at <= NOW, _unleased(table))
    values: dict[str, Any] = {
        "lease_owner": OWNER,
        "lease_until": UNTIL,
        "fence": table.c.fence + 1,
        "updated_at": NOW,
    }
    if table is delivery:
        due = due.where(~_open_before())
        values |= _intent()
    chosen = due.order_by(table.c.priority.desc(), table.c.run_at, key_of(table)).limit(1).scalar_subquery()
    return sa.update(table).where(key_of(table) == chosen).values(values).returning(table)


@cache
def commit(table: sa.Table, columns: frozenset[str]) -> sa.Update:
    """Set ``columns`` of a row that is still ours. Parameters: the columns, and my_key, my_fence, my_owner."""
    mine = sa.and_(
        key_of(table) == _given("my_key"),
        table.c.fence == _given("my_fence"),
        table.c.lease_owner == _given("my_owner"),
    )
    return sa.update(table).where(mine).values({name: _given(name) for name in columns})


def open_in_line(now: float) -> sa.Subquery:
    """Open deliveries with what stands before each in its (lineage, recipient): how many are held, how urgent it is."""
    line = (delivery.c.lineage, delivery.c.recipient)
    held = sa.case((sa.and_(delivery.c.state == "offered", _unleased(delivery, now)), 0), else_=1)
    return (
        sa.select(
            delivery.c.key,
            delivery.c.seq,
            delivery.c.connection,
            delivery.c.recipient,
            sa.func.sum(held).over(partition_by=line, order_by=delivery.c.seq).label("held_before"),
            sa.func.max(delivery.c.priority).over(partition_by=line).label("urgency"),
        )
        .where(delivery.c.state.in_(_open_states()))
        .subquery()
    )


def _open_states() -> sa.BindParameter[str]:
    """Written out in the SQL, so that the partial index ``delivery_open`` serves it."""
    return sa.bindparam("open_states", _OPEN, expanding=True, literal_execute=True)


def _unleased(table: sa.Table, now: sa.BindParameter[Any] | float = NOW) -> sa.ColumnElement[bool]:
    return sa.or_(table.c.lease_until.is_(None), table.c.lease_until <= now)


def _open_before() -> sa.ColumnElement[bool]:
    earlier = delivery.alias("earlier")
    return sa.exists().where(
        earlier.c.lineage == delivery.c.lineage,
        earlier.c.recipient == delivery.c.recipient,
        earlier.c.state.in_(_open_states()),
        earlier.c.state != "offered",
        earlier.c.seq < delivery.c.seq,
    )


def _intent() -> dict[str, Any]:
    starting = delivery.c.state == "ready"
    becomes = sa.case((starting, "sending"), (delivery.c.state == "sending", "unknown"), else_=delivery.c.state)
    return {
        "state": becomes,
        "attempted_at": sa.case((starting, NOW), else_=delivery.c.attempted_at),
        "ended_at": sa.case((delivery.c.state == "sending", NOW), else_=delivery.c.ended_at),
        "attempts": delivery.c.attempts + 1,
    }
