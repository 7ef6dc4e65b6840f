"""The plugin ``rest``: an office whose REST interface is described by a mapping file. There is no vendor's code here.

Office -> adapter: ``fetch`` reads the lists page by page, statuses before documents, and never makes the office forget;
``acknowledge`` does. Adapter -> office: ``deliver`` creates an incoming document or reports a status.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, SecretStr

from lienthong import (
    AgencyListing,
    Attempt,
    Batch,
    Capabilities,
    ConfigError,
    Connection,
    Delivery,
    Document,
    LienthongError,
    Manifest,
    MessageKind,
    OutcomeUnknown,
    Part,
    Probe,
    Receipt,
    Reconciliation,
    Rejected,
    Unavailable,
    __version__,
    hookimpl,
)
from lienthong.http import HttpSettings
from lienthong_generic_rest.bodies import write_body
from lienthong_generic_rest.calls import Office, Reply, Request, Session, Upload, ask, read
from lienthong_generic_rest.mapping import load_mapping, secret_names
from lienthong_generic_rest.offers import agencies_of, lists_of, offered, page
from lienthong_generic_rest.schema import Call, Inbox, InboxStatus, Lookup, Mapping
from lienthong_generic_rest.templates import Content, FileObjects, Scope, render
from lienthong_generic_rest.wire import id_text

Dedup = Literal["native", "lookup", "none"]


class RestConfig(BaseModel):
    """The ``config`` of a connection to a REST office. Making it reads and checks the mapping.

    :raises ConfigError: the mapping has mistakes, or names a secret that is not given
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    base_url: str = Field(pattern=r"^https?://[^\s?#]+$", description="what every path of the mapping follows")
    mapping: Path = Field(description="the mapping file (TOML)")
    secrets: dict[str, SecretStr] = Field({}, description="what the mapping calls {secret.NAME}")
    http: HttpSettings = Field(HttpSettings(), description="time limits, size limits, TLS")
    dedup: Dedup = Field(
        "none",
        description="the same key twice is: native = one item, lookup = found by [inbox.lookup], none = two items",
    )
    reconcile_settle_seconds: float = Field(
        30.0, ge=0, description="how long after an attempt ended the lookup's 'not there' is believed"
    )
    _mapping: Mapping = PrivateAttr()
    _session: Session = PrivateAttr(default_factory=Session)

    def model_post_init(self, context: Any) -> None:
        self._mapping = load_mapping(self.mapping)
        if missing := sorted(secret_names(self._mapping) - set(self.secrets)):
            raise ConfigError("rest.secret-missing", where=str(self.mapping), names=", ".join(missing))

    def office(self, connection: Connection) -> Office:
        """This office as calls see it."""
        secrets = {name: secret.get_secret_value() for name, secret in self.secrets.items()}
        return Office(
            connection=connection,
            base_url=self.base_url.rstrip("/"),
            mapping=self._mapping,
            secrets=secrets,
            session=self._session,
        )


def _office_of(connection: Connection) -> Office:
    return cast(RestConfig, connection.config).office(connection)


@hookimpl
def describe() -> Manifest:
    return Manifest(
        name="rest",
        version=__version__,
        role="office",
        summary="An office with a REST interface, described by a mapping file",
        config=RestConfig,
        # The weakest promise that all mappings can keep: ``reconcile`` answers, if only with cannot-tell.
        capabilities=Capabilities(dedup="lookup", ack="separate"),
    )


@hookimpl
def fetch(connection: Connection, cursor: str | None) -> Batch:
    return offered(_office_of(connection), cursor)


@hookimpl
def deliver(connection: Connection, delivery: Delivery) -> Receipt:
    office = _office_of(connection)
    way, scope = _way_in(office, delivery), _delivery_scope(delivery)
    headers = {way.idempotency_header: delivery.key} if way.idempotency_header else {}
    with _upload(office, way, scope, delivery) as upload:
        request = Request(call=way.create, scope=scope, effect=True, headers=headers, upload=upload)
        reply = ask(office, request)
    return _receipt(office, way, scope, reply)


@hookimpl
def acknowledge(connection: Connection, source_id: str, kind: MessageKind, stored: bool, detail: str) -> Literal[True]:
    office = _office_of(connection)
    name, _, identity = source_id.partition(":")
    listed = lists_of(office).get(name)
    call = listed and (listed.acknowledge.stored if stored else listed.acknowledge.failed)
    if call:
        # Telling twice is as good as once, so a lost answer is worth a retry and no more (effect=False).
        ask(office, Request(call=call, scope={"id": identity, "detail": detail}))
    return True


@hookimpl
def reconcile(connection: Connection, attempt: Attempt) -> Reconciliation:
    office = _office_of(connection)
    config = cast(RestConfig, connection.config)
    try:
        lookup = _way_in(office, attempt.delivery).lookup
        if lookup is None or config.dedup == "none":
            # With native dedup the same key is safe to send again, which is what "not delivered" makes core do.
            return Reconciliation(outcome="not-delivered" if config.dedup == "native" else "cannot-tell")
        reply, found = _looked_up(office, lookup, _delivery_scope(attempt.delivery))
    except Rejected:
        return Reconciliation(outcome="cannot-tell")
    ours = [identity for identity in found if identity not in attempt.known_peer_ids]
    if len(ours) == 1:
        return Reconciliation(outcome="delivered", receipt=Receipt(peer_id=ours[0], raw=reply.raw))
    settled = connection.now() > attempt.ended + timedelta(seconds=config.reconcile_settle_seconds)
    certain = not ours and (settled or config.dedup == "native")
    return Reconciliation(outcome="not-delivered" if certain else "cannot-tell")


@hookimpl
def directory(connection: Connection, since: datetime | None) -> AgencyListing:
    office = _office_of(connection)
    listed = office.mapping.directory
    if listed is None:
        return AgencyListing(complete=False)
    return AgencyListing(agencies=tuple(agencies_of(office, listed)))


@hookimpl
def probe(connection: Connection) -> Probe:
    office = _office_of(connection)
    try:
        tried = _harmless_call(office)
    except LienthongError as problem:
        return Probe(usable=False, detail=problem.text("vi"), observed=connection.now())
    return Probe(usable=True, detail=f"{tried.method} {tried.path}", observed=connection.now())


def _harmless_call(office: Office) -> Call:
    """Do the mapping's probe, or else read the first page of a list, and say which call that was."""
    call = office.mapping.probe
    if call:
        ask(office, Request(call=call, scope={"now": office.connection.now()}))
        return call
    listed = next(iter(lists_of(office).values()))
    page(office, listed, "")
    return listed.listing


_Way = Inbox | InboxStatus


def _way_in(office: Office, delivery: Delivery) -> _Way:
    document = isinstance(delivery.message, Document)
    way: _Way | None = office.mapping.inbox if document else office.mapping.inbox_status
    if way is None:
        section = "[inbox]" if document else "[inbox_status]"
        raise Rejected("rest.not-mapped", peer=office.connection.name, section=section, peer_code="", peer_text="")
    return way


def _delivery_scope(delivery: Delivery) -> Scope:
    """What placeholders mean while a message is handed over. Our prefix is taken off the office's own ids."""
    kind, separator, bare = delivery.concerns_peer_id.partition(":")
    concerns = bare if separator and kind in ("document", "status") else delivery.concerns_peer_id
    named = {
        "key": delivery.key,
        "message_id": delivery.message_id,
        "recipient": delivery.recipient,
        "concerns_id": delivery.concerns_id,
        "concerns_peer_id": concerns,
        "lines": delivery.lines,
    }
    name = "document" if isinstance(delivery.message, Document) else "status"
    return {"delivery": named, name: delivery.message}


@contextmanager
def _upload(office: Office, way: _Way, scope: Scope, delivery: Delivery) -> Iterator[Upload | None]:
    """The body of a creation as a file in the connection's folder, for as long as it is sent."""
    if not (isinstance(way, Inbox) and isinstance(delivery.message, Document)):
        yield None
        return
    path = _empty_file(office)
    try:
        yield Upload(path=path, content_type=_written(office, way, scope, delivery, path))
    finally:
        path.unlink(missing_ok=True)


def _empty_file(office: Office) -> Path:
    try:
        office.connection.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=office.connection.folder, prefix="request-", delete=False) as file:
            return Path(file.name)
    except OSError as problem:
        raise Unavailable("rest.body-file", peer=office.connection.name, reason=problem) from problem


def _written(office: Office, inbox: Inbox, scope: Scope, delivery: Delivery, path: Path) -> str:
    """Write the body of a creation and return its media type."""
    parts = cast(Document, delivery.message).parts
    tables, scope = office.mapping.tables, {**scope, "secret": office.secrets}
    files = [(inbox.file_field, part) for part in parts] if inbox.file_field else []
    if inbox.file is not None:
        objects = (render(inbox.file, {**scope, "part": _part(n, part)}, tables) for n, part in enumerate(parts, 1))
        scope = {**scope, "files": FileObjects(objects)}
    try:
        with path.open("wb") as sink:
            return write_body(inbox.create, files, scope, tables, sink, delivery.open_part)
    except OSError as problem:
        raise Unavailable("rest.body-file", peer=office.connection.name, reason=problem) from problem


def _part(index: int, part: Part) -> dict[str, object]:
    named = {entry.name: getattr(part, entry.name) for entry in fields(part)}
    return {**named, "index": index, "base64": Content(part=part)}


def _receipt(office: Office, way: _Way, scope: Scope, reply: Reply) -> Receipt:
    """The receipt of a creation. Without an ``id`` in the mapping the office knows the item by our key.

    :raises OutcomeUnknown: the office said yes but not which item it made
    """
    key = str(cast(dict[str, object], scope["delivery"])["key"])
    identity = key if way.id is None else id_text(read(reply, way.id))
    if not identity and not reply.duplicate:
        raise OutcomeUnknown("rest.no-id", peer=office.connection.name, where="id")
    return Receipt(peer_id=identity or _existing(office, way, scope) or key, raw=reply.raw)


def _existing(office: Office, way: _Way, scope: Scope) -> str:
    """The id of what the office had already, if it can be asked for it."""
    try:
        found = _looked_up(office, way.lookup, scope)[1] if way.lookup else []
    except Rejected:
        return ""
    return found[0] if found else ""


def _looked_up(office: Office, lookup: Lookup, scope: Scope) -> tuple[Reply, list[str]]:
    """Ids under which the office has a message.

    :raises Rejected: the office refuses the question
    """
    try:
        reply = ask(office, Request(call=lookup.call, scope=scope))
    except Rejected as refused:
        if refused.facts.get("peer_code") in {f"HTTP {status}" for status in lookup.missing_http}:
            return Reply(peer=office.connection.name, raw=b"", effect=False), []
        raise
    if lookup.missing is not None and read(reply, lookup.missing):
        return reply, []
    found = read(reply, lookup.id)
    return reply, [id_text(each) for each in (found if isinstance(found, list) else [found]) if id_text(each)]
