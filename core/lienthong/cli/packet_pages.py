"""What the packet commands show to people. Everything from a packet is shown as text: no markup, no control characters,
nothing that turns the reading direction."""

from __future__ import annotations

import json
import tomllib
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from lienthong.edxml.differences import Difference
from lienthong.edxml.inspecting import View
from lienthong.edxml.signature.envelope import EnvelopeFinding
from lienthong.edxml.tables import code_name
from lienthong.errors import ContentError, Language, catalogue

LANGUAGES: tuple[Language, ...] = ("vi", "en")
RULE_HEADINGS = {"vi": ("quy tắc", "mức", "yêu cầu", "căn cứ"), "en": ("rule", "severity", "asks", "source")}
Row = tuple[str, str]

_WIDE = 160
_LONGEST_VALUE = 1000
_COMMON_PLACE = "edXML/edXMLEnvelope/edXMLHeader/"
_HIDDEN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


def language(chosen: str) -> Language:
    return "en" if chosen == "en" else "vi"


def shown(text: str) -> str:
    """Text as a terminal may show it: what is invisible or steers the terminal stands as its code."""
    return "".join(
        f"\\u{ord(letter):04x}" if unicodedata.category(letter) in _HIDDEN and letter not in "\n\t" else letter
        for letter in text
    )


@cache
def _words() -> dict[str, dict[str, dict[Language, str]]]:
    return tomllib.loads(files("lienthong.cli").joinpath("packet_words.toml").read_text("utf-8"))


class Words:
    """The words of one language."""

    def __init__(self, language: Language) -> None:
        self.language: Language = language

    def __call__(self, name: str, group: str = "label", /, **facts: object) -> str:
        entry = _words()[group].get(name)
        return entry[self.language].format(**facts) if entry is not None else ""

    def day(self, iso: str | None) -> str:
        if not iso:
            return ""
        return iso if self.language == "en" else f"{date.fromisoformat(iso):%d/%m/%Y}"

    def time(self, iso: str | None) -> str:
        if not iso:
            return ""
        moment = datetime.fromisoformat(iso)
        return f"{moment:%Y-%m-%d %H:%M:%S}" if self.language == "en" else f"{moment:%d/%m/%Y %H:%M:%S}"


# --- inspect ----------------------------------------------------------------------------------------------------------


def show_packet(view: View, language: Language) -> None:
    """A packet for a clerk: what it says, its files, what is unusual about it, what is wrong with it."""
    words, console = Words(language), _console()
    console.print(Text(shown(f"{view['file']}  {decimal(view['size'])}  sha256 {view['sha256'][:16]}…"), style="dim"))
    console.print(Text(_title(view, words), style="bold"))
    rows = _status_rows(view, words) if view["kind"] == "status" else _document_rows(view, words)
    _print_rows(console, [*rows, *_common_rows(view, words)])
    if view["parts"]:
        console.print(Text(f"\n{words('parts')} ({len(view['parts'])})", style="bold"))
        _print_parts(console, view["parts"], words)
    if view["quirks"]:
        console.print(Text(f"\n{words('quirks')} ({len(view['quirks'])})", style="bold"))
        _print_quirks(console, view["quirks"], words)
    console.print(Text(f"\n{words('problems')} ({view['profile']})", style="bold"))
    _print_problems(console, view["problems"], words)
    _print_usability(console, view, words)


def _title(view: View, words: Words) -> str:
    if view["kind"] == "status":
        code = (view["status"] or {}).get("code") or "?"
        return shown(f"{words('status')}: {code} {(view['status'] or {}).get('name') or ''}".strip())
    if view["kind"] == "document":
        return f"{words('document')}: {words(view['business'] or 'unknown', 'business')}"
    return words("neither")


def _document_rows(view: View, words: Words) -> Iterator[Row]:
    code, issued = view["code"] or {}, view["promulgation"] or {}
    yield words("from"), _agency(view["from"])
    yield words("to"), "\n".join(map(_agency, view["to"]))
    yield words("code"), "/".join(filter(None, (code.get("number"), code.get("notation"))))
    yield words("promulgation"), _joined(issued.get("place"), words.day(issued.get("date")), sep=", ")
    yield words("type"), _joined(view["type"], f"(Type {view['type_code']}, TypeDetail {view['type_detail']})")
    yield words("subject"), view["subject"] or ""
    if view["content"] and view["content"] != view["subject"]:
        yield words("content"), view["content"]
    yield words("document_id"), view["document_id"] or ""
    signer = view["signer"] or {}
    yield words("signer"), _joined(signer.get("competence"), signer.get("position"), signer.get("full_name"), sep=" - ")
    yield words("priority"), _named("priority", view["priority"])
    yield from _more_rows(view, words)
    yield from _change_rows(view["change"], words)
    yield (
        words("trace"),
        "\n".join(f"{words.time(hop['timestamp'])}  {hop['organ_id'] or '?'}" for hop in view["trace"]),
    )


def _more_rows(view: View, words: Words) -> Iterator[Row]:
    """What many documents do not have."""
    extent = [words(name, count=view[name]) for name in ("pages", "copies") if view[name] is not None]
    optional = (
        ("due", words.day(view["due"])),
        ("extent", ", ".join(extent)),
        ("paper", words("paper_follows") if view["paper"] else ""),
        ("steering", _named("steering", view["steering"]) if view["steering"] else ""),
        ("sphere", view["sphere"]),
        ("typer_notation", view["typer_notation"]),
        ("to_places", "\n".join(view["to_places"])),
        ("appendixes", "\n".join(view["appendixes"])),
        ("response_for", "\n".join(_reference(reference, words) for reference in view["response_for"])),
    )
    yield from ((words(name), value) for name, value in optional if value)


def _change_rows(change: View | None, words: Words) -> Iterator[Row]:
    if change is None:
        return
    what = [words(name) for name in ("content_changed", "receivers_changed") if change[name]]
    receivers = [words(_RECEIVER[receiver["added"]], organ=receiver["organ_id"]) for receiver in change["receivers"]]
    replaced = [_joined(old["document_id"], ", ".join(old["organ_ids"]), sep=" → ") for old in change["replaces"]]
    optional = (
        ("reason", change["reason"]),
        ("concerns", change["document_id"]),
        ("changed", "\n".join((*filter(None, (", ".join(what),)), *receivers))),
        ("replaces", "\n".join(replaced)),
        ("staff", "\n".join(map(_person, change["staff"]))),
    )
    yield from ((words(name), value) for name, value in optional if value)


_RECEIVER = {True: "receiver_added", False: "receiver_removed", None: "receiver_unclear"}


def _status_rows(view: View, words: Words) -> Iterator[Row]:
    status = view["status"] or {}
    yield words("from"), _agency(view["from"])
    yield words("to"), "\n".join(map(_agency, view["to"]))
    yield words("state"), _joined(status.get("code"), status.get("name"))
    yield words("about"), "\n".join(_reference(reference, words) for reference in view["response_for"])
    yield words("timestamp"), words.time(status.get("timestamp"))
    yield words("description"), status.get("description") or ""
    if status.get("staff"):
        yield words("staff"), _person(status["staff"])


def _common_rows(view: View, words: Words) -> Iterator[Row]:
    if view["foreign"]:
        yield words("foreign"), "\n".join(_joined(each["name"], each["text"], sep=": ") for each in view["foreign"])
    yield words("envelope"), _signature(view["envelope_signature"], words)


def _agency(agency: View | None) -> str:
    return _joined(agency["organ_id"] or "?", agency["name"], sep="  ") if agency else ""


def _person(person: View) -> str:
    return _joined(*(person[name] for name in ("name", "department", "email", "mobile")), sep=", ")


def _reference(reference: View, words: Words) -> str:
    when = words.day(reference["date"])
    return _joined(reference["code"], when, reference["organ_id"], reference["document_id"], sep="  ")


def _named(code_list: Any, value: int) -> str:
    return _joined(code_name(code_list, value), f"({value})")


def _joined(*texts: str | None, sep: str = " ") -> str:
    return sep.join(text for text in texts if text)


def _print_rows(console: Console, rows: Iterable[Row]) -> None:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, style="cyan")
    table.add_column(overflow="fold")
    for label, value in rows:
        table.add_row(Text(label), _cell(value or "-"))
    console.print(table)


def _print_parts(console: Console, parts: Sequence[View], words: Words) -> None:
    headings = ("", words("part_name"), words("part_type"), words("part_size"), "sha256", words("part_note"))
    rows = (
        (
            str(number),
            part["name"],
            part["detected_type"],
            decimal(part["size"]),
            part["sha256"][:12],
            _note(part, words),
        )
        for number, part in enumerate(parts, 1)
    )
    _print_table(console, headings, rows)


def _note(part: View, words: Words) -> str:
    notes = []
    if part["fault"] is not None:
        notes.append(words("broken"))
    if part["role"] == "main":
        notes.append(words("main"))
    if part["declared_type"] not in (None, part["detected_type"]):
        notes.append(words("declared", type=part["declared_type"]))
    if part["unzipped"]:
        notes.append(words("entry", name=part["entry_name"]) if part["entry_name"] else words("unzipped"))
    return ", ".join(notes)


def _print_quirks(console: Console, quirks: Sequence[View], words: Words) -> None:
    """Each kind once, with every place and what stands there."""
    kinds: dict[str, list[str]] = {}
    for quirk in quirks:
        place = quirk["where"].removeprefix(_COMMON_PLACE)
        kinds.setdefault(quirk["id"], []).append(_joined(place, quirk["detail"], sep=" = "))
    rows = ((kind, _below(words(kind, "quirk"), places)) for kind, places in kinds.items())
    _print_table(console, ("", ""), rows)


def _below(text: str, places: Sequence[str]) -> str:
    """Places stand under what is said of them: both are too long to stand side by side."""
    return "\n".join((text, *(f"  {place}" for place in places if place)))


def _print_problems(console: Console, problems: Sequence[View], words: Words) -> None:
    if not problems:
        console.print(Text(words("no_problems")))
        return
    rows = (
        (words(each["severity"]), each["rule"], _below(each["message"], [each["where"].removeprefix(_COMMON_PLACE)]))
        for each in problems
    )
    _print_table(console, ("", "", ""), rows)


def _print_usability(console: Console, view: View, words: Words) -> None:
    if view["usable"]:
        console.print(Text(f"\n{words('usable')}", style="bold"))
        return
    console.print(Text(f"\n{words('unusable')}", style="bold red"))
    for fault in view["faults"]:
        console.print(_cell(f"  {fault['message']}"))


# --- the envelope's signature -----------------------------------------------------------------------------------------


def _signature(finding: View | None, words: Words) -> str:
    if finding is None:
        return words("unsigned")
    weak = words("weak", "signature", algorithm=finding["algorithm"] or "?") if finding["weak"] else ""
    reasons = [_reason(reason, words) for reason in finding["reasons"]]
    return _joined(words(finding["verdict"], "signature"), weak, finding["signer"], *reasons, sep="; ")


def _reason(reason: str, words: Words) -> str:
    return catalogue().get(f"envelope.{reason}", {}).get(words.language, reason)


def about_signature(finding: EnvelopeFinding, language: Language) -> str:
    """What a signature check found, and what to do."""
    words = Words(language)
    verdict = words(finding.verdict, "signature")
    return words("says", "signature", verdict=verdict, reasons="; ".join(finding.explained(language)))


# --- validate, extract, diff ------------------------------------------------------------------------------------------


def show_problems(file: str, problems: Sequence[View], language: Language) -> None:
    words, console = Words(language), _console()
    console.print(Text(shown(file), style="bold"))
    _print_problems(console, problems, words)


def show_verdict(files: int, errors: int, warnings: int, profile: str, language: Language) -> None:
    counted = Words(language)("verdict", files=files, errors=errors, warnings=warnings, profile=profile)
    _console().print(Text(shown(counted), style="bold red" if errors else "bold"))


def show_built(view: View, profile: str, language: Language) -> None:
    words, console = Words(language), _console()
    console.print(Text(shown(words("written", file=view["file"], size=decimal(view["size"])))))
    if view["problems"]:
        _print_problems(console, view["problems"], words)
    if any(problem["severity"] == "error" for problem in view["problems"]):
        console.print(Text(f"{words('broken_rules', profile=profile)} {words('kept')}", style="bold red"))


def as_refusal(fault: ContentError, language: Language) -> View:
    return {"code": fault.code, "where": fault.where, "message": fault.text(language)}


def show_differences(found: Sequence[Difference], ours: Path, theirs: Path, language: Language) -> None:
    words, console = Words(language), _console()
    names = (ours.name, theirs.name) if ours.name != theirs.name else (str(ours), str(theirs))
    headings = (words("field"), *names)
    meaning = [difference for difference in found if difference.level == "meaning"]
    form = [difference for difference in found if difference.level == "form"]
    if meaning:
        console.print(Text(words("different", count=len(meaning)), style="bold red"))
        _print_table(console, headings, map(_difference, meaning))
    if form:
        console.print(Text(("\n" + words("also_form")) if meaning else words("same_form"), style="bold"))
        _print_table(console, headings, map(_difference, form))
    if not found:
        console.print(Text(words("same"), style="bold"))


def _difference(difference: Difference) -> tuple[str, str, str]:
    return difference.field, _value(difference.ours), _value(difference.theirs)


def _value(value: Any) -> str:
    if value is None:
        return "-"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


# --- the terminal -----------------------------------------------------------------------------------------------------


def _console() -> Console:
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_WIDE)


def _print_table(console: Console, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    table = Table(box=None, header_style="bold", show_header=any(headings), pad_edge=False, padding=(0, 2, 0, 2))
    for heading in headings:
        table.add_column(Text(shown(heading)), overflow="fold")
    for row in rows:
        table.add_row(*map(_cell, row))
    console.print(table)


def _cell(text: str) -> Text:
    safe = shown(text)
    return Text(safe if len(safe) <= _LONGEST_VALUE else f"{safe[:_LONGEST_VALUE]}…")
