"""The office's JSON -> documents, statuses, agencies and files, as a mapping says. Pure.

Reading is driven by the types of ``lienthong.model``: a rule says where a value is, the field's type says what it must
become. What does not fit is a ``ContentError`` that names field, expression and value; one broken item stops no other.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass, replace
from datetime import UTC, date, datetime, timedelta
from enum import Enum
from typing import Any, TypeVar, cast, get_args

from jmespath.parser import ParsedResult
from pydantic import BaseModel

from lienthong import (
    VIETNAM,
    ContentError,
    Document,
    Organization,
    StatusReport,
    document_id,
)
from lienthong_generic_rest.expressions import search
from lienthong_generic_rest.schema import FOUND_OTHERWISE, Rule
from lienthong_generic_rest.templates import Tables, as_text, fields_of

_T = TypeVar("_T")
_SHOWN = 80
_TRUE, _FALSE = frozenset({"true", "1", "yes", "y"}), frozenset({"false", "0", "no", "n"})


def item_id(expression: ParsedResult, item: object) -> str:
    """The office's id of an item, exactly as the office writes it.

    :raises ContentError: there is none
    """
    value = search(expression, item)
    if isinstance(value, bool) or not isinstance(value, str | int | float) or as_text(value).strip() == "":
        raise ContentError("rest.item-id", where=expression.expression, value=shown(value))
    return id_text(value)


def id_text(value: object) -> str:
    """A JSON value as an id: 12.0 is 12, null is nothing."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else as_text(value)


def fingerprint(item: object) -> str:
    """A stable name for an item without an id: 16 hex digits of the SHA-256 of its JSON."""
    return hashlib.sha256(item_json(item)).hexdigest()[:16]


def item_json(item: object) -> bytes:
    """An item as JSON bytes, the same for the same item. ASCII, so that even lone surrogates survive."""
    return json.dumps(item, sort_keys=True).encode("ascii")


def document_from(item: object, rules: BaseModel, tables: Tables, agencies: Sequence[Organization]) -> Document:
    """The document of an outbox item, without parts.

    :raises ContentError: a field that cannot be mapped, or a sender that this connection does not serve
    """
    values = _gather(Document, rules, item, tables, "")
    sender = _own_agency(values.pop("sender", {}), agencies)
    values.setdefault(
        "document_id", document_id(sender.code, values["promulgated"], f"{values['number']}/{values['notation']}")
    )
    return _built(Document, {**values, "sender": sender})


def status_from(item: object, rules: BaseModel, tables: Tables, agencies: Sequence[Organization]) -> StatusReport:
    """The status report of an item. The organ of a document id in triple form says whom it is for, unless mapped.

    :raises ContentError: as ``document_from``
    """
    values = _gather(StatusReport, rules, item, tables, "")
    sender = _own_agency(values.pop("sender", {}), agencies)
    about = values.get("about", {})
    triple = str(about.get("document_id", "")).split(",")
    if "organ" not in about and len(triple) == 3 and triple[0]:
        about["organ"] = triple[0]
    if "organ" not in about:
        raise ContentError("rest.field-missing", where="about.organ", expression="about.document_id")
    return _built(StatusReport, {**values, "sender": sender})


def agency_from(item: object, rules: BaseModel, tables: Tables) -> Organization:
    """An agency of a directory item.

    :raises ContentError: it has no code
    """
    return _built(Organization, _gather(Organization, rules, item, tables, ""))


def _own_agency(stated: dict[str, object], agencies: Sequence[Organization]) -> Organization:
    """The sender: one of the connection's agencies, so that an office cannot speak for a stranger."""
    code = stated.get("code")
    served = [agency for agency in agencies if code in (None, agency.code)]
    if len(served) != 1:
        known = ", ".join(agency.code for agency in agencies)
        raise ContentError("rest.sender", where="sender.code", value=code or "", agencies=known)
    return replace(served[0], **cast(dict[str, Any], stated))


def _gather(kind: type, rules: BaseModel, item: object, tables: Tables, above: str) -> dict[str, Any]:
    """The mapped fields of a dataclass as found in an item; nested dataclasses as dicts."""
    values: dict[str, Any] = {}
    required = {entry.name for entry in fields(kind) if entry.default is MISSING} - FOUND_OTHERWISE
    for name in type(rules).model_fields:
        rule, where = getattr(rules, name), f"{above}{name}"
        hint = fields_of(kind)[name]
        if isinstance(rule, Rule):
            found = field_value(hint, rule, item, tables, where)
            if found is None and name in required:
                raise ContentError("rest.field-missing", where=where, expression=rule.source.expression)
            if found is not None:
                values[name] = found
        elif rule is not None:
            values[name] = _gather(cast(type, hint), rule, item, tables, f"{where}.")
    return {name: value for name, value in values.items() if value != {}}


def _built(kind: type[_T], values: Mapping[str, Any]) -> _T:
    """A dataclass from gathered values: dicts of nested dataclasses are built first."""
    hints = fields_of(cast(type, kind))
    return kind(
        **{
            name: _built(cast(type, hints[name]), value) if isinstance(value, dict) else value
            for name, value in values.items()
        }
    )


@dataclass(frozen=True, kw_only=True)
class _Field:
    """What conversions need to know of the field that they fill."""

    where: str
    rule: Rule
    tables: Tables

    def misfit(self, code: str, value: object) -> ContentError:
        facts = {"expression": self.rule.source.expression, "value": shown(value)}
        return ContentError(code, where=self.where, format=self.rule.format or "", table=self.rule.table or "", **facts)


def field_value(hint: object, rule: Rule, item: object, tables: Tables, where: str) -> object | None:
    """A field's value in its model type; None when the item has none.

    :raises ContentError: what is there cannot become that type; ``where`` is the field
    """
    field = _Field(where=where, rule=rule, tables=tables)
    value = search(rule.source, item)
    if value in (None, "", []):
        value = rule.default
    if value is None:
        return None
    if rule.take:
        value = _side_of_code(field, value)
    if rule.split:
        value = [piece.strip() for piece in _text(field, value).split(rule.split) if piece.strip()]
    found = _shaped(hint, field, value)
    return None if found in ("", ()) else found


def _side_of_code(field: _Field, value: object) -> str:
    number, slash, notation = _text(field, value).partition("/")
    if not slash:
        raise field.misfit("rest.field-code", value)
    return (number if field.rule.take == "number" else notation).strip()


def _shaped(hint: object, field: _Field, value: object) -> object:
    """A JSON value as a type of the model."""
    if get_args(hint):
        if not isinstance(value, list):
            raise field.misfit("rest.field-list", value)
        return tuple(_shaped(get_args(hint)[0], field, entry) for entry in value)
    assert isinstance(hint, type)
    if is_dataclass(hint):
        return _object(hint, field, value)
    if field.rule.table is not None:
        value = _ours(field, value)
    if issubclass(hint, Enum):
        return _member_of(hint, field, value)
    return _SCALARS[hint](field, value)


def _object(kind: type, field: _Field, value: object) -> object:
    """A dataclass from an object whose keys are its fields, or from a text that is its first field."""
    hints = fields_of(kind)
    known = [entry.name for entry in fields(kind)]
    entries = value if isinstance(value, dict) else {known[0]: value}
    if unknown := set(entries) - set(known):
        raise field.misfit("rest.field-object", sorted(unknown))
    values = {name: _shaped(hints[name], field, entry) for name, entry in entries.items() if entry not in (None, "")}
    if any(entry.name not in values for entry in fields(kind) if entry.default is MISSING):
        raise field.misfit("rest.field-object", value)
    return kind(**values)


def _ours(field: _Field, value: object) -> object:
    table = field.tables[field.rule.table or ""]
    theirs = id_text(value)
    if theirs not in table:
        raise field.misfit("rest.field-table", value)
    return table[theirs]


def _member_of(kind: type[Enum], field: _Field, value: object) -> Enum:
    wanted = _whole(field, value) if issubclass(kind, int) else _text(field, value)
    try:
        return kind(wanted)
    except ValueError:
        raise field.misfit("rest.field-enum", value) from None


def _text(field: _Field, value: object) -> str:
    """A text without surrounding space. What UTF-8 cannot hold is no text."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise field.misfit("rest.field-text", value)
    text = id_text(value).strip()
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        raise field.misfit("rest.field-text", value)
    return text


def _whole(field: _Field, value: object) -> int:
    try:
        number = float(_text(field, value))
        exact = int(number)
    except (ValueError, OverflowError):
        raise field.misfit("rest.field-number", value) from None
    if exact != number:
        raise field.misfit("rest.field-number", value)
    return exact


def _flag(field: _Field, value: object) -> bool:
    """True or false, also as the texts and numbers that offices use for them."""
    word = as_text(value).strip().lower()
    if word not in _TRUE | _FALSE:
        raise field.misfit("rest.field-boolean", value)
    return word in _TRUE


def _moment(field: _Field, value: object) -> datetime:
    """A time; without a zone it is Vietnam time."""
    pattern = field.rule.format
    try:
        if pattern == "epoch-ms":
            return datetime.fromtimestamp(0, UTC).astimezone(VIETNAM) + timedelta(milliseconds=_whole(field, value))
        text = _text(field, value)
        # A format may or may not hold a zone; the next line settles both.
        moment = datetime.strptime(text, pattern) if pattern else datetime.fromisoformat(text)  # noqa: DTZ007
        return moment.replace(tzinfo=VIETNAM) if moment.tzinfo is None else moment.astimezone(VIETNAM)
    except (ValueError, OverflowError):
        raise field.misfit("rest.field-date", value) from None


def _day(field: _Field, value: object) -> date:
    """The day in Vietnam: midnight there is written 17:00 UTC of the day before by some offices."""
    return _moment(field, value).date()


_SCALARS: dict[type, Callable[[_Field, object], object]] = {
    str: _text,
    int: _whole,
    bool: _flag,
    datetime: _moment,
    date: _day,
}


def shown(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
