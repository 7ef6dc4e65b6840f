"""What the packet commands work on in tests: letters, metadata, packets, and a way to run a command."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edxml.builders import Attached, Raw, dated
from typer.testing import CliRunner

from lienthong import LienthongError
from lienthong.cli.edxml import edxml_app
from lienthong.cli.failing import exit_code

SHEET = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1 figures"
META: dict[str, Any] = {
    "from": {"code": "H07.03", "name": "Sở Xây dựng Bến Lức", "address": "1 Đường Sông"},
    "to": [{"code": "H07.11", "name": "UBND xã Tân Trụ"}, {"code": "H07.12", "name": "UBND xã Nhựt Tảo"}],
    "number": "12",
    "notation": "SXD-VP",
    "date": "2025-03-03",
    "place": "Bến Lức",
    "subject": "Về việc kiểm tra cầu treo",
    "signer": {"name": "Lê Văn C", "position": "Giám đốc"},
    "trace": [{"organ": "H07.03", "at": "2025-03-03T08:30:00+07:00"}],
}
STATUS: dict[str, Any] = {
    "from": {"code": "H07.11", "name": "UBND xã Tân Trụ"},
    "about": {
        "organ": "H07.03",
        "code": "12/SXD-VP",
        "date": "2025-03-03",
        "document_id": "H07.03,2025/03/03,12/SXD-VP",
    },
    "status": "03",
    "description": "Đã vào sổ số 118",
    "at": "2025-03-04T01:02:03Z",
    "staff": {"name": "Lê Thị C", "department": "Văn thư"},
}
LEGACY = (
    '<soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/"><soap:Header>'
    '<MessageHeader xmlns="http://www.e-doc.vn/Schema/"/></soap:Header></soap:Envelope>'
)


def attached(number: int, content: bytes | str, name: str) -> Attached:
    return Attached(content=content, content_id=f"cid:{number}", listed_id=f"cid:{number}", name=name, listed_name=name)


LETTER = Raw(
    recipients="<edXML:To><edXML:OrganId>H07.11</edXML:OrganId><edXML:OrganName>UBND xã</edXML:OrganName></edXML:To>",
    document_id="<edXML:DocumentId>H07.03,2025/03/03,12/SXD-VP</edXML:DocumentId>",
    promulgated=dated("2025/03/03"),
    attached=(attached(1, SHEET, "12.doc"),),
)


def letter(**changes: Any) -> Raw:
    """A packet that no rule of the default profile objects to, with some pieces swapped."""
    return replace(LETTER, **changes)


@dataclass(frozen=True)
class Said:
    """What a command answered."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def run(*arguments: object) -> Said:
    """A command as ``main`` runs it: errors of ours become text and an exit code, anything else fails the test."""
    result = CliRunner().invoke(edxml_app, [str(argument) for argument in arguments])
    if isinstance(result.exception, LienthongError):
        return Said(exit_code(result.exception), result.stdout, result.stderr + result.exception.text("en"))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Said(result.exit_code, result.stdout, result.stderr)


@dataclass(frozen=True)
class Desk:
    """A folder with letters, metadata and packets."""

    folder: Path

    def file(self, name: str, content: bytes | str) -> Path:
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def meta(self, values: dict[str, Any] = META, name: str = "meta.json", **changes: Any) -> Path:
        kept = {key: value for key, value in {**values, **changes}.items() if value is not None}
        return self.file(name, json.dumps(kept))

    def raw(self, packet: Raw, name: str = "raw.edxml") -> Path:
        return self.file(name, packet.packet())

    def built(self, name: str = "vb.edxml", values: dict[str, Any] = META, **changes: Any) -> Path:
        letter = [] if "status" in values else [self.file("12.doc", SHEET)]
        said = run("build", self.meta(values, f"{name}.json", **changes), *letter, "-o", self.folder / name)
        assert said.code == 0, said
        return self.folder / name

    def inspected(self, packet: Path) -> Any:
        said = run("inspect", packet, "--json")
        assert said.code == 0, said
        return said.json
