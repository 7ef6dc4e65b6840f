"""``edxml inspect``, ``validate``, ``extract``, ``diff`` and ``profiles``: looking at packets without the adapter."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import typer

from lienthong.cli import packet_pages as pages
from lienthong.cli.files import put_new, reading, working_folder
from lienthong.cli.printing import print_json, print_table
from lienthong.edxml.attachments import PartFile, storage_errors
from lienthong.edxml.differences import differences
from lienthong.edxml.inspecting import Checks, View, inspected, unopened
from lienthong.edxml.profile import PacketProfile, Severity, load_profile, profile_names
from lienthong.edxml.reader import Packet, open_packet
from lienthong.edxml.rules import RULES, Judged, Problem, asked_by, check_packet, problem_of, severity_of
from lienthong.edxml.rules.pdf_facts import main_pdf_facts
from lienthong.edxml.signature.envelope import EnvelopeFinding, verify_envelope
from lienthong.errors import ContentError, Language

_SIGNATURE_AT = "edXML/edXMLEnvelope/edXMLHeader/Signature"
_TROUBLE = 2
"""``diff`` has 1 for different packets, so what cannot be compared has the next code, as diff(1) has it."""


@dataclass(frozen=True, kw_only=True)
class Looked:
    """One file, looked at from all sides. ``packet`` is None when ``refusal`` says why it could not be opened."""

    file: Path
    packet: Packet | None
    refusal: ContentError | None
    problems: tuple[Problem, ...]
    envelope: EnvelopeFinding | None = None

    @property
    def errors(self) -> int:
        return sum(problem.severity is Severity.ERROR for problem in self.problems)

    def view(self, language: Language) -> View:
        checks = Checks(problems=self.problems, envelope=self.envelope, language=language)
        if self.packet is not None:
            return inspected(self.packet, checks)
        assert self.refusal is not None, "what was not opened was refused"
        return unopened(self.refusal, checks)


def look_at(file: Path, folder: Path, profile: PacketProfile) -> Looked:
    """Open a packet and judge it; its attachments become files in ``folder``.

    :raises StoreError: a file could not be read or written
    """
    try:
        with storage_errors(str(file)), reading(file) as source:
            packet = open_packet(source, folder)
    except ContentError as refusal:
        return Looked(file=file, packet=None, refusal=refusal, problems=(problem_of(refusal),))
    envelope = verify_envelope(packet, file)
    judged = Judged(now=datetime.now(UTC), profile=profile, main_pdf=main_pdf_facts(packet))
    problems = (*check_packet(packet, judged), *_about_envelope(envelope))
    return Looked(file=file, packet=packet, refusal=None, problems=problems, envelope=envelope)


def _about_envelope(finding: EnvelopeFinding | None) -> tuple[Problem, ...]:
    """A signature that does not hold is an error; the dummies that most packets carry are none, and only shown."""
    if finding is None or finding.verdict not in ("broken", "undecided"):
        return ()
    severity = Severity.ERROR if finding.verdict == "broken" else Severity.WARNING
    said = {language: pages.about_signature(finding, language) for language in pages.LANGUAGES}
    return (Problem(rule="envelope", severity=severity, where=_SIGNATURE_AT, vi=said["vi"], en=said["en"]),)


# --- inspect ----------------------------------------------------------------------------------------------------------


def inspect_packet(file: Path, *, profile: str, work: Path | None, json_out: bool, lang: str) -> int:
    language = pages.language(lang)
    with working_folder(work) as folder:
        looked = look_at(file, folder, load_profile(profile))
    view = _about_file(file, profile) | looked.view(language)
    if json_out:
        print_json(view)
    elif looked.refusal is not None:
        raise looked.refusal
    else:
        pages.show_packet(view, language)
    return 0 if looked.packet is not None else 1


def _about_file(file: Path, profile: str) -> View:
    with storage_errors(str(file)), file.open("rb") as source:
        digest = hashlib.file_digest(source, "sha256").hexdigest()
        return {"file": str(file), "size": file.stat().st_size, "sha256": digest, "profile": profile}


# --- validate ---------------------------------------------------------------------------------------------------------


def validate_packets(files: Sequence[Path], *, profile: str, work: Path | None, json_out: bool, lang: str) -> int:
    language, chosen = pages.language(lang), load_profile(profile)
    views = []
    errors = 0
    for file in files:
        with working_folder(work) as folder:
            looked = look_at(file, folder, chosen)
        errors += looked.errors
        view = looked.view(language)
        views.append({"file": str(file), "kind": view["kind"], "usable": view["usable"], "problems": view["problems"]})
        if not json_out:
            pages.show_problems(str(file), view["problems"], language)
    warnings = sum(len(view["problems"]) for view in views) - errors
    if json_out:
        print_json({"profile": profile, "errors": errors, "warnings": warnings, "files": views})
    else:
        pages.show_verdict(len(files), errors, warnings, profile, language)
    return 1 if errors else 0


def show_profiles(*, json_out: bool) -> int:
    profiles = [load_profile(name) for name in profile_names()]
    if json_out:
        print_json([{"name": profile.name, "title": profile.title} for profile in profiles])
    else:
        print_table(("profile", ""), [(profile.name, profile.title) for profile in profiles])
    return 0


def show_rules(*, profile: str, json_out: bool, lang: str) -> int:
    language, chosen = pages.language(lang), load_profile(profile)
    rows = [(rule.id, severity_of(rule, chosen).value, *asked_by(rule, language)) for rule in RULES]
    if json_out:
        print_json([dict(zip(("rule", "severity", "asked", "source"), row, strict=True)) for row in rows])
    else:
        print_table(pages.RULE_HEADINGS[language], rows)
    return 0


# --- extract ----------------------------------------------------------------------------------------------------------


def extract_parts(file: Path, target: Path, *, json_out: bool, lang: str) -> int:
    """Write the attachments of a packet into a folder; what is broken is refused, and said."""
    language = pages.language(lang)
    with storage_errors(str(target)):
        target.mkdir(parents=True, exist_ok=True)
    # Inside the target, so that a finished file is renamed and never copied.
    with working_folder(target) as folder:
        with storage_errors(str(file)), reading(file) as source:
            packet = open_packet(source, folder)
        written = [_extracted(part, target) for part in packet.files if part.fault is None]
    refused = [fault for fault in packet.faults if _is_about_files(fault)]
    if json_out:
        print_json({"written": written, "refused": [pages.as_refusal(fault, language) for fault in refused]})
    else:
        for each in written:
            typer.echo(pages.shown(str(each["file"])))
        for fault in refused:
            typer.echo(f"lienthong: {pages.shown(fault.text(language))}", err=True)
    return 1 if refused else 0


def _is_about_files(fault: ContentError) -> bool:
    place = fault.where.lower()
    return "attachmentencoded" in place or "edxmlmanifest" in place


def _extracted(part: PartFile, target: Path) -> dict[str, Any]:
    file = put_new(part.path, target, part.part.name)
    return {"name": part.part.name, "file": str(file), "size": part.part.size, "sha256": part.part.sha256}


# --- diff -------------------------------------------------------------------------------------------------------------


def compare_packets(ours: Path, theirs: Path, *, work: Path | None, json_out: bool, lang: str) -> int:
    language = pages.language(lang)
    try:
        found = differences(_content(ours, work, language), _content(theirs, work, language))
    except ContentError as problem:
        typer.echo(f"lienthong: {pages.shown(problem.text(language))}", err=True)
        return _TROUBLE
    differ = any(difference.level == "meaning" for difference in found)
    if json_out:
        print_json({"same": not differ, "differences": [asdict(difference) for difference in found]})
    else:
        pages.show_differences(found, ours, theirs, language)
    return 1 if differ else 0


def _content(file: Path, work: Path | None, language: Language) -> View:
    with working_folder(work) as folder, storage_errors(str(file)), reading(file) as source:
        packet = open_packet(source, folder)
        return inspected(packet, Checks(envelope=verify_envelope(packet, file), language=language))
