"""Commands about documents: send, list, trace, recall, status, agencies."""

from __future__ import annotations

import mimetypes
import secrets
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import BinaryIO

import typer

from lienthong import (
    VIETNAM,
    Document,
    DocumentReference,
    FileSource,
    Organization,
    PartRole,
    StatusCode,
    StatusReport,
    document_id,
)
from lienthong.cli.printing import print_json, print_table
from lienthong.config import Config, load
from lienthong.daemon import open_adapter
from lienthong.errors import ContentError, Refused
from lienthong.metadata import PRIORITIES
from lienthong.pipeline.adapter import Adapter
from lienthong.pipeline.intake import Origin, submit, submit_status
from lienthong.pipeline.recalling import Form, request_recall
from lienthong.store.rows import MessageRow
from lienthong.store.schema import message
from lienthong.store.store import Reader, Store
from lienthong.views import document_view, message_summary, trace_view


@dataclass(frozen=True)
class Draft:
    """What ``send`` was given."""

    file: Path
    to: tuple[str, ...]
    number: str
    notation: str
    subject: str
    date: str
    type_name: str
    sender: str
    attachments: tuple[Path, ...]
    priority: str
    secrecy: str


def send_document(config_file: Path, draft: Draft, *, json_out: bool, lang: str) -> int:
    config = load(config_file)
    document = _document(config, draft)
    files = (_source(draft.file, PartRole.MAIN), *(_source(file, PartRole.ATTACHMENT) for file in draft.attachments))
    agency = config.agency_of(document.sender.code)
    assert agency is not None, "_document chose a configured agency"
    origin = Origin(connection=agency.office, source_id=f"cli-{secrets.token_hex(8)}", actor="cli")
    with open_adapter(config) as adapter:
        row = submit(adapter, origin, document, files)
        with adapter.store.read() as reader:
            view = document_view(reader, row)
            refusal = _refusal(reader, row, lang)
    if json_out:
        print_json(view)
    elif row.state == "refused":
        typer.echo(f"lienthong: {refusal}", err=True)
        typer.echo(row.id)
    else:
        typer.echo(f"{row.id}  {row.code} -> {', '.join(draft.to)}")
    return 1 if row.state == "refused" else 0


def _refusal(reader: Reader, row: MessageRow, lang: str) -> str:
    """Why the rules refused it, in the reader's language; empty when they did not."""
    details = [event["detail"] for event in reader.events(row.id) if event["kind"] == "refused"]
    return next((str(detail.get(lang, row.reason_text)) for detail in details), "")


def _document(config: Config, draft: Draft) -> Document:
    agency = config.agency_of(draft.sender) if draft.sender else config.agency[0]
    if agency is None or (not draft.sender and len(config.agency) > 1):
        raise ContentError("rules.not-our-agency", where="--from", code=draft.sender or "?")
    priority = PRIORITIES.get(draft.priority)
    if priority is None:
        raise _value("send", "--priority", draft.priority, f"one of {', '.join(PRIORITIES)}")
    issued = _date(draft.date)
    code = f"{draft.number}/{draft.notation}"
    return Document(
        sender=agency.organization(),
        recipients=tuple(Organization(code=code) for code in draft.to),
        document_id=document_id(agency.code, issued, code),
        number=draft.number,
        notation=draft.notation,
        promulgated=issued,
        type_name=draft.type_name,
        subject=draft.subject,
        priority=priority,
        secrecy=draft.secrecy,
    )


def _date(text: str) -> date:
    if not text:
        return datetime.now(VIETNAM).date()
    try:
        return date.fromisoformat(text)
    except ValueError as problem:
        raise _value("send", "--date", text, "YYYY-MM-DD") from problem


def _value(command: str, option: str, value: str, reason: str) -> ContentError:
    return ContentError("cli.value", command=command, option=option, value=value, reason=reason)


def _source(file: Path, role: PartRole) -> FileSource:
    if not file.is_file():
        raise _value("send", "FILE" if role is PartRole.MAIN else "--attach", str(file), "no such file")

    def save(sink: BinaryIO) -> None:
        with file.open("rb") as source:
            shutil.copyfileobj(source, sink, 256 * 1024)

    kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
    return FileSource(role=role, name=file.name, media_type=kind, save=save)


def show_list(config_file: Path, *, direction: str, state: str, kind: str, limit: int, json_out: bool) -> None:
    conditions = []
    if direction != "all":
        conditions.append(message.c.direction == direction)
    if kind != "all":
        conditions.append(message.c.kind == kind)
    if state:
        conditions.append(message.c.state == state)
    store = _store(load(config_file))
    with store.read() as reader:
        views = [document_view(reader, row) for row in reader.messages(*conditions, limit=limit, newest=True)]
    store.close()
    if json_out:
        print_json(views)
        return
    rows = [_list_row(view) for view in views]
    print_table(("id", "", "số, ký hiệu", "trích yếu", "bên kia", "tình trạng"), rows)


def _list_row(view: dict[str, object]) -> tuple[object, ...]:
    arrow = "→" if view["direction"] == "out" else "←"
    deliveries = view["deliveries"]
    assert isinstance(deliveries, list), "document_view lists deliveries"
    if view["direction"] == "out":
        other = ", ".join(f"{d['recipient']}:{d['last_status'] or d['state']}" for d in deliveries)
    else:
        other = str(view["peer"])
    return view["id"], arrow, view["code"], str(view["subject"])[:60], other, view["overall"]


def show_trace(config_file: Path, reference: str, *, json_out: bool, lang: str) -> int:
    store = _store(load(config_file))
    with store.read() as reader:
        view = trace_view(reader, _find(reader, reference))
    store.close()
    if json_out:
        print_json(view)
        return 0
    summary = view["message"]
    typer.echo(f"{summary['id']}  {summary['code']}  {summary['subject']}  [{summary['state']}]")
    for event in view["events"]:
        typer.echo(f"{event['at']}  {event['kind']:24} {event['actor']}  {_short(event['detail'], lang)}")
        for exchange in event["exchanges"]:
            typer.echo(
                f"{'':27}⇄ {exchange['method']} {exchange['url']} → {exchange['status'] or exchange['error']} "
                f"({exchange['request_bytes']} B ↑ {exchange['answer_bytes']} B ↓ {exchange['milliseconds']} ms) "
                f"{_short(exchange['answer'], lang)}"
            )
    return 0


def _short(detail: object, lang: str) -> str:
    if not isinstance(detail, dict) or not detail:
        return ""
    if lang in detail:
        return str(detail[lang])
    return ", ".join(f"{key}={value}" for key, value in detail.items() if key not in ("vi", "en"))


def recall_document(config_file: Path, reference: str, *, reason: str, form: str, json_out: bool, lang: str) -> int:
    if form not in ("status", "document"):
        raise _value("recall", "--as", form, "status or document")
    chosen: Form = "document" if form == "document" else "status"
    with open_adapter(load(config_file)) as adapter:
        with adapter.store.read() as reader:
            sent = _find(reader, reference, direction="out")
        key = secrets.token_hex(8)
        rows = request_recall(adapter, sent, reason=reason, form=chosen, key=key, actor="cli")
    return _report(rows, json_out=json_out)


def report_status(
    config_file: Path, reference: str, code: str, *, description: str, staff: str, json_out: bool, lang: str
) -> int:
    from lienthong import Staff

    if code not in {known.value for known in StatusCode}:
        raise _value("status", "CODE", code, "one of 02..06, 15, 16")
    with open_adapter(load(config_file)) as adapter:
        with adapter.store.read() as reader:
            received = _find(reader, reference, direction="in")
        report = StatusReport(
            sender=adapter.agency(received.agency).organization(),
            about=DocumentReference(organ=received.peer, document_id=received.id),
            code=StatusCode(code),
            at=adapter.now(),
            description=description,
            staff=Staff(name=staff),
        )
        origin = Origin(connection=_office(adapter, received), source_id=f"cli-{secrets.token_hex(8)}", actor="cli")
        row = submit_status(adapter, origin, report)
    return _report([row], json_out=json_out)


def _office(adapter: Adapter, row: MessageRow) -> str:
    return adapter.agency(row.agency).office


def _report(rows: Sequence[MessageRow], *, json_out: bool) -> int:
    if json_out:
        print_json([message_summary(row) for row in rows])
    else:
        for row in rows:
            typer.echo(f"{row.id}  {row.status or row.code}  {row.reason_text or row.state}")
    return 1 if any(row.state == "refused" for row in rows) else 0


def show_agencies(config_file: Path, query: str, *, json_out: bool) -> int:
    config = load(config_file)
    store = _store(config)
    with store.read() as reader:
        known = {code: a for axis in {a.axis for a in config.agency} for code, a in reader.agencies(axis).items()}
    store.close()
    wanted = [
        a for code, a in sorted(known.items()) if query.lower() in code.lower() or query.lower() in a.name.lower()
    ]
    if json_out:
        print_json([{"code": agency.code, "name": agency.name} for agency in wanted])
    else:
        print_table(("mã", "tên"), [(agency.code, agency.name) for agency in wanted])
    return 0 if wanted else 1


def _store(config: Config) -> Store:
    return Store(config.path(config.adapter.data))


def _find(reader: Reader, reference: str, direction: str = "") -> MessageRow:
    """By our id, the DocumentId, or number/notation; the newest that fits."""
    for column in (message.c.id, message.c.document_id, message.c.code):
        conditions = [column == reference] + ([message.c.direction == direction] if direction else [])
        rows = reader.messages(*conditions, message.c.kind == "edoc", limit=1) or reader.messages(*conditions, limit=1)
        if rows:
            return rows[0]
    raise Refused("cli.not-found", where=reference, reference=reference)
