"""Reading, claiming and committing. The only module that speaks SQL.

Rules kept here: work is claimed by one UPDATE that bumps a fence; every commit of claimed work names the fence and is
refused when somebody else holds the work; a state change, its ledger event and the rows that it creates are one
transaction; the ledger is one chain, which SQLite's single writer (``BEGIN IMMEDIATE``) keeps in order.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from pydantic import TypeAdapter
from sqlalchemy.exc import DatabaseError, DBAPIError, IntegrityError

from lienthong.errors import KeyConflict, LeaseLost, StorageFull, StoreError
from lienthong.http import Exchange
from lienthong.model import Organization
from lienthong.store import ledger, statements
from lienthong.store.blobs import BlobStore, disk_errors
from lienthong.store.rows import DeliveryRow, MessageRow
from lienthong.store.schema import VERSION, agency, cursor, delivery, event, message, metadata, schema_version, wire

_ORGANIZATION = TypeAdapter(Organization)


Row = TypeVar("Row", MessageRow, DeliveryRow)
_TABLES: dict[type, sa.Table] = {MessageRow: message, DeliveryRow: delivery}


class Store:
    """One folder: ``lienthong.db`` and ``blobs/``. Safe for several threads and several processes."""

    def __init__(self, folder: Path) -> None:
        """:raises StoreError: the folder or the database in it cannot be used"""
        with disk_errors():
            folder.mkdir(parents=True, exist_ok=True)
        self.blobs = BlobStore(folder / "blobs")
        self._engine = _engine(folder / "lienthong.db")
        self._turn = threading.Lock()
        self._writer: sa.Connection | None = None
        self._idle: list[sa.Connection] = []
        self._closed = False
        try:
            with self.write() as tx:
                tx.prepare_schema()
        except StoreError:
            self.close()
            raise

    def close(self) -> None:
        """Close the connections; a read that is still going on closes its own when it ends."""
        self._closed = True
        self._close_idle()
        with self._turn:
            if self._writer is not None:
                self._writer.close()
            self._writer = None

    @contextmanager
    def write(self) -> Iterator[Transaction]:
        """One durable transaction.

        :raises StorageFull: the disk is full; nothing of it happened
        :raises StoreError: the database cannot be used; nothing of it happened
        """
        with _database_errors(), self._turn:
            if self._writer is None:
                self._writer = self._engine.connect().execution_options(lienthong_write=True)
            with self._writer.begin():
                yield Transaction(self._writer)

    @contextmanager
    def read(self) -> Iterator[Reader]:
        """One consistent view.

        :raises StoreError: the database cannot be read
        """
        with _database_errors(), self._reading() as connection, connection.begin():
            yield Reader(connection)

    @contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        """A connection of its own for each read that goes on; opening one costs more than most reads, so it is kept."""
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self._engine.connect()
        try:
            yield connection
        except (DBAPIError, sqlite3.Error):
            connection.close()
            raise
        finally:
            if not connection.closed:
                self._idle.append(connection)
            if self._closed:
                self._close_idle()

    def _close_idle(self) -> None:
        with suppress(IndexError):
            while True:
                self._idle.pop().close()

    def claim_next(self, owner: str, now: float, lease_seconds: float) -> DeliveryRow | MessageRow | None:
        """Take the most urgent due delivery or, when there is none, the most urgent due message.

        Claiming a *ready* delivery is its intent: it comes back as ``sending``. A delivery that is found ``sending``
        was in the hands of somebody who died, so it comes back as ``unknown``. Order within one (lineage, recipient)
        is kept by not claiming past an open earlier delivery.
        """
        with self.write() as tx:
            return tx.claim(DeliveryRow, owner, now, lease_seconds) or tx.claim(MessageRow, owner, now, lease_seconds)


class Reader:
    """Queries. Each returns plain rows."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def _run(self, statement: statements.Statement, **parameters: object) -> Any:
        """Run a statement that was built once, by the driver itself: what every document needs sixteen times must cost
        no more than the database does. Returns the driver's cursor; its errors become SQLAlchemy's."""
        sql, wanted = statements.compiled(statement, self._connection.dialect)
        values = tuple(parameters.get(name, value) for name, value in wanted)
        try:
            return self._execute(sql, values)
        except sqlite3.IntegrityError as problem:
            raise IntegrityError(sql, None, problem) from problem
        except sqlite3.Error as problem:
            raise DatabaseError(sql, None, problem) from problem

    def _execute(self, sql: str, values: tuple[object, ...]) -> Any:
        driver = self._connection.connection.cursor()
        try:
            return driver.execute(sql, values)
        except UnicodeEncodeError:  # rare: looking at every text beforehand would cost every statement
            return driver.execute(sql, tuple(map(_storable, values)))

    def message(self, message_id: str) -> MessageRow | None:
        row = self._run(statements.message_by_id, id=message_id).fetchone()
        return _row(MessageRow, row) if row is not None else None

    def message_by_source(self, connection: str, kind: str, source_id: str) -> MessageRow | None:
        row = self._run(statements.message_by_source, connection=connection, kind=kind, source_id=source_id).fetchone()
        return _row(MessageRow, row) if row is not None else None

    def messages(
        self, *conditions: sa.ColumnElement[bool], limit: int = 1000, newest: bool = False
    ) -> list[MessageRow]:
        order = message.c.id.desc() if newest else message.c.id.asc()
        rows = self._connection.execute(sa.select(message).where(*conditions).order_by(order).limit(limit))
        return [_row(MessageRow, row) for row in rows]

    def delivery(self, key: str) -> DeliveryRow | None:
        return self._one(DeliveryRow, delivery.c.key == key)

    def deliveries(self, *conditions: sa.ColumnElement[bool], limit: int = 10_000) -> list[DeliveryRow]:
        rows = self._connection.execute(sa.select(delivery).where(*conditions).order_by(delivery.c.seq).limit(limit))
        return [_row(DeliveryRow, row) for row in rows]

    def known_peer_ids(self, connection: str, recipient: str) -> frozenset[str]:
        """Receipts that already belong to a delivery to this recipient."""
        query = sa.select(delivery.c.peer_id).where(
            delivery.c.connection == connection, delivery.c.recipient == recipient, delivery.c.peer_id != ""
        )
        return frozenset(self._connection.scalars(query))

    def events(self, message_id: str) -> list[dict[str, Any]]:
        query = sa.select(event).where(event.c.message_id == message_id).order_by(event.c.seq)
        return [{**row, "detail": json.loads(row["detail"])} for row in self._connection.execute(query).mappings()]

    def exchanges(self, message_id: str) -> list[dict[str, Any]]:
        query = sa.select(wire).where(wire.c.message_id == message_id).order_by(wire.c.seq)
        rows = self._connection.execute(query).mappings()
        return [{**row, "exchange": json.loads(row["exchange"])} for row in rows]

    def cursor(self, connection: str) -> str | None:
        return self._connection.scalar(sa.select(cursor.c.value).where(cursor.c.connection == connection))

    def cursors(self, beginning: str) -> dict[str, str]:
        """The values that are kept under names with this beginning."""
        named = cursor.c.connection.startswith(beginning, autoescape=True)
        rows = self._connection.execute(sa.select(cursor.c.connection, cursor.c.value).where(named))
        return {name: value for name, value in rows if value is not None}

    def polls(self) -> dict[str, tuple[float | None, str]]:
        """Connection -> (when it was last polled with success, what went wrong since)."""
        rows = self._connection.execute(sa.select(cursor.c.connection, cursor.c.fetched_at, cursor.c.problem))
        return {name: (fetched_at, problem) for name, fetched_at, problem in rows}

    def agencies(self, connection: str) -> dict[str, Organization]:
        rows = self._connection.execute(
            sa.select(agency.c.code, agency.c.body).where(agency.c.connection == connection)
        )
        return {code: _ORGANIZATION.validate_json(body) for code, body in rows}

    def listed_agency(self, connection: str, code: str) -> Organization | None:
        """An agency as the directory of an axis names it; None when it is not there."""
        found = self._run(statements.listed_agency, connection=connection, code=code).fetchone()
        return _ORGANIZATION.validate_json(found[0]) if found is not None else None

    def number_used(self, agency_code: str, code: str, year: int) -> bool:
        """Whether a new document of this agency and year has this number and notation."""
        days = {"first_day": f"{year}-01-01", "last_day": f"{year}-12-31"}
        return self._run(statements.number_used, agency=agency_code, code=code, **days).fetchone() is not None

    def agencies_seen_at(self, connection: str) -> float | None:
        query = sa.select(sa.func.max(agency.c.seen_at)).where(agency.c.connection == connection)
        seen: float | None = self._connection.scalar(query)
        return seen

    def counts(self) -> dict[tuple[str, str, str, str], int]:
        """(table, direction or connection, kind, state) -> rows, for metrics."""
        by_message = sa.select(message.c.direction, message.c.kind, message.c.state, sa.func.count()).group_by(
            message.c.direction, message.c.kind, message.c.state
        )
        by_delivery = sa.select(delivery.c.connection, delivery.c.state, sa.func.count()).group_by(
            delivery.c.connection, delivery.c.state
        )
        found = {("message", d, k, s): n for d, k, s, n in self._connection.execute(by_message)}
        return found | {("delivery", c, "", s): n for c, s, n in self._connection.execute(by_delivery)}

    def unpackaged(self, lineage: str) -> list[MessageRow]:
        """The outgoing messages of a lineage that have no deliveries yet."""
        return [_row(MessageRow, row) for row in self._run(statements.unpackaged, lineage=lineage)]

    def ledger_break(self) -> int | None:
        rows = self._connection.execute(sa.select(event).order_by(event.c.seq)).yield_per(1000)
        return ledger.first_break(tuple(row) for row in rows)

    def _one(self, kind: type[Row], *conditions: sa.ColumnElement[bool]) -> Row | None:
        row = self._connection.execute(sa.select(_TABLES[kind]).where(*conditions)).first()
        return _row(kind, row) if row is not None else None


class Transaction(Reader):
    """Changes; they are durable together when the transaction ends."""

    def prepare_schema(self) -> None:
        metadata.create_all(self._connection)
        found = self._connection.scalar(sa.select(schema_version.c.version))
        if found is None:
            self._connection.execute(schema_version.insert().values(version=VERSION))
        elif found != VERSION:
            raise StoreError("store.schema", found=found, wanted=VERSION)

    def add_message(self, row: MessageRow) -> None:
        """:raises KeyConflict: the source's item is already stored"""
        try:
            self._run(statements.add_message, **_values(row))
        except IntegrityError as problem:
            raise KeyConflict("store.known-source", source_id=row.source_id) from problem

    def add_delivery(self, row: DeliveryRow) -> None:
        """:raises KeyConflict: a delivery with this key is already stored"""
        values = _values(row)
        del values["seq"]
        try:
            self._run(statements.add_delivery, **values)
        except IntegrityError as problem:
            if "UNIQUE" not in str(problem.orig):
                raise
            raise KeyConflict("store.known-source", source_id=row.key) from problem

    def claim(self, kind: type[Row], owner: str, now: float, lease_seconds: float) -> Row | None:
        row = self._run(statements.claim(_TABLES[kind]), now=now, owner=owner, until=now + lease_seconds).fetchone()
        return _row(kind, row) if row is not None else None

    def commit(self, row: Row, now: float, **changes: object) -> Row:
        """Write the result of claimed work and give the lease back; returns the row as it now is.

        :raises LeaseLost: somebody else holds it now; the result must be dropped
        """
        return self.progress(row, now, lease_owner=None, lease_until=None, **changes)

    def progress(self, row: Row, now: float, **changes: object) -> Row:
        """Write a result and keep the lease, to go on with the same row.

        :raises LeaseLost: somebody else holds it now; the result must be dropped
        """
        key = _key_of(row)
        values = {"updated_at": now, **changes}
        mine = {"my_key": key, "my_fence": row.fence, "my_owner": row.lease_owner}
        statement = statements.commit(_TABLES[type(row)], frozenset(values))
        if self._run(statement, **values, **mine).rowcount != 1:
            raise LeaseLost("store.lease-lost", item=key)
        return replace(row, **values)  # type: ignore[arg-type]

    def park(self, owner_prefix: str, now: float) -> int:
        """Take all leases of an owner back, whoever still works on them; returns how many.

        A delivery that was being sent becomes unknown: nobody can say whether it arrived.
        """
        parked = 0
        for table in (message, delivery):
            values: dict[str, Any] = {"lease_owner": None, "lease_until": None, "updated_at": now}
            if table is delivery:
                values["state"] = sa.case((delivery.c.state == "sending", "unknown"), else_=delivery.c.state)
                values["ended_at"] = now
            held = table.c.lease_owner.startswith(owner_prefix)
            parked += self._connection.execute(sa.update(table).where(held).values(values)).rowcount
        return parked

    def amend_message(self, message_id: str, now: float, **changes: object) -> None:
        """Change a message that is not this worker's claim (a related one); its holder's fence stays valid."""
        values = {"updated_at": now, **_all_storable(changes)}
        self._connection.execute(sa.update(message).where(message.c.id == message_id).values(values))

    def amend_deliveries(self, now: float, *conditions: sa.ColumnElement[bool], **changes: object) -> int:
        """Change deliveries by condition; returns how many."""
        values = {"updated_at": now, **_all_storable(changes)}
        return self._connection.execute(sa.update(delivery).where(*conditions).values(values)).rowcount

    def event(
        self,
        message_id: str,
        kind: str,
        now: float,
        *,
        actor: str,
        detail: Mapping[str, object],
        delivery_key: str = "",
    ) -> None:
        """Append to the ledger. What is hashed is what the database will give back: text and times as it keeps them."""
        last = self._run(statements.last_hash).fetchone()
        previous, at = last[0] if last else ledger.GENESIS, float(now)
        actor, text = _storable(actor), _storable(json.dumps(detail, ensure_ascii=False, sort_keys=True))
        values = {
            "at": at,
            "message_id": message_id,
            "delivery_key": delivery_key,
            "kind": kind,
            "actor": actor,
            "detail": text,
            "previous": previous,
            "hash": ledger.event_hash(previous, at, message_id, delivery_key, kind, actor, text),
        }
        self._run(statements.append_event, **values)

    def record_wire(
        self, connection: str, hook: str, exchanges: Iterable[Exchange], *, message_id: str, delivery_key: str = ""
    ) -> None:
        rows = [
            {
                "message_id": message_id,
                "delivery_key": delivery_key,
                "connection": connection,
                "hook": hook,
                "exchange": json.dumps(vars(exchange), ensure_ascii=False),
            }
            for exchange in exchanges
        ]
        if rows:
            for row in rows:
                self._run(statements.append_wire, **row)

    def polled(self, connection: str, now: float, value: str | None) -> None:
        self._upsert_cursor(connection, value=value, fetched_at=now, problem="")

    def poll_failed(self, connection: str, problem: str) -> None:
        self._upsert_cursor(connection, problem=problem)

    def replace_agencies(self, connection: str, organizations: Iterable[Organization], now: float) -> None:
        self._connection.execute(agency.delete().where(agency.c.connection == connection))
        rows = {
            found.code: {
                "connection": connection,
                "code": _storable(found.code),
                "body": json.dumps(_all_storable(_ORGANIZATION.dump_python(found)), ensure_ascii=False),
                "seen_at": now,
            }
            for found in organizations
        }
        if rows:
            self._connection.execute(agency.insert(), list(rows.values()))

    def lease_offered(
        self,
        connections: Sequence[str],
        owner: str,
        now: float,
        seconds: float,
        limit: int,
        *,
        recipient: str | None = None,
    ) -> list[DeliveryRow]:
        """Lease what these offices have to collect, ``limit`` at most: urgent lineages first, each oldest first.

        Nothing is leased past an earlier open delivery of its (lineage, recipient) that another lease holds.
        """
        waiting = statements.open_in_line(now)
        free = sa.select(waiting.c.key).where(waiting.c.held_before == 0, waiting.c.connection.in_(connections))
        if recipient is not None:
            free = free.where(waiting.c.recipient == recipient)
        chosen = free.order_by(waiting.c.urgency.desc(), waiting.c.seq).limit(limit)
        values = {"lease_owner": owner, "lease_until": now + seconds, "fence": delivery.c.fence + 1, "updated_at": now}
        query = sa.update(delivery).where(delivery.c.key.in_(chosen)).values(values).returning(delivery)
        leased = [_row(DeliveryRow, row) for row in self._connection.execute(query)]
        urgency: dict[str, int] = {}
        for row in leased:
            urgency[row.lineage] = max(row.priority, urgency.get(row.lineage, 0))
        return sorted(leased, key=lambda row: (-urgency[row.lineage], row.seq))

    def renew(self, row: DeliveryRow, now: float, seconds: float) -> None:
        """Hold leased work for ``seconds`` from now on.

        :raises LeaseLost: somebody else holds it now
        """
        mine = sa.and_(
            delivery.c.key == row.key, delivery.c.fence == row.fence, delivery.c.lease_owner == row.lease_owner
        )
        held = self._connection.execute(sa.update(delivery).where(mine).values(lease_until=now + seconds))
        if held.rowcount != 1:
            raise LeaseLost("store.lease-lost", item=row.key)

    def _upsert_cursor(self, connection: str, **told: object) -> None:
        values = _all_storable(told)
        updated = self._connection.execute(sa.update(cursor).where(cursor.c.connection == connection).values(**values))
        if updated.rowcount == 0:
            self._connection.execute(cursor.insert().values(connection=connection, **values))


def _engine(file: Path) -> sa.Engine:
    engine = sa.create_engine(f"sqlite:///{file}", connect_args={"timeout": 30}, poolclass=sa.NullPool)

    @sa.event.listens_for(engine, "connect")
    def _pragmas(raw: sqlite3.Connection, _record: object) -> None:
        raw.isolation_level = None
        try:
            for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=30000"):
                raw.execute(f"PRAGMA {pragma}")
        except sqlite3.Error:
            raw.close()
            raise

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        writing = connection.get_execution_options().get("lienthong_write", False)
        connection.connection.cursor().execute("BEGIN IMMEDIATE" if writing else "BEGIN")

    return engine


@contextmanager
def _database_errors() -> Iterator[None]:
    """What the driver raises while it connects comes bare; everything later comes in SQLAlchemy's wrapping."""
    try:
        yield
    except (DBAPIError, sqlite3.Error) as problem:
        text = str(problem.orig if isinstance(problem, DBAPIError) else problem)
        if "full" in text or "disk I/O" in text:
            raise StorageFull("store.full", where=text) from problem
        raise StoreError("store.unusable", reason=text) from problem


def _storable(value: Any) -> Any:
    """``value`` as a database can keep it: a peer's words may hold half of a surrogate pair, which is no character."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


def _all_storable(values: Mapping[str, object]) -> dict[str, object]:
    return {name: _storable(value) for name, value in values.items()}


def _key_of(row: MessageRow | DeliveryRow) -> str:
    return row.id if isinstance(row, MessageRow) else row.key


_NAMES = {kind: tuple(_TABLES[kind].c.keys()) for kind in (MessageRow, DeliveryRow)}


def _row(kind: type[Row], row: Iterable[Any]) -> Row:
    return kind(**dict(zip(_NAMES[kind], row, strict=True)))


def _values(row: MessageRow | DeliveryRow) -> dict[str, Any]:
    return {name: getattr(row, name) for name in _NAMES[type(row)]}
