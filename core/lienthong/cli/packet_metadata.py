"""META of ``edxml build``: a JSON or TOML file in the words of ``lienthong.metadata``, and what only a packet needs.

An agency is a code, or a table with its name and address. What ``edxml inspect --json`` prints is taken as well.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, Field, ValidationError

from lienthong.errors import ContentError
from lienthong.metadata import PRIORITY_NAMES, AgencyCode, DocumentMetadata, ReferenceMetadata, Strict, as_document
from lienthong.model import (
    VIETNAM,
    Business,
    Change,
    DocumentReference,
    ForeignElement,
    Message,
    Organization,
    Priority,
    ReceiverChange,
    Replacement,
    Staff,
    StatusCode,
    StatusReport,
    TraceHop,
)
from lienthong.tomltext import KeyPath, key_lines, nearest, nearest_line

Kind = TypeVar("Kind", bound=BaseModel)
_VIEW_MARKS = {"kind", "quirks", "response_for"}
_STATUS_MARKS = {"about", "status"}


class AgencyMetadata(Strict):
    """An agency as a packet names it."""

    code: AgencyCode
    name: str = ""
    in_charge: str = ""
    address: str = ""
    email: str = ""
    telephone: str = ""
    fax: str = ""
    website: str = ""

    def organization(self) -> Organization:
        return Organization(**self.model_dump())


def _as_table(agency: object) -> object:
    return {"code": agency} if isinstance(agency, str) else agency


def _in_vietnam(moment: datetime) -> datetime:
    """Without a zone it is Vietnam time (Decision 28/2018 Art. 14.4)."""
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=VIETNAM)


Agency = Annotated[AgencyMetadata, BeforeValidator(_as_table)]


class StaffMetadata(Strict):
    """The person behind a status or a change."""

    name: str = ""
    department: str = ""
    mobile: str = ""
    email: str = ""

    def staff(self) -> Staff:
        return Staff(**self.model_dump())


class HopMetadata(Strict):
    """A node that the packet passed."""

    organ: AgencyCode
    at: datetime


class ReceiverMetadata(Strict):
    """A recipient that an update adds or takes off."""

    organ: AgencyCode
    added: bool


class ReplacementMetadata(Strict):
    """A document that is replaced, and for whom."""

    document_id: str = Field(min_length=1)
    organs: tuple[AgencyCode, ...] = ()


class ForeignMetadata(Strict):
    """An element beyond the format, as ``edxml inspect --json`` shows it."""

    name: str
    parent: str = ""
    namespace: str = ""
    text: str = ""
    attributes: dict[str, str] = Field(default_factory=dict)
    children: tuple[ForeignMetadata, ...] = ()

    def element(self) -> ForeignElement:
        return ForeignElement(
            name=self.name,
            parent=self.parent,
            namespace=self.namespace,
            text=self.text,
            attributes=tuple(self.attributes.items()),
            children=tuple(child.element() for child in self.children),
        )


class PacketMetadata(Strict):
    """What a packet can say beyond ``DocumentMetadata``; ``from`` and ``to`` may be tables."""

    sender: Agency = Field(alias="from")
    to: tuple[Agency, ...] = Field(min_length=1)
    type_code: int = 2
    type_detail: int = 0
    typer_notation: str = ""
    direction: bool = False
    steering: int = 0
    trace: tuple[HopMetadata, ...] = Field((), description="default: the sender, now")
    content_changed: bool | None = Field(None, description="default: true for an update")
    receivers_changed: bool = False
    receivers: tuple[ReceiverMetadata, ...] = ()
    replaces: tuple[ReplacementMetadata, ...] = Field((), description="default: what ``concerns`` names, for all")
    staff: tuple[StaffMetadata, ...] = ()
    descriptions: dict[str, str] = Field(default_factory=dict, description="file name -> what it is")
    foreign: tuple[ForeignMetadata, ...] = ()


class StatusMetadata(Strict):
    """A status report about a received document."""

    sender: Agency = Field(alias="from")
    about: ReferenceMetadata
    status: Literal["01", "02", "03", "04", "05", "06", "13", "15", "16"]
    description: str = ""
    at: datetime | None = Field(None, description="default: now")
    staff: StaffMetadata = StaffMetadata()
    foreign: tuple[ForeignMetadata, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Metadata:
    """What META says: a message without parts, the names of its files, and what they are."""

    message: Message
    file_names: tuple[str, ...] = ()
    descriptions: Mapping[str, str]


def read_metadata(file: Path, now: datetime) -> Metadata:
    """Read META; what it leaves to the moment of building gets ``now``.

    :raises ContentError: it cannot be read, or with every mistake by file, line (TOML) and key
    """
    text = _text(file)
    values = _values(file, text)
    mistakes = _Mistakes(file, text)
    if values.keys() >= _VIEW_MARKS:
        values = _from_view(file, values)
    made = _status(values, mistakes, now) if _STATUS_MARKS & values.keys() else _document(values, mistakes, now)
    if made is None:
        raise mistakes.error()
    return made


def _text(file: Path) -> str:
    try:
        return file.read_text("utf-8-sig")
    except (OSError, ValueError) as problem:
        raise ContentError("cli.metadata-unreadable", where=str(file), reason=problem) from problem


def _values(file: Path, text: str) -> dict[str, Any]:
    try:
        values = tomllib.loads(text) if file.suffix.lower() == ".toml" else json.loads(text)
    except (ValueError, RecursionError) as problem:
        reason = "nested too deeply" if isinstance(problem, RecursionError) else problem
        raise ContentError("cli.metadata-unreadable", where=str(file), reason=reason) from problem
    if not isinstance(values, dict):
        raise ContentError("cli.metadata-unreadable", where=str(file), reason="it is no table of keys and values")
    return values


class _Mistakes:
    """Everything that is wrong with META, so that it can be corrected in one go."""

    def __init__(self, file: Path, text: str) -> None:
        self._file = file
        self._lines = key_lines(text) if file.suffix.lower() == ".toml" else {}
        self._found: list[tuple[int, str]] = []

    def checked(self, model: type[Kind], values: Mapping[str, Any]) -> Kind | None:
        try:
            # Through JSON, whose strict mode takes dates as text and no number for a text.
            return model.model_validate_json(json.dumps(values, default=_plain), strict=True)
        except ValidationError as problem:
            for complaint in problem.errors(include_url=False, include_input=False):
                hint = nearest(str(complaint["loc"][-1]), model) if complaint["type"] == "extra_forbidden" else ""
                self._note(complaint["loc"], complaint["msg"] + hint)
            return None

    def _note(self, path: KeyPath, what: str) -> None:
        line = nearest_line(self._lines, path) if self._lines else 0
        place = f"{self._file}:{line}" if line else str(self._file)
        self._found.append((line, f"{place}: {'.'.join(map(str, path))}: {what}"))

    def error(self) -> ContentError:
        shown = [text for _, text in sorted(self._found)]
        return ContentError("cli.metadata", mistakes="\n  ".join(shown), count=len(shown))


def _plain(value: object) -> str:
    """TOML has dates and times of its own."""
    return value.isoformat() if isinstance(value, date) else str(value)


def _status(values: Mapping[str, Any], mistakes: _Mistakes, now: datetime) -> Metadata | None:
    said = mistakes.checked(StatusMetadata, values)
    if said is None:
        return None
    about = said.about
    report = StatusReport(
        sender=said.sender.organization(),
        about=DocumentReference(
            organ=about.organ, code=about.code, promulgated=about.promulgated, document_id=about.document_id
        ),
        code=StatusCode(said.status),
        at=_in_vietnam(said.at) if said.at is not None else now,
        description=said.description,
        staff=said.staff.staff(),
        foreign=tuple(each.element() for each in said.foreign),
    )
    return Metadata(message=report, descriptions={})


def _document(values: Mapping[str, Any], mistakes: _Mistakes, now: datetime) -> Metadata | None:
    own = {field.alias or name for name, field in PacketMetadata.model_fields.items()}
    more = mistakes.checked(PacketMetadata, {key: value for key, value in values.items() if key in own})
    agencies = {"from": more.sender.code, "to": [to.code for to in more.to]} if more else {"to": []}
    rest = {key: value for key, value in values.items() if key not in own}
    said = mistakes.checked(DocumentMetadata, rest | agencies)
    if more is None or said is None:
        return None
    document = replace(
        as_document(said, more.sender.organization()),
        recipients=tuple(to.organization() for to in more.to),
        type_code=more.type_code,
        type_detail=more.type_detail,
        typer_notation=more.typer_notation,
        direction=more.direction,
        steering=more.steering,
        trace=_trace(more, now),
        foreign=tuple(each.element() for each in more.foreign),
    )
    document = replace(document, change=_change(document.change, said, more))
    names = tuple(name for name in (said.main, *said.attachments) if name)
    return Metadata(message=document, file_names=names, descriptions=more.descriptions)


def _trace(more: PacketMetadata, now: datetime) -> tuple[TraceHop, ...]:
    hops = tuple(TraceHop(organ=hop.organ, at=_in_vietnam(hop.at)) for hop in more.trace)
    return hops or (TraceHop(organ=more.sender.code, at=now),)


def _change(change: Change, said: DocumentMetadata, more: PacketMetadata) -> Change:
    named = change.kind is Business.REPLACE and not more.replaces
    listed = tuple(Replacement(document_id=each.document_id, organs=each.organs) for each in more.replaces)
    return replace(
        change,
        document_id=change.document_id if named else said.concerns,
        content_changed=change.content_changed if more.content_changed is None else more.content_changed,
        receivers_changed=more.receivers_changed,
        receivers=tuple(ReceiverChange(organ=each.organ, added=each.added) for each in more.receivers),
        replaces=listed or change.replaces,
        staff=tuple(person.staff() for person in more.staff),
    )


# --- what inspect printed ---------------------------------------------------------------------------------------------


def _from_view(file: Path, view: Mapping[str, Any]) -> dict[str, Any]:
    """The output of ``edxml inspect --json`` in the words of META; null is left out."""
    common = {"from": _agency(view.get("from")), "foreign": view.get("foreign", [])}
    try:
        own = _status_from_view(view) if view["kind"] == "status" else _document_from_view(view)
        kept: dict[str, Any] = _without_nulls(common | own)
        return kept
    except (LookupError, TypeError, ValueError, AttributeError) as problem:
        reason = f"not the output of `edxml inspect --json` ({problem})"
        raise ContentError("cli.metadata-unreadable", where=str(file), reason=reason) from problem


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(inner) for key, inner in value.items() if inner is not None}
    return [_without_nulls(inner) for inner in value] if isinstance(value, list) else value


def _renamed(table: Any, **names: str) -> Any:
    return {names.get(key, key): value for key, value in table.items()} if isinstance(table, dict) else table


def _agency(agency: Any) -> Any:
    return _renamed(agency, organ_id="code")


def _reference(reference: Any) -> Any:
    return _renamed(reference, organ_id="organ")


def _status_from_view(view: Mapping[str, Any]) -> dict[str, Any]:
    status = view.get("status") or {}
    return {
        "about": _reference(next(iter(view.get("response_for", [])), {})),
        "status": status.get("code"),
        "description": status.get("description"),
        "at": status.get("timestamp"),
        "staff": status.get("staff"),
    }


_SAME_WORDS = (
    *("document_id", "business", "subject", "content", "due", "pages", "copies", "paper", "sphere", "appendixes"),
    *("to_places", "type", "type_code", "type_detail", "typer_notation", "direction", "steering"),
)


def _document_from_view(view: Mapping[str, Any]) -> dict[str, Any]:
    code, issued, change = (view.get(name) or {} for name in ("code", "promulgation", "change"))
    return {
        **{word: view.get(word) for word in _SAME_WORDS},
        **{"number": code.get("number"), "notation": code.get("notation")},
        **{"place": issued.get("place"), "date": issued.get("date")},
        "to": [_agency(to) for to in view.get("to", [])],
        "signer": _renamed(view.get("signer"), full_name="name"),
        "priority": PRIORITY_NAMES.get(Priority(view.get("priority") or 0)),
        "responds_to": [_reference(reference) for reference in view.get("response_for", [])],
        "trace": [_renamed(hop, organ_id="organ", timestamp="at") for hop in view.get("trace", [])],
        **{"reason": change.get("reason"), "concerns": change.get("document_id"), "staff": change.get("staff")},
        **{name: change.get(name) for name in ("content_changed", "receivers_changed")},
        "receivers": [_reference(receiver) for receiver in change.get("receivers", [])],
        "replaces": [_renamed(old, organ_ids="organs") for old in change.get("replaces", [])],
        **dict(_file_words(view.get("parts", []))),
    }


def _file_words(parts: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, Any]]:
    """The files by name; when two have one name, only their order on the command line can tell them apart."""
    names = [part["name"] for part in parts]
    if names and len(set(names)) == len(names):
        yield "main", names[0]
        yield "attachments", names[1:]
        yield "descriptions", {part["name"]: part["description"] for part in parts}
