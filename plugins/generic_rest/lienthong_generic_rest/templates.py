"""The placeholders of a mapping file: how they are written, checked and filled.

A template is a JSON value whose strings may hold ``{name.name}`` or ``{name.name|filter|filter}``; ``{{`` and ``}}``
stand for braces. A string that is one placeholder keeps the value's type (number, list, null); in a longer string the
value becomes text. Filters: ``%d/%m/%Y`` (any strftime format), ``text``, ``number``, or the name of a table of the
mapping, which is read backwards (ours -> theirs).

What a placeholder may name is given as *shapes*: a name -> type tree, checked when the mapping is loaded, so that a
misspelt field is a configuration mistake and not a rejected document at night.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from datetime import date, datetime
from difflib import get_close_matches
from enum import Enum
from functools import cache
from typing import get_args, get_type_hints
from urllib.parse import quote

from lienthong import VIETNAM, ContentError, Part, vietnam_time

Scope = Mapping[str, object]
"""What placeholders mean during one call: name -> value, dataclass or nested scope."""
Shapes = Mapping[str, object]
"""What placeholders may name: name -> type or nested shapes."""
Tables = Mapping[str, Mapping[str, object]]

_PIECE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_FILTERS = ("text", "number")


@dataclass(frozen=True, kw_only=True)
class Placeholder:
    """``{a.b|f}`` as ``names`` (a, b) and ``filters`` (f)."""

    names: tuple[str, ...]
    filters: tuple[str, ...]

    @property
    def dotted(self) -> str:
        return ".".join(self.names)


@dataclass(frozen=True, kw_only=True)
class Content:
    """Stands in a rendered body for the base64 of a part's bytes, which are streamed when the body is written."""

    part: Part


@dataclass(frozen=True, kw_only=True)
class AnyName:
    """A shape whose names are not known when the mapping is loaded (the secrets of a connection)."""


class FileObjects(list[object]):
    """The rendered ``[inbox.file]`` templates of a document, which ``{files}`` stands for."""


@dataclass(frozen=True, kw_only=True)
class TemplateMistake:
    """Why a template cannot be used: an error code of the group ``mapping`` and its facts."""

    code: str
    facts: Mapping[str, str]


def pieces(template: str) -> list[str | Placeholder]:
    """A template as literal texts and placeholders, in order.

    :raises ValueError: a brace that belongs to no placeholder
    """
    found: list[str | Placeholder] = []
    at = 0
    for match in _PIECE.finditer(template):
        found.append(template[at : match.start()])
        at = match.end()
        found.append(_piece(match))
    return [piece for piece in [*found, template[at:]] if piece != ""]


def _piece(match: re.Match[str]) -> str | Placeholder:
    if match[0] in ("{{", "}}"):
        return match[0][0]
    if match[1] is None:
        raise ValueError(match[0])
    names, *filters = match[1].split("|")
    return Placeholder(names=tuple(names.split(".")), filters=tuple(filters))


def strings(template: object) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Every string of a template with its path inside the template."""
    if isinstance(template, str):
        yield (), template
    elif isinstance(template, dict | list):
        entries = template.items() if isinstance(template, dict) else enumerate(template)
        for key, value in entries:
            for path, text in strings(value):
                yield (key, *path), text


def check(template: str, shapes: Shapes, tables: Tables) -> Iterator[TemplateMistake]:
    """What is wrong with one string of a template."""
    try:
        parts = pieces(template)
    except ValueError:
        yield TemplateMistake(code="mapping.braces", facts={"template": template})
        return
    for part in parts:
        if isinstance(part, Placeholder):
            yield from _placeholder_mistakes(part, shapes, tables, alone=len(parts) == 1)


def _placeholder_mistakes(
    placeholder: Placeholder, shapes: Shapes, tables: Tables, *, alone: bool
) -> Iterator[TemplateMistake]:
    shape: object = shapes
    for depth, name in enumerate(placeholder.names):
        known = _names(shape)
        if name not in known and not isinstance(shape, AnyName):
            yield _unknown(placeholder, placeholder.names[:depth], name, tuple(known))
            return
        shape = known.get(name, str)
    if _names(shape) or isinstance(shape, AnyName):
        yield _unknown(placeholder, placeholder.names, "", tuple(_names(shape)))
        return
    whole = shape in (Content, FileObjects)
    if whole and (not alone or placeholder.filters):
        yield TemplateMistake(code="mapping.alone", facts={"placeholder": placeholder.dotted})
    for name in () if whole else placeholder.filters:
        yield from _filter_mistakes(placeholder, name, shape, tables)


def _unknown(placeholder: Placeholder, above: tuple[str, ...], name: str, known: Sequence[str]) -> TemplateMistake:
    near = ".".join((*above, nearest(name, known)))
    return TemplateMistake(code="mapping.placeholder", facts={"placeholder": placeholder.dotted, "nearest": near})


def _filter_mistakes(placeholder: Placeholder, name: str, shape: object, tables: Tables) -> Iterator[TemplateMistake]:
    facts = {"placeholder": placeholder.dotted, "filter": name}
    if name.startswith("%"):
        if not (isinstance(shape, type) and issubclass(shape, date)):
            yield TemplateMistake(code="mapping.filter-date", facts=facts)
    elif name not in _FILTERS and name not in tables:
        known = nearest(name, [*tables, *_FILTERS])
        yield TemplateMistake(code="mapping.filter", facts={**facts, "nearest": known})


def nearest(name: str, known: Sequence[str]) -> str:
    """The known name that looks most like ``name``, or all of them when none does."""
    close = get_close_matches(name, known, n=1, cutoff=0.5)
    return close[0] if close else "{" + ", ".join(sorted(known)) + "}"


@cache
def fields_of(kind: type) -> dict[str, object]:
    """The fields and properties of a dataclass with their types; of an optional type, the type itself."""
    hints = get_type_hints(kind)
    for name, member in vars(kind).items():
        if isinstance(member, property):
            hints[name] = get_type_hints(member.fget)["return"]
    return {name: without_none(hint) for name, hint in hints.items() if not name.startswith("_")}


def without_none(hint: object) -> object:
    """``X`` for ``X | None``."""
    options = [option for option in get_args(hint) if option is not type(None)]
    return options[0] if type(None) in get_args(hint) and len(options) == 1 else hint


def _names(shape: object) -> Mapping[str, object]:
    """The names below a shape; a tuple has those of its elements."""
    if isinstance(shape, Mapping):
        return shape
    element = get_args(shape)[0] if get_args(shape) else shape
    return fields_of(element) if isinstance(element, type) and is_dataclass(element) and element is not Content else {}


def render(template: object, scope: Scope, tables: Tables) -> object:
    """Fill a checked template. The result is JSON, except that ``Content`` stands for streamed base64.

    :raises ContentError: a value that a filter cannot express
    """
    if isinstance(template, dict):
        return {key: render(value, scope, tables) for key, value in template.items()}
    if isinstance(template, list):
        return [render(value, scope, tables) for value in template]
    if not isinstance(template, str):
        return template
    parts = pieces(template)
    if len(parts) == 1 and isinstance(parts[0], Placeholder):
        return _value(parts[0], scope, tables)
    return "".join(part if isinstance(part, str) else as_text(_value(part, scope, tables)) for part in parts)


def render_text(template: object, scope: Scope, tables: Tables) -> str:
    """Fill a template for a place that holds text only; a table or list of templates becomes its JSON."""
    value = render(template, scope, tables)
    return json.dumps(value, ensure_ascii=False) if isinstance(template, dict | list) else as_text(value)


def render_path(template: str, scope: Scope, tables: Tables) -> str:
    """Fill a URL path; every value is percent-encoded, so that no value can reach another resource.

    :raises ContentError: a value is empty or a dot segment
    """
    return "".join(
        part if isinstance(part, str) else _path_value(part, as_text(_value(part, scope, tables)))
        for part in pieces(template)
    )


def _path_value(placeholder: Placeholder, value: str) -> str:
    if value.strip() in ("", ".", ".."):
        raise ContentError("rest.path-value", where=placeholder.dotted, value=value)
    return quote(value, safe="")


def render_headers(templates: Mapping[str, str], scope: Scope, tables: Tables) -> dict[str, str]:
    """Fill header values. The value never stands in the error: it may be a secret.

    :raises ContentError: a value that a header cannot carry (not ASCII, line break)
    """
    headers = {name: render_text(template, scope, tables) for name, template in templates.items()}
    for name, value in headers.items():
        if not (value.isascii() and value.isprintable()):
            raise ContentError("rest.header-value", where=name)
    return headers


def as_text(value: object) -> str:
    """A JSON value as text: nothing for null, ``true`` or ``false``, lists joined by ``; ``."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return "; ".join(as_text(each) for each in value)
    return str(value)


def _value(placeholder: Placeholder, scope: Scope, tables: Tables) -> object:
    value: object = scope
    for name in placeholder.names:
        value = _member(value, name)
    for name in placeholder.filters:
        value = _filtered(placeholder, value, name, tables)
    return _plain(value)


def _member(value: object, name: str) -> object:
    if isinstance(value, tuple):
        return tuple(_member(each, name) for each in value)
    return value[name] if isinstance(value, Mapping) else getattr(value, name)


def _plain(value: object) -> object:
    match value:
        case tuple():
            return [_plain(each) for each in value]
        case Enum():
            return value.value
        case datetime():
            return vietnam_time(value)
        case date():
            return value.isoformat()
    return value


def _filtered(placeholder: Placeholder, value: object, name: str, tables: Tables) -> object:
    if isinstance(value, tuple) and name != "text":
        return tuple(_filtered(placeholder, each, name, tables) for each in value)
    if name == "text":
        return as_text(_plain(value))
    if value is None:
        return None
    if name.startswith("%"):
        assert isinstance(value, date)
        return (value.astimezone(VIETNAM) if isinstance(value, datetime) else value).strftime(name)
    text = as_text(_plain(value))
    return _number(placeholder, text) if name == "number" else _theirs(placeholder, text, name, tables)


def _number(placeholder: Placeholder, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ContentError("rest.not-a-number", where=placeholder.dotted, value=text) from None


def _theirs(placeholder: Placeholder, text: str, table: str, tables: Tables) -> str:
    for theirs, ours in tables[table].items():
        if as_text(ours) == text:
            return theirs
    raise ContentError("rest.not-in-table", where=placeholder.dotted, value=text, table=table)
