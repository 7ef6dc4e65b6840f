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
import itertools
import json
import mimetypes
import os
import re
import shutil
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
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
    Part,
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
_OUR_FILES = ("van-ban.json", "trang-thai.json")
_NOT_IN_A_NAME = re.compile(r'[\x00-\x1f\x7f\ud800-\udfff/\\<>:"|?*]')
"""Neither here nor on a Windows machine that looks at this folder over the network."""
_LONGEST_NAME = 255


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
Item = TypeVar("Item", DocumentItem, StatusItem)
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
    with _usable(root):
        groups = [files for files in _groups(root / "outbox") if not files[0].name.startswith(".")]
        documents = [item for files in groups for item in _offered(connection, files, _document)]
        drops = [file for file in sorted((root / "status").glob("*.json")) if _is_file(file)]
        statuses = [item for file in drops for item in _offered(connection, [file], _status)]
    return Batch(items=(*documents, *statuses))


@hookimpl
def deliver(connection: Connection, delivery: Delivery) -> Receipt:
    root = _root(connection)
    with _usable(root):
        if isinstance(delivery.message, StatusReport):
            _add_status(root, delivery, delivery.message)
        else:
            _add_document(root, connection.folder / "delivered" / delivery.key, delivery, delivery.message)
    return Receipt(peer_id=delivery.key)


@hookimpl
def acknowledge(connection: Connection, source_id: str, kind: MessageKind, stored: bool, detail: str) -> Literal[True]:
    root = _root(connection)
    with _usable(root):
        # A status that nobody could read has no kind: core acknowledges it as a document.
        was_status = _move_status(root / "status", source_id, "done" if stored else "rejected", detail)
        if not was_status and kind is MessageKind.DOCUMENT:
            _move_document(root, source_id, stored, detail)
    return True


@hookimpl
def probe(connection: Connection) -> Probe:
    root = _root(connection)
    writable = all(os.access(root / name, os.W_OK) for name in _FOLDERS)
    return Probe(usable=writable, detail=f"{root} {'is' if writable else 'is not'} writable", observed=connection.now())


def _root(connection: Connection) -> Path:
    config = connection.config
    assert isinstance(config, FolderConfig), "core validates with the manifest's model"
    with _usable(config.path):
        for name in _FOLDERS:
            (config.path / name).mkdir(parents=True, exist_ok=True)
    return config.path


@contextmanager
def _usable(root: Path) -> Iterator[None]:
    """A full disk or a lost network share is not the document's fault: it is tried again."""
    try:
        yield
    except OSError as problem:
        raise Unavailable("folder.unusable", where=str(root), reason=problem) from problem


def _is_file(path: Path) -> bool:
    """Like ``Path.is_file``, and False too for what cannot be looked at."""
    return os.path.isfile(path)


def _groups(outbox: Path) -> Iterator[list[Path]]:
    """The files of each drop, metadata first; files that no metadata names are drops of their own.

    JSON that other metadata name is an attachment, so metadata that nobody names choose their files first.
    """
    metadata = {file: _named_files(file) for file in sorted(outbox.glob("*.json")) if _is_file(file)}
    named = {name for names in metadata.values() for name in names}
    claimed: set[Path] = set()
    for file in sorted(metadata, key=lambda file: file.name in named):
        if file not in claimed:
            files = [file, *(outbox / name for name in metadata[file])]
            claimed.update(files)
            yield files
    yield from ([file] for file in sorted(outbox.iterdir()) if _is_file(file) and file not in claimed)


def _named_files(metadata: Path) -> list[str]:
    """The files beside the metadata that they name, each once; ``_document`` refuses whatever else they name."""
    try:
        values = json.loads(metadata.read_text("utf-8"))
        named = [values.get("main", ""), *values.get("attachments", [])]
    except (OSError, ValueError, AttributeError, TypeError, RecursionError):
        return []
    names = dict.fromkeys(name for name in named if isinstance(name, str))
    return [name for name in names if _is_file_name(name) and name != metadata.name]


def _is_file_name(name: str) -> bool:
    encoded = name.encode("utf-8", "replace")
    whole = encoded.decode() == name and len(encoded) <= _LONGEST_NAME and "\0" not in name
    return whole and Path(name).name == name and name not in ("", ".", "..")


def _offered(
    connection: Connection, files: list[Path], read: Callable[[Connection, list[Path]], Item]
) -> list[Item | BrokenItem]:
    """One drop as an item, or nothing while it may still become complete. Its trouble is not that of other drops."""
    try:
        try:
            return [read(connection, files)]
        except ContentError as problem:
            waits = not _settled(connection, files) or _is_half_taken(_root(connection), files)
            return [] if waits else [_broken(files, problem)]
    except FileNotFoundError:  # taken away in this moment
        return []
    except OSError as problem:
        return [_unreadable(files[0], problem)]


def _settled(connection: Connection, files: list[Path]) -> bool:
    """Whether the drop has been left alone long enough to say that it will not become complete by itself."""
    config = connection.config
    assert isinstance(config, FolderConfig), "core validates with the manifest's model"
    stats = [file.stat() for file in files if file.exists()]
    # A copy may keep the time of its original; the time of its last change here is its own.
    newest = max((max(stat.st_mtime, stat.st_ctime) for stat in stats), default=0.0)
    return connection.now().timestamp() - newest >= config.settle_seconds


def _document(connection: Connection, files: list[Path]) -> DocumentItem:
    metadata, others = files[0], files[1:]
    if metadata.suffix != ".json":
        raise ContentError("folder.no-metadata", where=metadata.name, name=metadata.name)
    values = _parsed(DocumentMetadata, metadata)
    there = {file.name for file in others if _is_file(file)}
    missing = [name for name in (values.main, *values.attachments) if name and name not in there]
    if missing:
        raise ContentError("folder.file-missing", where=metadata.name, names=", ".join(missing))
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
    with _usable(file), file.open("rb") as source:
        for chunk in read_chunks(source):
            sink.write(chunk)


def _broken(files: list[Path], problem: ContentError) -> BrokenItem:
    there = next((file for file in files if file.exists()), files[0])
    text = problem.text("vi")
    return BrokenItem(
        source_id=_source_id(files), error_code=problem.code, detail=text, save=lambda sink: _copy(there, sink)
    )


def _unreadable(file: Path, problem: OSError) -> BrokenItem:
    """A drop that cannot be read at all: saving it says so at every look, until somebody puts it right."""
    error = Unavailable("folder.unusable", where=str(file), reason=problem)

    def save(_sink: BinaryIO) -> None:
        raise error

    return BrokenItem(source_id=_shown_stem(file), error_code=error.code, detail=error.text("vi"), save=save)


def _source_id(files: list[Path]) -> str:
    """Names this drop: the same name with other bytes or dropped at another time is another item."""
    digest = hashlib.sha256()
    for file in files:
        stat = file.stat() if file.exists() else None
        digest.update(os.fsencode(file.name))
        digest.update(f"|{stat.st_size if stat else 0}|{stat.st_mtime_ns if stat else 0}\n".encode())
    return f"{_shown_stem(files[0])}-{digest.hexdigest()[:12]}"


def _shown_stem(file: Path) -> str:
    """The stem as text: a name that came from an old machine may be no UTF-8."""
    return file.stem.encode("utf-8", "replace").decode()


def _folder_name(source_id: str) -> str:
    return Path(source_id).name


def _wherever_they_are(files: list[Path], kept: Path) -> list[Path]:
    return [file if file.exists() else kept / file.name for file in files]


def _is_half_taken(root: Path, files: list[Path]) -> bool:
    """Whether an acknowledgement was cut off while it moved this drop; it is asked for again and moves the rest."""
    places = (*(root / "sent").iterdir(), *(root / "rejected").iterdir())
    begun = [kept for kept in places if kept.name.startswith(f"{_shown_stem(files[0])}-")]
    return any(_source_id(_wherever_they_are(files, kept)) == kept.name for kept in begun)


def _move_document(root: Path, source_id: str, stored: bool, detail: str) -> None:
    kept = root / ("sent" if stored else "rejected") / _folder_name(source_id)
    taken = root / "sent" / _folder_name(source_id)
    drops = _groups(root / "outbox")
    files = next((files for files in drops if _source_id(_wherever_they_are(files, kept)) == source_id), None)
    if files is not None:
        _move_together(files, kept)
    if not stored:
        place = kept if kept.exists() else taken
        place.mkdir(parents=True, exist_ok=True)
        _write(place / "ly-do.txt", (detail + "\n").encode())


def _move_together(files: list[Path], kept: Path) -> None:
    """Metadata last: as long as it is in the outbox, it names what was moved. What another drop needs stays."""
    kept.mkdir(parents=True, exist_ok=True)
    others = {name for drop in files[0].parent.glob("*.json") if drop not in files for name in _named_files(drop)}
    for file in reversed([file for file in files if file.exists()]):
        take = shutil.copy2 if file.name in others else os.replace
        take(file, kept / file.name)


def _status(connection: Connection, files: list[Path]) -> StatusItem:
    (file,) = files
    drop = _parsed(StatusDrop, file)
    report = StatusReport(
        sender=_sender(connection, drop.sender, file.name),
        about=DocumentReference(organ=drop.to, document_id=drop.document),
        code=drop.code,
        at=connection.now(),
        description=drop.description,
        staff=Staff(name=drop.staff, department=drop.department),
    )
    return StatusItem(source_id=_source_id(files), report=report)


def _move_status(folder: Path, source_id: str, where: str, detail: str) -> bool:
    """Whether the id is that of a status; one that was moved before stays where it is."""
    file = next((file for file in folder.glob("*.json") if _source_id([file]) == source_id), None)
    if file is None:
        before = folder / where / f"{_folder_name(source_id.rpartition('-')[0])}.json"
        return _source_id([before]) == source_id
    if detail:
        _write(folder / where / f"{file.stem}.ly-do.txt", (detail + "\n").encode())
    file.replace(folder / where / file.name)
    return True


def _add_document(root: Path, marker: Path, delivery: Delivery, document: Document) -> None:
    """Put a document into inbox/, once: the marker stays when the clerk files the document away."""
    final = root / "inbox" / delivery.key
    if not final.exists() and not marker.exists():
        _write_document(root, final, delivery, document)
    marker.parent.mkdir(exist_ok=True)
    marker.touch()


def _write_document(root: Path, final: Path, delivery: Delivery, document: Document) -> None:
    aside = root / "inbox" / f".{delivery.key}"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    for part, name in zip(document.parts, _file_names(document.parts), strict=True):
        with delivery.open_part(part) as source, (aside / name).open("xb") as sink:
            shutil.copyfileobj(source, sink, 256 * 1024)
            os.fsync(sink.fileno())
    _write(aside / "van-ban.json", _described(delivery, document))
    aside.rename(final)
    _sync(final.parent)


def _file_names(parts: Sequence[Part]) -> list[str]:
    """A file name for each part. What its sender calls it may be a path, the name of another part or of a file of ours.

    Names that differ in case or in the composition of their letters only are one file on some network shares.
    """
    taken, names = set(_OUR_FILES), list[str]()
    for part in parts:
        name = next(name for name in _candidates(part.name) if _as_compared(name) not in taken)
        taken.add(_as_compared(name))
        names.append(name)
    return names


def _as_compared(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _candidates(name: str) -> Iterator[str]:
    """``a.pdf``, ``a (2).pdf``, ``a (3).pdf`` ..., with nothing in them that a file system refuses."""
    stem, suffix = os.path.splitext(_NOT_IN_A_NAME.sub("_", name).strip(". ") or "tệp")
    if len(suffix.encode()) > 40:
        stem, suffix = stem + suffix, ""
    for number in itertools.count(1):
        tail = f" ({number}){suffix}" if number > 1 else suffix
        yield stem.encode()[: _LONGEST_NAME - len(tail.encode())].decode(errors="ignore") + tail


def _described(delivery: Delivery, document: Document) -> bytes:
    values = {
        "id": delivery.message_id,
        "concerns": delivery.concerns_id,
        "notes": delivery.lines,
        "signatures": [
            {"part": f.part, "verdict": f.verdict, "signers": [s.signer for s in f.signatures]}
            for f in delivery.verification
        ],
        "files": _file_names(document.parts),
        "document": json.loads(_MESSAGE.dump_json(document)),
    }
    return json.dumps(values, ensure_ascii=False, indent=2).encode()


def _add_status(root: Path, delivery: Delivery, report: StatusReport) -> None:
    """Put a status beside the document that it is about; the same delivery twice is one entry."""
    beside = root / "sent" / _folder_name(delivery.concerns_peer_id or "khac")
    received = root / "inbox" / _folder_name(delivery.concerns_peer_id or "khac")
    file = (received if received.exists() else beside) / "trang-thai.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    entries = _entries(file, delivery.key)
    if any(entry.get("key") == delivery.key for entry in entries):
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


def _entries(file: Path, key: str) -> list[dict[str, object]]:
    """The statuses so far. What somebody's editor has spoilt is set aside, so that no status is lost by it."""
    if not file.exists():
        return []
    try:
        entries = json.loads(file.read_text("utf-8"))
    except (ValueError, RecursionError):
        entries = None
    if isinstance(entries, list) and all(isinstance(entry, dict) for entry in entries):
        return entries
    file.replace(file.with_name(f"trang-thai.{key}.hong"))
    return []


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
