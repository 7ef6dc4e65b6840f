"""Where a key stands in a TOML file: ``tomllib`` forgets the lines, and an error message needs them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence

from pydantic import BaseModel

_HEADER = re.compile(r"^\s*(\[\[?)\s*([^\[\]]+?)\s*\]\]?\s*(?:#.*)?$")
_KEY = re.compile(r"""^\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*=""")
_PIECE = re.compile(r"""[\w-]+|"[^"]*"|'[^']*'""")

Path = tuple[str | int, ...]


def line_of(text: str, path: Sequence[str | int]) -> int:
    """The line (from 1) of the longest known beginning of ``path``; 1 when nothing of it is there."""
    wanted, best, best_length = tuple(path), 1, 0
    for number, found in _positions(text):
        length = _shared(found, wanted)
        if length > best_length and length >= min(len(found), len(wanted)):
            best, best_length = number, length
    return best


def nearest(key: str, model: type[BaseModel]) -> str:
    """A hint at the known key that an unknown one most resembles, or nothing."""
    close = difflib.get_close_matches(key, list(_known_keys(model)), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _known_keys(model: type[BaseModel]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield field.alias or name
        for kind in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if isinstance(kind, type) and issubclass(kind, BaseModel) and kind is not model:
                yield from _known_keys(kind)


def _positions(text: str) -> Iterator[tuple[int, Path]]:
    table: Path = ()
    seen: dict[tuple[str, ...], int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.match(line):
            names = tuple(_pieces(header[2]))
            if header[1] == "[[":
                seen[names] = seen.get(names, -1) + 1
            table = _indexed(names, seen)
            yield number, table
        elif key := _KEY.match(line):
            path = (*table, *_pieces(key[1]))
            yield number, path
            yield from ((number, (*path, inner)) for inner in _inline_keys(line[key.end() :]))


def _indexed(names: tuple[str, ...], seen: dict[tuple[str, ...], int]) -> Path:
    path: list[str | int] = []
    for depth, name in enumerate(names, start=1):
        path.append(name)
        if names[:depth] in seen:
            path.append(seen[names[:depth]])
    return tuple(path)


def _pieces(dotted: str) -> Iterator[str]:
    return (piece.strip("\"'") for piece in _PIECE.findall(dotted))


def _inline_keys(value: str) -> Iterator[str]:
    if value.lstrip().startswith("{"):
        yield from re.findall(r"[{,]\s*([\w-]+)\s*=", value)


def _shared(found: Path, wanted: Path) -> int:
    length = 0
    for one, other in zip(found, wanted, strict=False):
        if one != other:
            break
        length += 1
    return length
