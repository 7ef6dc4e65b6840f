"""Reading a mapping file: TOML to the models of ``schema``; all mistakes are reported at once, each with ``file:line``.

So a mapping is written in a few rounds and not in fifty, and nothing about it can go wrong later at night.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from lienthong import Document, Part, StatusReport
from lienthong.tomltext import KeyPath
from lienthong_generic_rest.mistakes import Mistake, model_mistakes, read_toml, report
from lienthong_generic_rest.schema import Mapping
from lienthong_generic_rest.templates import (
    AnyName,
    Content,
    FileObjects,
    Placeholder,
    Shapes,
    Tables,
    check,
    fields_of,
    pieces,
    strings,
)

_SECRET: Shapes = {"secret": AnyName()}
_LISTING: Shapes = {"page": int, "offset": int, "size": int, "cursor": str, "now": datetime, "since": datetime}
_DELIVERY: Shapes = {
    "delivery": {
        **dict.fromkeys(("key", "message_id", "recipient", "concerns_id", "concerns_peer_id"), str),
        "lines": tuple[str, ...],
    }
}
_ITEM: Shapes = {"id": str}
CALL_SHAPES: dict[KeyPath, Shapes] = {
    ("auth", "call"): {},
    ("outbox", "list"): _LISTING,
    ("outbox", "detail"): _ITEM,
    ("outbox", "files", "download"): {**_ITEM, "file": {"id": str}},
    ("outbox", "acknowledge", "stored"): {**_ITEM, "detail": str},
    ("outbox", "acknowledge", "failed"): {**_ITEM, "detail": str},
    ("statuses", "list"): _LISTING,
    ("statuses", "acknowledge", "stored"): {**_ITEM, "detail": str},
    ("statuses", "acknowledge", "failed"): {**_ITEM, "detail": str},
    ("inbox", "create"): {**_DELIVERY, "document": Document},
    ("inbox", "lookup", "call"): {**_DELIVERY, "document": Document},
    ("inbox_status", "create"): {**_DELIVERY, "status": StatusReport},
    ("inbox_status", "lookup", "call"): {**_DELIVERY, "status": StatusReport},
    ("directory", "list"): _LISTING,
    ("probe",): {"now": datetime},
}
_PARTS_OF_A_CALL = ("query", "headers", "body", "form", "multipart")


def load_mapping(path: Path) -> Mapping:
    """Read a mapping file.

    :raises ConfigError: unreadable, not TOML, or with mistakes; ``where`` is ``file:line`` of the first,
        ``facts["mistakes"]`` holds one error for each when there are several
    """
    text, data = read_toml(path)
    found = list(_template_mistakes(data))
    try:
        mapping = Mapping.model_validate(data, context={"tables": _tables(data)})
    except ValidationError as problem:
        found += model_mistakes(Mapping, data, problem.errors())
    if found:
        raise report(path, text, found)
    return mapping


def secret_names(mapping: Mapping) -> frozenset[str]:
    """The secrets that a mapping refers to as ``{secret.NAME}``."""
    named = (placeholder.names for text in _strings_of(mapping) for placeholder in _placeholders(text))
    return frozenset(names[1] for names in named if names[0] == "secret" and len(names) == 2)


def _strings_of(value: object) -> Iterator[str]:
    """The strings of a loaded mapping that may be templates."""
    if isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _strings_of(getattr(value, name))
    else:
        yield from (text for _, text in strings(value))


def _tables(data: dict[str, Any]) -> Tables:
    tables = data.get("tables")
    entries = tables.items() if isinstance(tables, dict) else ()
    return {name: table for name, table in entries if isinstance(table, dict)}


def _template_mistakes(data: dict[str, Any]) -> Iterator[Mistake]:
    """Mistakes in placeholders. They are looked for in the raw file, so that they are found beside all others."""
    tables, visible = _tables(data), {text.lower() for _, text in strings(data.get("visible"))}
    for place, shapes in _places(data):
        for inside, text in strings(_dig(data, place)):
            at = (*place, *inside)
            for found in check(text, shapes, tables):
                yield Mistake(at=at, code=found.code, facts=found.facts)
            if str(at[-1]).lower() in visible and _holds_a_secret(text):
                yield Mistake(at=at, code="mapping.visible-secret", facts={})
            if at == ("auth", "password") and not _holds_a_secret(text):
                yield Mistake(at=at, code="mapping.password", facts={})


def _places(data: dict[str, Any]) -> Iterator[tuple[KeyPath, Shapes]]:
    """Where templates stand, and what they may name there. A path holds no secret, because logs hold paths."""
    token: Shapes = {} if _dig(data, ("auth", "kind")) in ("none", "header", "basic") else {"token": str}
    yield from ((("auth", name), {**_SECRET, **token}) for name in ("headers", "query"))
    yield from ((("auth", name), _SECRET) for name in ("user", "password"))
    for call, shapes in CALL_SHAPES.items():
        yield (*call, "path"), shapes
        yield from (((*call, part), {**shapes, **_SECRET}) for part in _PARTS_OF_A_CALL if part != "body")
        files: Shapes = {"files": FileObjects} if call == ("inbox", "create") else {}
        yield (*call, "body"), {**shapes, **_SECRET, **files}
    part: Shapes = {**fields_of(Part), "index": int, "base64": Content}
    yield ("inbox", "file"), {**CALL_SHAPES["inbox", "create"], "part": part}


def _dig(data: object, path: KeyPath) -> object:
    for name in path:
        data = data.get(name) if isinstance(data, dict) else None
    return data


def _holds_a_secret(text: str) -> bool:
    return any(placeholder.names[0] in ("secret", "token") for placeholder in _placeholders(text))


def _placeholders(text: str) -> list[Placeholder]:
    """The placeholders of a text. A text with stray braces has none; ``check`` reports it if it is a template."""
    try:
        return [piece for piece in pieces(text) if isinstance(piece, Placeholder)]
    except ValueError:
        return []
