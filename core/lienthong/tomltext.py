"""Where a key stands in a TOML file: ``tomllib`` gives values without positions, and an error needs the line.

``key_lines`` scans the text once more. It is given only texts that ``tomllib`` accepts and therefore needs to follow
the structure, not to judge it. Plugins that read a file of their own may use this module.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import BaseModel

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


def line_of(text: str, path: Sequence[str | int]) -> int:
    """The line (from 1) of a key or, when it is not there, of the nearest table above it; 1 when nothing of it is."""
    return nearest_line(key_lines(text), tuple(path))


def nearest_line(lines: Mapping[KeyPath, int], path: KeyPath) -> int:
    """As ``line_of``, for lines that were found before."""
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path, 1)


def nearest(key: str, model: type[BaseModel]) -> str:
    """A hint at the known key that an unknown one most resembles, or nothing."""
    close = difflib.get_close_matches(key, list(_known_keys(model)), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _known_keys(model: type[BaseModel]) -> Iterator[str]:
    for name, known in model.model_fields.items():
        yield known.alias or name
        for kind in (known.annotation, *getattr(known.annotation, "__args__", ())):
            if isinstance(kind, type) and issubclass(kind, BaseModel) and kind is not model:
                yield from _known_keys(kind)


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
