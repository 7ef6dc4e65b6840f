"""What ``lienthong verify`` does and shows."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lienthong.cli.printing import print_json
from lienthong.config import Config, load
from lienthong.edxml import open_packet
from lienthong.errors import Language
from lienthong.model import VIETNAM, FileVerification, SignatureFinding, Verdict, vietnam_time
from lienthong.pipeline.proving import open_proving
from lienthong.rules.legal import legal_value, missing_party
from lienthong.signing.verification.confinement import ConfinedReading
from lienthong.signing.verification.trust import configured_trust
from lienthong.signing.verification.verify import explain, verify_pdf
from lienthong.views import signature_view

VALID, INVALID, UNDECIDED = 0, 1, 2
_EXITS = {Verdict.VALID: VALID, Verdict.UNTRUSTED: UNDECIDED, Verdict.INVALID: INVALID, Verdict.UNSIGNED: INVALID}
_WIDE = 200
_SEVERITY = (VALID, UNDECIDED, INVALID)
_STYLES = {Verdict.VALID: "green", Verdict.UNTRUSTED: "yellow", Verdict.INVALID: "bold red", Verdict.UNSIGNED: "yellow"}
_WORDS: dict[Language, dict[str, str]] = {
    "en": {
        "valid": "VALID", "invalid": "INVALID", "untrusted": "UNDECIDED", "unsigned": "NOT SIGNED",
        "signature": "Signature", "timestamp": "Document timestamp", "signer": "Signer", "organization": "Organisation",
        "identifiers": "Numbers", "time": "Time", "level": "Level", "chain": "Chain", "revocation": "Revocation",
        "document": "Document", "algorithms": "Algorithms", "reason": "Reason", "note": "Note",
        "person": "a person", "organization-party": "an organisation", "unknown-party": "person or agency unclear",
        "signature-timestamp": "proven by a timestamp", "document-timestamp": "proven by a later document timestamp",
        "stated": "stated by the signer only", "none": "not stated",
        "good": "not revoked", "revoked": "revoked", "unknown": "unknown", "not-offered": "nobody to ask",
        "not-checked": "not checked", "file": "covers the whole file", "revision": "covers its revision",
        "partial": "covers only a part", "changes-none": "no changes", "changes-permitted": "then permitted changes",
        "changes-forbidden": "changed afterwards",
    },
    "vi": {
        "valid": "HỢP LỆ", "invalid": "KHÔNG HỢP LỆ", "untrusted": "CHƯA KẾT LUẬN ĐƯỢC", "unsigned": "KHÔNG KÝ SỐ",
        "signature": "Chữ ký số", "timestamp": "Dấu thời gian của tệp", "signer": "Người ký", "organization": "Tổ chức",
        "identifiers": "Mã số", "time": "Thời điểm ký", "level": "Mức", "chain": "Chuỗi chứng thư",
        "revocation": "Thu hồi", "document": "Văn bản", "algorithms": "Thuật toán", "reason": "Lý do", "note": "Lưu ý",
        "person": "cá nhân", "organization-party": "cơ quan, tổ chức", "unknown-party": "chưa rõ cá nhân hay tổ chức",
        "signature-timestamp": "có dấu thời gian", "document-timestamp": "có dấu thời gian của tệp về sau",
        "stated": "chỉ do người ký tự ghi", "none": "không ghi",
        "good": "không bị thu hồi", "revoked": "đã bị thu hồi", "unknown": "chưa rõ", "not-offered": "không có nơi hỏi",
        "not-checked": "không kiểm tra", "file": "bảo vệ toàn bộ tệp", "revision": "bảo vệ phiên bản đã ký",
        "partial": "chỉ bảo vệ một phần", "changes-none": "không có thay đổi về sau",
        "changes-permitted": "có thay đổi được phép về sau", "changes-forbidden": "bị thay đổi về sau",
    },
}  # fmt: skip


def verify_files(config_file: Path, files: Sequence[Path], *, at: str, offline: bool, json_out: bool, lang: str) -> int:
    """Judge and show; the exit code of the worst file."""
    moment = _moment(at)
    config = load(config_file)
    found = list(_verified(config, files, moment, offline=offline))
    if json_out:
        print_json([{"file": name, **_json_view(verification)} for name, verification in found])
    else:
        console = Console(highlight=False, width=None if sys.stdout.isatty() else _WIDE)
        for name, verification in found:
            _show(console, name, verification, "en" if lang == "en" else "vi")
    return max((_EXITS[verification.verdict] for _, verification in found), key=_SEVERITY.index, default=VALID)


def _moment(at: str) -> datetime:
    if not at:
        return datetime.now(UTC)
    try:
        moment = datetime.fromisoformat(at)
    except ValueError as problem:
        raise typer.BadParameter(f"{at!r} is no ISO 8601 time, e.g. 2026-11-20T09:30+07:00") from problem
    return moment if moment.tzinfo else moment.replace(tzinfo=VIETNAM)


def _verified(
    config: Config, files: Sequence[Path], at: datetime, *, offline: bool
) -> Iterator[tuple[str, FileVerification]]:
    """The verdicts over PDFs, and over the files in packets."""
    trust = configured_trust(config.trust, config.path)
    folder = config.path(config.adapter.data) / "revocation"
    with contextlib.ExitStack() as stack:
        proving = stack.enter_context(
            contextlib.closing(open_proving(config.signing, folder, trust, lambda: datetime.now(UTC)))
        )
        reading = stack.enter_context(contextlib.closing(ConfinedReading()))
        for file in files:
            parts = _parts(file, stack)
            for name, path in parts:
                found = verify_pdf(
                    path,
                    name,
                    trust,
                    at=at,
                    revocation=None if offline else proving.revocation,
                    policy=config.trust.revocation,
                    read=reading,
                )
                yield (str(file) if path == file else f"{file}: {name}"), found
            if not parts:  # a packet that carries no file proves nothing
                yield str(file), FileVerification(part=file.name, verdict=Verdict.UNSIGNED)


def _parts(file: Path, stack: contextlib.ExitStack) -> list[tuple[str, Path]]:
    """The files to judge, each with its own name: those in a packet, or the file itself."""
    if file.suffix.lower() not in (".edxml", ".xml"):
        return [(file.name, file)]
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix=".lienthong-"))
    source = stack.enter_context(file.open("rb"))
    return [(part.part.name, part.path) for part in open_packet(source, Path(folder)).files]


def _json_view(verification: FileVerification) -> dict[str, Any]:
    view = signature_view(verification)
    for found, shown in zip(verification.signatures, view["signatures"], strict=True):
        codes = (*found.reasons, *found.notes)
        shown["explained"] = {code: {"vi": explain(code, "vi"), "en": explain(code, "en")} for code in codes}
    return view


def _show(console: Console, name: str, verification: FileVerification, lang: Language) -> None:
    words = _WORDS[lang]
    verdict = Text(words[verification.verdict.value], style=_STYLES[verification.verdict])
    console.print(Text.assemble((name, "bold"), ": ", verdict))
    value = legal_value(verification.verdict)
    console.print(Text(f"  {value.text_en if lang == 'en' else value.text_vi}"))
    if missing := missing_party(verification):
        console.print(Text(f"  {missing}"))
    for number, found in enumerate(verification.signatures, start=1):
        kind = words["timestamp" if found.timestamp else "signature"]
        title = Text.assemble(f"  {number}. {kind}: ", (words[found.verdict.value], _STYLES[found.verdict]))
        console.print(title)
        table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 1))
        for label, told in _rows(found, words, lang):
            table.add_row("    " + label, Text(told))
        console.print(table)


def _rows(found: SignatureFinding, words: dict[str, str], lang: Language) -> Iterator[tuple[str, str]]:
    party = {"organization": "organization-party", "unknown": "unknown-party"}.get(found.party.value, "person")
    if found.signer:
        yield words["signer"], found.signer if found.timestamp else f"{found.signer} ({words[party]})"
    if found.organization and found.organization != found.signer:
        yield words["organization"], found.organization
    if found.identifiers:
        yield words["identifiers"], ", ".join(found.identifiers)
    if found.signed_at:
        yield words["time"], f"{vietnam_time(found.signed_at)} ({words[found.time_source.value]})"
    if found.level or found.format:
        yield words["level"], " ".join(filter(None, [found.level.value if found.level else "", f"[{found.format}]"]))
    if found.chain:
        yield words["chain"], " < ".join(found.chain)
    if found.chain:
        since = f", {vietnam_time(found.revoked_at)}" if found.revoked_at else ""
        by = f" ({found.revocation_by}{since})" if found.revocation_by else ""
        yield words["revocation"], words[found.revocation.value] + by
    if found.coverage:
        yield words["document"], f"{words[found.coverage]}, {words[f'changes-{found.changes}']}"
    if found.algorithms:
        yield words["algorithms"], " ".join(found.algorithms)
    for kind, codes in (("reason", found.reasons), ("note", found.notes)):
        for code in codes:
            yield words[kind], explain(code, lang)
