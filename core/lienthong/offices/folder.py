"""Plugin ``folder``: an office with no interface at all. Files go in and out of one folder.

::

    outbox/    drop NAME.json (metadata) and the files that it names; the metadata last
    sent/      what the adapter has taken, one folder each, with trang-thai.json: the statuses that came back
    rejected/  what it could not use, with ly-do.txt: why
    inbox/     incoming documents, one folder each: van-ban.json and the files
    status/    drop a status as JSON: {"document": ID, "code": "03", "description": "...", "staff": "..."}

A folder is moved into place whole (written aside, then renamed), so a reader never sees half of one.
"""

from __future__ import annotations

import hashlib
import json
import mimetypes
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from lienthong import (
    Batch,
    BrokenItem,
    Capabilities,
    Connection,
    ContentError,
    Delivery,
    Document,
    DocumentItem,
    DocumentReference,
    FileSource,
    Manifest,
    MessageKind,
    Organization,
    PartRole,
    Probe,
    Receipt,
    Staff,
    StatusCode,
    StatusItem,
    StatusReport,
    Unavailable,
    hookimpl,
    read_chunks,
    vietnam_time,
)
from lienthong.metadata import DocumentMetadata, Strict, as_document

_FOLDERS = ("outbox", "sent", "rejected", "inbox", "status", "status/done", "status/rejected")


class FolderConfig(BaseModel):
    """Keys of a ``folder`` connection."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: Path = Field(description="the drop folder; made when it is not there")
    settle_seconds: float = Field(
        10.0, ge=0, description="how long files may lie in outbox/ without (complete) metadata before they are rejected"
    )


class StatusDrop(Strict):
    """What a file in ``status/`` says. ``document`` is the id in van-ban.json, or the DocumentId."""

    document: str
    code: StatusCode
    description: str = ""
    staff: str = ""
    department: str = ""
    sender: str = Field("", alias="from")
    to: str = Field("", description="for 13 only: the receiver who is asked to give the document back")


Model = TypeVar("Model", bound=BaseModel)
_MESSAGE: TypeAdapter[Document | StatusReport] = TypeAdapter(Document | StatusReport)


@hookimpl
def describe() -> Manifest:
    return Manifest(
        name="folder",
        version="1",
        role="office",
        summary="a drop folder: PDF and metadata in, documents and statuses out",
        config=FolderConfig,
        capabilities=Capabilities(dedup="native", ack="separate"),
        evidence="part of the adapter; tested on a real file system",
    )


@hookimpl
def fetch(connection: Connection, cursor: str | None) -> Batch:
    root = _root(connection)
    documents = _documents(connection, root / "outbox")
    return Batch(items=(*documents, *_statuses(connection, root / "status")))


@hookimpl
def deliver(connection: Connection, delivery: Delivery) -> Receipt:
    root = _root(connection)
    if isinstance(delivery.message, StatusReport):
        _add_status(root, delivery, delivery.message)
        return Receipt(peer_id=delivery.key)
    final = root / "inbox" / delivery.key
    marker = connection.folder / "delivered" / delivery.key
    if not final.exists() and not marker.exists():
        _write_document(root, final, delivery, delivery.message)
    marker.parent.mkdir(exist_ok=True)
    marker.touch()
    return Receipt(peer_id=delivery.key)


@hookimpl
def acknowledge(connection: Connection, source_id: str, kind: MessageKind, stored: bool, detail: str) -> Literal[True]:
    root = _root(connection)
    if kind is MessageKind.STATUS:
        _move_status(root / "status", source_id, "done" if stored else "rejected", detail)
        return True
    kept = root / ("sent" if stored else "rejected") / _folder_name(source_id)
    taken = root / "sent" / _folder_name(source_id)
    files = _drop_of(root / "outbox", source_id)
    if _source_id(_wherever_they_are(files, kept)) == source_id:
        _move_together(files, kept)
    if not stored:
        place = kept if kept.exists() else taken
        place.mkdir(parents=True, exist_ok=True)
        _write(place / "ly-do.txt", (detail + "\n").encode())
    return True


@hookimpl
def probe(connection: Connection) -> Probe:
    root = _root(connection)
    writable = all(os.access(root / name, os.W_OK) for name in _FOLDERS)
    return Probe(usable=writable, detail=f"{root} {'is' if writable else 'is not'} writable", observed=connection.now())


def _root(connection: Connection) -> Path:
    config = connection.config
    assert isinstance(config, FolderConfig), "core validates with the manifest's model"
    try:
        for name in _FOLDERS:
            (config.path / name).mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise Unavailable("folder.unusable", where=str(config.path), reason=problem) from problem
    return config.path


def _groups(outbox: Path) -> Iterator[list[Path]]:
    """The files of each drop, metadata first; files that no metadata names are drops of their own."""
    claimed: set[Path] = set()
    for metadata in sorted(outbox.glob("*.json")):
        names = _named_files(metadata)
        files = [metadata, *(outbox / name for name in names)]
        claimed.update(files)
        yield files
    yield from ([file] for file in sorted(outbox.iterdir()) if file.is_file() and file not in claimed)


def _drop_of(outbox: Path, source_id: str) -> list[Path]:
    """The files that a source id may name: it begins with the name of the drop's first file."""
    stem = source_id.rpartition("-")[0]
    metadata = outbox / f"{stem}.json"
    if metadata.exists():
        return [metadata, *(outbox / name for name in _named_files(metadata))]
    return sorted(file for file in outbox.glob("*") if file.stem == stem)[:1] or [metadata]


def _named_files(metadata: Path) -> list[str]:
    try:
        values = json.loads(metadata.read_text("utf-8"))
        named = [values.get("main", ""), *values.get("attachments", [])]
    except (OSError, ValueError, AttributeError, TypeError):
        return []
    return [name for name in named if isinstance(name, str) and name and Path(name).name == name]


def _documents(connection: Connection, outbox: Path) -> list[DocumentItem | BrokenItem]:
    items: list[DocumentItem | BrokenItem] = []
    for files in _groups(outbox):
        if files[0].name.startswith("."):
            continue
        try:
            items.append(_document(connection, files))
        except ContentError as problem:
            if _settled(connection, files) and not _is_half_taken(outbox.parent, files):
                items.append(_broken(files, problem))
    return items


def _settled(connection: Connection, files: list[Path]) -> bool:
    """Whether the drop has been left alone long enough to say that it will not become complete by itself."""
    config = connection.config
    assert isinstance(config, FolderConfig), "core validates with the manifest's model"
    newest = max((file.stat().st_mtime for file in files if file.exists()), default=0.0)
    return connection.now().timestamp() - newest >= config.settle_seconds


def _document(connection: Connection, files: list[Path]) -> DocumentItem:
    metadata, others = files[0], files[1:]
    if metadata.suffix != ".json":
        raise ContentError("folder.no-metadata", where=metadata.name, name=metadata.name)
    missing = [file.name for file in others if not file.is_file()]
    if missing:
        raise ContentError("folder.file-missing", where=metadata.name, names=", ".join(missing))
    values = _parsed(DocumentMetadata, metadata)
    document = as_document(values, _sender(connection, values.sender, metadata.name))
    sources = tuple(
        _file_source(file, PartRole.MAIN if file.name == values.main else PartRole.ATTACHMENT) for file in others
    )
    return DocumentItem(source_id=_source_id(files), document=document, files=sources)


def _parsed(model: type[Model], file: Path) -> Model:
    try:
        return model.model_validate_json(file.read_bytes())
    except ValidationError as problem:
        first = problem.errors(include_url=False, include_input=False)[0]
        key = ".".join(str(step) for step in first["loc"])
        raise ContentError("folder.metadata", where=f"{file.name}: {key}", reason=first["msg"]) from problem
    except OSError as problem:
        raise Unavailable("folder.unusable", where=str(file), reason=problem) from problem


def _sender(connection: Connection, code: str, where: str) -> Organization:
    ours = connection.agencies
    if not code and len(ours) == 1:
        return ours[0]
    found = next((agency for agency in ours if agency.code == code), None)
    if found is None:
        raise ContentError(
            "folder.from", where=f"{where}: from", code=code or "?", ours=", ".join(a.code for a in ours)
        )
    return found


def _file_source(file: Path, role: PartRole) -> FileSource:
    kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
    return FileSource(role=role, name=file.name, media_type=kind, save=lambda sink: _copy(file, sink))


def _copy(file: Path, sink: BinaryIO) -> None:
    try:
        with file.open("rb") as source:
            for chunk in read_chunks(source):
                sink.write(chunk)
    except FileNotFoundError as problem:
        raise Unavailable("folder.unusable", where=str(file), reason=problem) from problem


def _broken(files: list[Path], problem: ContentError) -> BrokenItem:
    there = next((file for file in files if file.exists()), files[0])
    text = problem.text("vi")
    return BrokenItem(
        source_id=_source_id(files), error_code=problem.code, detail=text, save=lambda sink: _copy(there, sink)
    )


def _source_id(files: list[Path]) -> str:
    """Names this drop: the same name with other bytes or dropped at another time is another item."""
    digest = hashlib.sha256()
    for file in files:
        stat = file.stat() if file.exists() else None
        digest.update(f"{file.name}|{stat.st_size if stat else 0}|{stat.st_mtime_ns if stat else 0}\n".encode())
    return f"{files[0].stem}-{digest.hexdigest()[:12]}"


def _folder_name(source_id: str) -> str:
    return Path(source_id).name


def _wherever_they_are(files: list[Path], kept: Path) -> list[Path]:
    return [file if file.exists() else kept / file.name for file in files]


def _is_half_taken(root: Path, files: list[Path]) -> bool:
    """Whether an acknowledgement was cut off while it moved this drop; it is asked for again and moves the rest."""
    places = (*(root / "sent").iterdir(), *(root / "rejected").iterdir())
    begun = [kept for kept in places if kept.name.startswith(f"{files[0].stem}-")]
    return any(_source_id(_wherever_they_are(files, kept)) == kept.name for kept in begun)


def _move_together(files: list[Path], kept: Path) -> None:
    """Metadata last: as long as it is in the outbox, it names what was moved. What another drop needs stays."""
    kept.mkdir(parents=True, exist_ok=True)
    others = {name for drop in files[0].parent.glob("*.json") if drop != files[0] for name in _named_files(drop)}
    for file in reversed([file for file in files if file.exists()]):
        take = shutil.copy2 if file.name in others else os.replace
        take(file, kept / file.name)


def _statuses(connection: Connection, folder: Path) -> list[StatusItem | BrokenItem]:
    items: list[StatusItem | BrokenItem] = []
    for file in sorted(folder.glob("*.json")):
        try:
            items.append(_status(connection, file))
        except ContentError as problem:
            if _settled(connection, [file]):
                items.append(_broken([file], problem))
    return items


def _status(connection: Connection, file: Path) -> StatusItem:
    drop = _parsed(StatusDrop, file)
    report = StatusReport(
        sender=_sender(connection, drop.sender, file.name),
        about=DocumentReference(organ=drop.to, document_id=drop.document),
        code=drop.code,
        at=connection.now(),
        description=drop.description,
        staff=Staff(name=drop.staff, department=drop.department),
    )
    return StatusItem(source_id=_source_id([file]), report=report)


def _move_status(folder: Path, source_id: str, where: str, detail: str) -> None:
    for file in folder.glob("*.json"):
        if _source_id([file]) == source_id:
            if detail:
                _write(folder / where / f"{file.stem}.ly-do.txt", (detail + "\n").encode())
            file.replace(folder / where / file.name)


def _write_document(root: Path, final: Path, delivery: Delivery, document: Document) -> None:
    aside = root / "inbox" / f".{delivery.key}"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    for part in document.parts:
        with delivery.open_part(part) as source, (aside / part.name).open("xb") as sink:
            shutil.copyfileobj(source, sink, 256 * 1024)
            os.fsync(sink.fileno())
    _write(aside / "van-ban.json", _described(delivery, document))
    aside.rename(final)
    _sync(final.parent)


def _described(delivery: Delivery, document: Document) -> bytes:
    values = {
        "id": delivery.message_id,
        "concerns": delivery.concerns_id,
        "notes": delivery.lines,
        "signatures": [
            {"part": f.part, "verdict": f.verdict, "signers": [s.signer for s in f.signatures]}
            for f in delivery.verification
        ],
        "document": json.loads(_MESSAGE.dump_json(document)),
    }
    return json.dumps(values, ensure_ascii=False, indent=2).encode()


def _add_status(root: Path, delivery: Delivery, report: StatusReport) -> None:
    """Put a status beside the document that it is about; the same delivery twice is one entry."""
    beside = root / "sent" / _folder_name(delivery.concerns_peer_id or "khac")
    received = root / "inbox" / _folder_name(delivery.concerns_peer_id or "khac")
    file = (received if received.exists() else beside) / "trang-thai.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    entries = json.loads(file.read_text("utf-8")) if file.exists() else []
    if any(entry["key"] == delivery.key for entry in entries):
        return
    entry = {
        "key": delivery.key,
        "from": report.sender.code,
        "name": report.sender.name,
        "document_id": report.about.document_id,
        "code": report.code.value,
        "description": report.description,
        "staff": report.staff.name,
        "at": vietnam_time(report.at),
    }
    _write(file, json.dumps([*entries, entry], ensure_ascii=False, indent=2).encode())


def _write(file: Path, content: bytes) -> None:
    aside = file.with_name(f".{file.name}.tmp")
    with aside.open("wb") as sink:
        sink.write(content)
        sink.flush()
        os.fsync(sink.fileno())
    aside.replace(file)
    _sync(file.parent)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
