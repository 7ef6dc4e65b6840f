"""How two packets differ in what they say; bytes, order and spelling count as form. Pure: compares two views.

Recipients are the same when their codes are, answered documents when their ids are. Files are paired by name and
bytes, then by name, then by bytes, so that a renamed file is shown as renamed and a changed one as changed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from lienthong.edxml.inspecting import View

_MEANING = (
    "kind",
    "business",
    "document_id",
    "from",
    "code",
    "promulgation",
    "type",
    "type_code",
    "type_detail",
    "subject",
    "content",
    "signer",
    "due",
    "priority",
    "sphere",
    "typer_notation",
    "copies",
    "pages",
    "direction",
    "appendixes",
    "steering",
    "to_places",
    "paper",
    "change",
    "status",
    "usable",
)
_OF_A_PART = ("name", "role", "description", "detected_type", "size", "sha256")
_FORM_OF_A_PART = ("declared_type", "unzipped", "entry_name")
_IN_CHANGE = ("receivers", "replaces")
_NO_CHANGE: View = {
    "document_id": None,
    "reason": None,
    "content_changed": False,
    "receivers_changed": False,
    "receivers": [],
    "replaces": [],
    "staff": [],
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """One value that differs: ``field`` names it (``to[H07.11].name``), ``ours`` and ``theirs`` are None when absent.

    ``level``: whether the packets mean something different there, or only say it in another form.
    """

    field: str
    ours: Any
    theirs: Any
    level: Literal["meaning", "form"] = "meaning"


def differences(ours: View, theirs: View) -> tuple[Difference, ...]:
    """Everything in which two views differ: meaning first, each in the order of the views."""
    return (*_in_meaning(ours, theirs), *_in_form(ours, theirs))


def _in_meaning(ours: View, theirs: View) -> Iterator[Difference]:
    for name in _MEANING:
        yield from _compared(name, _plain(name, ours), _plain(name, theirs))
    for name, key in (("to", _recipient_key), ("response_for", _reference_key), ("foreign", _foreign_key)):
        yield from _compared(name, _keyed(ours[name], key), _keyed(theirs[name], key))
    yield from _compared("trace", _numbered(ours["trace"]), _numbered(theirs["trace"]))
    for name, mine, other in _pairs(ours["parts"], theirs["parts"]):
        yield from _compared(f"parts[{name}]", _of_part(mine), _of_part(other))


def _in_form(ours: View, theirs: View) -> Iterator[Difference]:
    for name in ("envelope_signature", "faults"):
        yield from _as_form(name, ours[name], theirs[name])
    for name, mine, other in _pairs(ours["parts"], theirs["parts"]):
        if mine and other:
            for field in _FORM_OF_A_PART:
                yield from _as_form(f"parts[{name}].{field}", mine[field], other[field])
    for name, key in (("to", _recipient_key), ("parts", _part_key)):
        yield from _order(name, [key(item) for item in ours[name]], [key(item) for item in theirs[name]])
    mine, other = _quirks(ours), _quirks(theirs)
    for quirk in dict.fromkeys((*mine, *other)):
        yield from _as_form(f"quirks[{quirk}]", mine.get(quirk), other.get(quirk))


def _compared(field: str, ours: Any, theirs: Any) -> Iterator[Difference]:
    if ours == theirs:
        return
    if not (isinstance(ours, dict) and isinstance(theirs, dict)):
        yield Difference(field=field, ours=ours, theirs=theirs)
        return
    for name in dict.fromkeys((*ours, *theirs)):
        step = name if name.startswith("[") else f".{name}"
        yield from _compared(f"{field}{step}", ours.get(name), theirs.get(name))


def _as_form(field: str, ours: Any, theirs: Any) -> Iterator[Difference]:
    if ours != theirs:
        yield Difference(field=field, ours=ours, theirs=theirs, level="form")


def _order(name: str, ours: list[str], theirs: list[str]) -> Iterator[Difference]:
    """The same things in another order."""
    if Counter(ours) == Counter(theirs):
        yield from _as_form(f"{name} (order)", ours, theirs)


def _plain(name: str, view: View) -> Any:
    value = view[name]
    if name != "change" or value is None:
        return value
    # A new document may leave the whole block out, or write it without saying anything.
    return None if value == _NO_CHANGE else value | {list_: _keyed(value[list_], _change_key) for list_ in _IN_CHANGE}


def _change_key(item: View) -> str:
    return item.get("organ_id") or item.get("document_id") or "?"


def _keyed(items: Sequence[View], key: Callable[[View], str]) -> View:
    """A list as a table by key; what has the same key is counted."""
    seen: Counter[str] = Counter()
    found: View = {}
    for item in items:
        name = key(item)
        seen[name] += 1
        found[f"[{name}]" if seen[name] == 1 else f"[{name} #{seen[name]}]"] = item
    return found


def _numbered(items: Sequence[View]) -> View:
    return {f"[{number}]": item for number, item in enumerate(items, 1)}


def _recipient_key(recipient: View) -> str:
    return recipient["organ_id"] or recipient["name"] or "?"


def _reference_key(reference: View) -> str:
    return reference["document_id"] or reference["code"] or reference["organ_id"] or "?"


def _foreign_key(element: View) -> str:
    return "/".join(filter(None, (element["parent"], element["name"])))


def _part_key(part: View) -> str:
    return f"{part['name']} {part['sha256']}"


def _of_part(part: View | None) -> View | None:
    if part is None:
        return None
    whole = {name: part[name] for name in _OF_A_PART}
    return whole if part["fault"] is None else whole | {"fault": part["fault"]["code"]}


def _pairs(ours: Sequence[View], theirs: Sequence[View]) -> list[tuple[str, View | None, View | None]]:
    """Every file of either side beside its twin of the other, by the name it goes under."""
    waiting = list(theirs)
    twins: dict[int, View] = {}
    for keys in (("name", "sha256"), ("name",), ("sha256",)):
        for position, part in enumerate(ours):
            found = None if position in twins else _alike(part, waiting, keys)
            if found is not None:
                twins[position] = found
                waiting = [other for other in waiting if other is not found]
    paired = [(part["name"], part, twins.get(position)) for position, part in enumerate(ours)]
    return [*paired, *((part["name"], None, part) for part in waiting)]


def _alike(part: View, others: Sequence[View], keys: Sequence[str]) -> View | None:
    return next((other for other in others if all(other[key] == part[key] for key in keys)), None)


def _quirks(view: View) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for quirk in view["quirks"]:
        found.setdefault(quirk["id"], []).append(f"{quirk['where']}: {quirk['detail']}".strip(": "))
    return found
