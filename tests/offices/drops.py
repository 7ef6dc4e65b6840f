"""Dropping files as a clerk does, and looking at what the folder then holds."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

from lienthong import Connection, Document, DocumentItem, MessageKind, Organization
from lienthong.offices import folder
from lienthong.offices.folder import FolderConfig

OURS = Organization(code="H53.01", name="UBND huyện An Lạc")
METADATA = {
    "to": ["H53.02", "H53.03"],
    "number": "15",
    "notation": "UBND-VP",
    "date": "2026-03-02",
    "subject": "Về việc báo cáo",
    "main": "15.pdf",
    "attachments": ["phụ lục 1.xlsx", "2.pdf"],
}


def connection_of(tmp_path: Path, clock: Any, *agencies: Organization) -> Connection:
    place = tmp_path / "connections" / "drop"
    place.mkdir(parents=True, exist_ok=True)
    config = FolderConfig(path=tmp_path / "office", settle_seconds=10)
    return Connection(name="drop", agencies=agencies, config=config, http=None, folder=place, now=clock)


def root(office: Connection) -> Path:
    return office.config.path


def drop(office: Connection, name: str = "15", files: dict[str, bytes] | None = None, **changes: Any) -> None:
    """Drops metadata and the files that it names, as a clerk would: the metadata last."""
    values = {**METADATA, **changes}
    content = {file: b"%PDF-" for file in (values["main"], *values["attachments"]) if file}
    for file, data in (content if files is None else files).items():
        (root(office) / "outbox" / file).write_bytes(data)
    text = json.dumps({key: value for key, value in values.items() if value is not None}, ensure_ascii=False)
    (root(office) / "outbox" / f"{name}.json").write_text(text, "utf-8")


def offered(office: Connection) -> list[Any]:
    return list(folder.fetch(office, None).items)


def document_of(office: Connection) -> Document:
    (item,) = offered(office)
    assert isinstance(item, DocumentItem)
    return item.document


def acknowledge(
    office: Connection, item: Any, stored: bool = True, detail: str = "", kind: MessageKind = MessageKind.DOCUMENT
) -> None:
    assert folder.acknowledge(office, item.source_id, kind, stored, detail) is True


def names(office: Connection, where: str) -> list[str]:
    """Every file below a folder of the office, by its path there."""
    place = root(office) / where
    return sorted(str(path.relative_to(place)) for path in place.rglob("*") if path.is_file())


def saved(source: Any) -> bytes:
    sink = io.BytesIO()
    source.save(sink)
    return sink.getvalue()
