"""Mistakes in a TOML file, each at its line: where a key stands, and what to say about what is wrong with it.

``tomllib`` gives values without positions, so ``key_lines`` scans the text once more. It is given only texts that
``tomllib`` accepts and therefore needs to follow the structure, not to judge it.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from lienthong import ConfigError
from pydantic import BaseModel
from pydantic_core import ErrorDetails

from lienthong_generic_rest.templates import nearest

KeyPath = tuple[str | int, ...]

_TOKEN = re.compile(
    r"""
      (?P<skip>[ \t\r]+|\#[^\n]*)
    | (?P<text>\"{3}(?:\\.|[^\\])*?\"{3,5}|'{3}.*?'{3,5}|"(?:\\.|[^"\\\n])*"|'[^'\n]*')
    | (?P<mark>[\n\[\]{}=,.])
    | (?P<word>[^\s\[\]{}=,.\#"']+)
    """,
    re.DOTALL | re.VERBOSE,
)
_VALUE_ENDS = frozenset({"\n", ",", "]", "}", ""})


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
    placed = sorted(((_line(lines, mistake.at), mistake) for mistake in mistakes), key=lambda each: each[0])
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


def _line(lines: Mapping[KeyPath, int], at: KeyPath) -> int:
    while at and at not in lines:
        at = at[:-1]
    return lines.get(at, 1)


def _dotted(at: KeyPath) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in at).removeprefix(".")


def key_lines(text: str) -> dict[KeyPath, int]:
    """The line (from 1) of every table header and key of a valid TOML text; of an implied table, its first mention."""
    scan = _Scan(tokens=list(_tokens(text)))
    while scan.at < len(scan.tokens):
        match scan.peek():
            case "\n":
                scan.at += 1
            case "[":
                scan.header()
            case _:
                scan.assignment(scan.table)
    return scan.lines


def _tokens(text: str) -> Iterator[tuple[str, int]]:
    line = 1
    for match in _TOKEN.finditer(text):
        if match.lastgroup != "skip":
            yield match[0], line
        line += match[0].count("\n")


@dataclass
class _Scan:
    tokens: list[tuple[str, int]]
    at: int = 0
    table: KeyPath = ()
    lines: dict[KeyPath, int] = field(default_factory=dict)
    counts: dict[KeyPath, int] = field(default_factory=dict)

    def peek(self) -> str:
        return self.tokens[self.at][0] if self.at < len(self.tokens) else ""

    def take(self) -> str:
        token = self.peek()
        self.at += 1
        return token

    def header(self) -> None:
        line = self.tokens[self.at][1]
        opening = 0
        while self.peek() == "[":
            opening += 1
            self.at += 1
        *above, last = self.key()
        self.at += opening
        path = (*self.resolved(above), last)
        if opening == 2:
            self.counts[path] = self.counts.get(path, -1) + 1
        self.table = self.resolved([*above, last])
        self.note(self.table, line)

    def resolved(self, names: Iterable[str]) -> KeyPath:
        """A header's names as a path: a name of an array of tables means its latest table."""
        path: KeyPath = ()
        for name in names:
            path = (*path, name)
            if path in self.counts:
                path = (*path, self.counts[path])
        return path

    def key(self) -> list[str]:
        names = [_bare(self.take())]
        while self.peek() == ".":
            self.at += 1
            names.append(_bare(self.take()))
        return names

    def assignment(self, prefix: KeyPath) -> None:
        line = self.tokens[self.at][1]
        path = (*prefix, *self.key())
        self.note(path, line)
        self.at += 1
        self.value(path)

    def value(self, path: KeyPath) -> None:
        match self.peek():
            case "{":
                self.inline_table(path)
            case "[":
                self.array(path)
            case _:
                while self.peek() not in _VALUE_ENDS:
                    self.at += 1

    def inline_table(self, path: KeyPath) -> None:
        self.at += 1
        while self.peek() not in ("}", ""):
            if self.peek() in (",", "\n"):
                self.at += 1
            else:
                self.assignment(path)
        self.at += 1

    def array(self, path: KeyPath) -> None:
        self.at += 1
        count = 0
        while self.peek() not in ("]", ""):
            if self.peek() in (",", "\n"):
                self.at += 1
                continue
            self.note((*path, count), self.tokens[self.at][1])
            self.value((*path, count))
            count += 1
        self.at += 1

    def note(self, path: KeyPath, line: int) -> None:
        for length in range(1, len(path) + 1):
            self.lines.setdefault(path[:length], line)


def _bare(token: str) -> str:
    """A key without its quotes and escapes."""
    return next(iter(tomllib.loads(f"{token} = 0"))) if token[0] in "\"'" else token


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
