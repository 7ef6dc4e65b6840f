"""What ``lienthong trust ...`` does and shows."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import typer
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from lienthong.cli.printing import print_json, print_table
from lienthong.config import Config, load
from lienthong.errors import ConfigError, Language, LienthongError
from lienthong.model import plain, vietnam_time
from lienthong.signing.verification.anchors import Anchor, anchor_of, anchors_in, concerns, published, short_name
from lienthong.signing.verification.trust import pinned

DONE, REFUSED = 0, 1
_KINDS: dict[Language, tuple[str, str]] = {"vi": ("LƯU Ý", "LỖI"), "en": ("NOTE", "ERROR")}
_LABELS: dict[Language, tuple[str, ...]] = {
    "vi": ("Chủ thể", "Nơi cấp", "Hiệu lực", "SHA-256"),
    "en": ("Subject", "Issuer", "Valid", "SHA-256"),
}
_QUESTIONS: dict[Language, str] = {
    "vi": "Dấu vân tay đúng với bản công bố?",
    "en": "Is the fingerprint the published one?",
}


def show_trust(config_file: Path, *, json_out: bool, lang: str) -> int:
    config = load(config_file)
    rows = [_view(kind, file, anchor) for kind, file, anchor in _configured(config)]
    if json_out:
        print_json(rows)
        return DONE
    headings = ("Loại", "Tên", "Hết hạn", "SHA-256") if lang != "en" else ("Kind", "Name", "Expires", "SHA-256")
    print_table(headings, [(row["kind"], row["name"], row["ends"], row["sha256"]) for row in rows])
    return DONE


def add_trust(config_file: Path, file: Path, *, intermediate: bool, sha256: str, confirmed: bool, lang: str) -> int:
    """Trust one certificate; nothing is changed unless its fingerprint is confirmed."""
    config, language = load(config_file), _language(lang)
    found = anchors_in(file) if not sha256 else tuple(anchor_of(der, file) for der in pinned(file, sha256))
    if len(found) != 1:
        raise ConfigError("cli.trust-several", where=str(file), count=len(found))
    (anchor,) = found
    _introduce(anchor, language)
    if any(known.sha256 == anchor.sha256 for _, _, known in _configured(config)):
        typer.echo(_text("cli.trust-there", language))
        return DONE
    if not anchor.authority or anchor.weakness:
        raise LienthongError("cli.trust-refused", where=str(file), why=anchor.weakness or "basicConstraints: CA=FALSE")
    if not (sha256 or confirmed or _confirmed(language)):
        typer.echo(_text("cli.trust-not-confirmed", language), err=True)
        return REFUSED
    target = _keep(config, anchor)
    _append(config, target, anchor, "intermediate" if intermediate else "root")
    typer.echo(_text("cli.trust-added", language, file=target, config=config.file))
    return DONE


def check_trust(config_file: Path, *, json_out: bool, lang: str) -> int:
    """Everything that is wrong with configured trust, or soon will be."""
    config, language = load(config_file), _language(lang)
    found = concerns(config.trust, config.path, datetime.now(UTC))
    if not config.trust.root:
        typer.echo(_text("trust.no-root", language), err=True)
    if json_out:
        print_json(
            [{"code": each.code, "file": each.file, "detail": each.detail, "error": each.error} for each in found]
        )
    else:
        for each in found:
            facts = {"reason": each.detail, "found": each.detail, "pinned": "", "detail": each.detail}
            text = LienthongError(each.code, where=each.file, **facts).text(language)
            typer.echo(f"{_KINDS[language][each.error]}: {text}")
        if not found and config.trust.root:
            typer.echo(_text("trust.all-good", language))
    return REFUSED if any(each.error for each in found) or not config.trust.root else DONE


def _configured(config: Config) -> Iterator[tuple[str, Path, Anchor]]:
    settings = config.trust
    for kind, entries in (("root", settings.root), ("intermediate", settings.intermediate)):
        for entry in entries:
            path = config.path(entry.file)
            yield from ((kind, path, anchor_of(der, path)) for der in pinned(path, entry.sha256))


def _view(kind: str, file: Path, anchor: Anchor) -> dict[str, Any]:
    known = published(anchor.sha256)
    return {
        "kind": kind,
        "name": short_name(anchor),
        "subject": anchor.subject,
        "issuer": anchor.issuer,
        "begins": vietnam_time(anchor.begins),
        "ends": vietnam_time(anchor.ends),
        "sha256": anchor.sha256,
        "file": str(file),
        "published": known.name if known else "",
    }


def _introduce(anchor: Anchor, language: Language) -> None:
    grouped = " ".join(re.findall("....", anchor.sha256))
    period = f"{vietnam_time(anchor.begins)} – {vietnam_time(anchor.ends)}"
    for label, told in zip(_LABELS[language], (anchor.subject, anchor.issuer, period, grouped), strict=True):
        typer.echo(f"{label}: {told}")
    known = published(anchor.sha256)
    if known is None:
        typer.echo(_text("cli.trust-unpublished", language))
    else:
        typer.echo(_text("cli.trust-published", language, name=known.name, source=known.source))


def _confirmed(language: Language) -> bool:
    """Ask a person; where nobody can answer, the answer is no."""
    if not sys.stdin.isatty():
        return False
    return typer.confirm(_QUESTIONS[language])


def _keep(config: Config, anchor: Anchor) -> Path:
    """The certificate as a file beside the configuration; the path is relative to it."""
    name = re.sub(r"\W+", "-", plain(short_name(anchor))) or "certificate"
    target = Path("trust") / f"{name[:40]}-{anchor.sha256[:8]}.pem"
    config.path(target).parent.mkdir(parents=True, exist_ok=True)
    pem = x509.load_der_x509_certificate(anchor.der).public_bytes(Encoding.PEM)
    config.path(target).write_bytes(pem)
    return target


def _append(config: Config, target: Path, anchor: Anchor, kind: str) -> None:
    """Write the configuration whole, after the new text has been read back.

    :raises ConfigError: the new text would not load; the configuration is as before
    """
    lines = f'\n[[trust.{kind}]]\nfile = "{target.as_posix()}"\nsha256 = "{anchor.sha256}"\n'
    aside = config.file.with_name(f".{config.file.name}.new")
    aside.write_text(config.file.read_text("utf-8").rstrip("\n") + "\n" + lines, "utf-8")
    try:
        aside.chmod(config.file.stat().st_mode & 0o777)
        load(aside)
        aside.replace(config.file)
    finally:
        aside.unlink(missing_ok=True)


def _text(code: str, language: Language, **facts: object) -> str:
    return LienthongError(code, where="", **facts).text(language)


def _language(lang: str) -> Language:
    return "en" if lang == "en" else "vi"
