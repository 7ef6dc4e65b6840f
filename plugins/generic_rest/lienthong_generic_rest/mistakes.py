"""Mistakes in a TOML file, each at its line: where a key stands, and what to say about what is wrong with it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from lienthong import ConfigError
from lienthong.tomltext import KeyPath, key_lines, nearest_line
from lienthong_generic_rest.templates import nearest


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """What is wrong at a key: an error code of the group ``mapping`` and its facts."""

    at: KeyPath
    code: str
    facts: Mapping[str, object]


def read_toml(path: Path) -> tuple[str, dict[str, Any]]:
    """A TOML file as text and as values.

    :raises ConfigError: it cannot be read, or is not TOML; ``where`` is ``file:line``
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise ConfigError("mapping.unreadable", where=str(path), reason=problem) from problem
    try:
        return text, tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as problem:
        reason, _, position = str(problem).partition(" (at ")
        line = re.search(r"line (\d+)", position)
        number = int(line[1]) if line else text.count("\n") + 1
        raise ConfigError("mapping.syntax", where=f"{path}:{number}", reason=reason) from problem


def report(path: Path, text: str, mistakes: Iterable[Mistake]) -> ConfigError:
    """One error for all mistakes, in the order of the file; each alone is in ``facts["mistakes"]``."""
    lines = key_lines(text)
    placed = sorted(((nearest_line(lines, mistake.at), mistake) for mistake in mistakes), key=lambda each: each[0])
    errors = tuple(
        ConfigError(mistake.code, where=f"{path}:{line}", key=_dotted(mistake.at), **mistake.facts)
        for line, mistake in placed
    )
    if len(errors) == 1:
        return errors[0]
    return ConfigError(
        "mapping.mistakes",
        where=errors[0].where,
        count=len(errors),
        mistakes=errors,
        listed="".join(f"\n- {error.text('en')}" for error in errors),
        listed_vi="".join(f"\n- {error.text('vi')}" for error in errors),
    )


def _dotted(at: KeyPath) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in at).removeprefix(".")


_OWN = frozenset({"expression", "table", "choose", "clash", "needs", "path"})
_EXPECTED = {
    "string_type": ("a text in quotes", "một chuỗi trong dấu ngoặc kép"),
    "int_type": ("a whole number", "một số nguyên"),
    "float_type": ("a number", "một số"),
    "bool_type": ("true or false", "true hoặc false"),
    "dict_type": ("a table", "một bảng (table)"),
    "model_type": ("a table", "một bảng (table)"),
    "model_attributes_type": ("a table", "một bảng (table)"),
    "list_type": ("a list", "một danh sách"),
    "json_type": ("expressible in JSON (no dates)", "giá trị JSON (không dùng kiểu ngày)"),
    "scalar_type": ("a text, a whole number, true or false", "một chuỗi, số nguyên, true hoặc false"),
    "literal_error": ("one of {expected}", "một trong {expected}"),
    "union_tag_invalid": ("of a kind that exists: {expected_tags}", "một loại có thật: {expected_tags}"),
    "greater_than": ("greater than {gt}", "lớn hơn {gt}"),
    "greater_than_equal": ("at least {ge}", "ít nhất {ge}"),
}


def model_mistakes(model: type[BaseModel], data: Mapping[str, Any], errors: Iterable[ErrorDetails]) -> list[Mistake]:
    """What pydantic found, one mistake per key."""
    found: dict[KeyPath, Mistake] = {}
    for error in errors:
        mistake = _mistake(model, data, error)
        found.setdefault(mistake.at, mistake)
    return list(found.values())


def _mistake(model: type[BaseModel], data: Mapping[str, Any], error: ErrorDetails) -> Mistake:
    kind, at, facts = error["type"], _path_in(data, error["loc"]), dict(error.get("ctx", {}))
    if kind in ("missing", "union_tag_not_found"):
        last = error["loc"][-1] if kind == "missing" else "kind"
        return Mistake(at=(*at, last), code="mapping.missing-key", facts={})
    if kind == "extra_forbidden":
        known = sorted(_known_keys(model, error["loc"][:-1]))
        return Mistake(at=at, code="mapping.unknown-key", facts={"nearest": nearest(str(at[-1]), known)})
    if kind in _OWN:
        return Mistake(at=at, code=f"mapping.{kind}", facts=facts)
    expected, expected_vi = _EXPECTED.get(kind, (error["msg"], error["msg"]))
    wording = {"expected": expected.format(**facts), "expected_vi": expected_vi.format(**facts)}
    return Mistake(at=at, code="mapping.wrong-type", facts=wording)


def _path_in(data: Any, loc: KeyPath) -> KeyPath:
    """Pydantic's location without what it adds to the keys of the file: names of union members, missing keys."""
    path: KeyPath = ()
    for part in loc:
        inside = isinstance(data, list) and isinstance(part, int) and part < len(data)
        if inside or (isinstance(data, dict) and part in data):
            data = data[part]
            path = (*path, part)
    return path


def _known_keys(model: type[BaseModel], loc: KeyPath) -> set[str]:
    models = [model]
    for part in loc:
        below = [
            inner for each in models for name, kind in _members(each) if name == part for inner in _models_in(kind)
        ]
        tagged = [each for each in models if _is_tagged(each, part)]
        models = below or tagged or models
    return {name for each in models for name, _ in _members(each)}


def _members(model: type[BaseModel]) -> list[tuple[str, object]]:
    return [(info.alias or name, info.annotation) for name, info in model.model_fields.items()]


def _models_in(annotation: object) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for each in get_args(annotation) for model in _models_in(each)]


def _is_tagged(model: type[BaseModel], tag: str | int) -> bool:
    kind = model.model_fields.get("kind")
    return kind is not None and tag in get_args(kind.annotation)
