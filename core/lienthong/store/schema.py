"""The tables. Times are seconds since the epoch (UTC) as REAL; people see them through ``model.vietnam_time``.

``run_at`` is the whole work queue: a row with ``run_at`` set has something to do from then on; NULL means settled, or
waiting for a person or a peer. The partial indexes hold only rows with work, so a claim does not slow down as the store
grows.
"""

from __future__ import annotations

from sqlalchemy import (
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

VERSION = 1
metadata = MetaData()


def _work_columns() -> list[Column[object]]:
    return [
        Column("state", String, nullable=False),
        Column("priority", Integer, nullable=False, default=0),
        Column("run_at", Float),
        Column("attempts", Integer, nullable=False, default=0),
        Column("strikes", Integer, nullable=False, default=0),
        Column("lease_owner", String),
        Column("lease_until", Float),
        Column("fence", Integer, nullable=False, default=0),
        Column("reason", String, nullable=False, default=""),
        Column("reason_text", Text, nullable=False, default=""),
        Column("created_at", Float, nullable=False),
        Column("updated_at", Float, nullable=False),
    ]


schema_version = Table("schema_version", metadata, Column("version", Integer, nullable=False))

message = Table(
    "message",
    metadata,
    Column("id", String, primary_key=True),
    Column("direction", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("agency", String, nullable=False),
    Column("peer", String, nullable=False, default=""),
    Column("connection", String, nullable=False),
    Column("source_id", String, nullable=False),
    Column("intake_digest", String, nullable=False, default=""),
    Column("document_id", String, nullable=False, default=""),
    Column("code", String, nullable=False, default=""),
    Column("promulgated", String, nullable=False, default=""),
    Column("business", Integer, nullable=False, default=0),
    Column("status", String, nullable=False, default=""),
    Column("subject", Text, nullable=False, default=""),
    Column("lineage", String, nullable=False, default=""),
    Column("business_key", String, nullable=False, default=""),
    Column("concerns", String, nullable=False, default=""),
    Column("body", Text, nullable=False, default=""),
    Column("raw", String, nullable=False, default=""),
    Column("verification", Text, nullable=False, default="[]"),
    Column("parked", Text, nullable=False, default=""),
    Column("ack", String, nullable=False, default="none"),
    Column("ack_detail", Text, nullable=False, default=""),
    *_work_columns(),
    UniqueConstraint("connection", "kind", "source_id"),
)
Index("message_work", message.c.run_at, sqlite_where=message.c.run_at.isnot(None))
Index("message_document", message.c.document_id, message.c.direction)
Index("message_code", message.c.code, message.c.promulgated)
Index("message_business_key", message.c.business_key)
Index("message_lineage", message.c.lineage)
Index("message_concerns", message.c.concerns, sqlite_where=message.c.concerns != "")

delivery = Table(
    "delivery",
    metadata,
    Column("seq", Integer, primary_key=True),
    Column("key", String, nullable=False, unique=True),
    Column("message_id", ForeignKey("message.id"), nullable=False, index=True),
    Column("connection", String, nullable=False),
    Column("recipient", String, nullable=False),
    Column("lineage", String, nullable=False),
    Column("packet_sha256", String, nullable=False, default=""),
    Column("packet_size", Integer, nullable=False, default=0),
    Column("lines", Text, nullable=False, default="[]"),
    Column("attempted_at", Float),
    Column("ended_at", Float),
    Column("peer_id", String, nullable=False, default=""),
    Column("receipt", LargeBinary),
    Column("last_status", String, nullable=False, default=""),
    *_work_columns(),
)
Index("delivery_work", delivery.c.run_at, sqlite_where=delivery.c.run_at.isnot(None))
Index(
    "delivery_open",
    delivery.c.lineage,
    delivery.c.recipient,
    sqlite_where=delivery.c.state.in_(("ready", "sending", "unknown", "offered")),
)
Index("delivery_offered", delivery.c.connection, sqlite_where=delivery.c.state == "offered")

event = Table(
    "event",
    metadata,
    Column("seq", Integer, primary_key=True),
    Column("at", Float, nullable=False),
    Column("message_id", String, nullable=False, index=True),
    Column("delivery_key", String, nullable=False, default=""),
    Column("kind", String, nullable=False),
    Column("actor", String, nullable=False),
    Column("detail", Text, nullable=False),
    Column("previous", String, nullable=False),
    Column("hash", String, nullable=False),
)

wire = Table(
    "wire",
    metadata,
    Column("seq", Integer, primary_key=True),
    Column("message_id", String, nullable=False, index=True),
    Column("delivery_key", String, nullable=False, default=""),
    Column("connection", String, nullable=False),
    Column("hook", String, nullable=False),
    Column("exchange", Text, nullable=False),
)

cursor = Table(
    "cursor",
    metadata,
    Column("connection", String, primary_key=True),
    Column("value", Text),
    Column("fetched_at", Float),
    Column("problem", Text, nullable=False, default=""),
)

agency = Table(
    "agency",
    metadata,
    Column("connection", String, primary_key=True),
    Column("code", String, primary_key=True),
    Column("body", Text, nullable=False),
    Column("seen_at", Float, nullable=False),
)
