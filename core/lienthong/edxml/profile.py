"""What axes and provinces disagree about: how a packet is written, and what counts as wrong in one.

A profile is a TOML file. ``qcvn102`` is the default and writes what every known receiver accepts; ``strict`` takes the
narrowest reading of every source; ``lenient`` is for judging what others send. A province's own file changes a few keys
of one of them::

    extends = "qcvn102"             # the default; or another file, relative to this one

    [write]
    zip_parts = true

    [severity]
    "ENV-14" = "off"

Tables are joined key by key with those of the profile that is extended; a list replaces the whole list.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from lienthong.edxml.codes import KNOWN_CHILDREN, key_of
from lienthong.edxml.tables import type_key
from lienthong.errors import ConfigError
from lienthong.tomltext import KeyPath, key_lines, nearest, nearest_line

DEFAULT_PROFILE = "qcvn102"
RULE_IDS = frozenset({*(f"ENV-{number:02}" for number in range(1, 28)), "SIG-18", "SIG-19"})
"""The rules about packets that a profile may weaken or strengthen."""

_LONGEST_CHAIN = 8

ALWAYS = frozenset(
    {
        *("OrganizationInCharge", "OrganName", "OrganAdd", "Email", "Telephone", "Fax", "Website"),
        *("PromulgationInfo/Place", "TypeName", "Content", "Competence", "Position", "FullName"),
        *("SphereOfPromulgation", "TyperNotation", "BussinessDocReason"),
        *("ResponseFor/OrganId", "ResponseFor/Code", "ResponseFor/DocumentId"),
        *("Department", "Staff", "Mobile", "Description", "AttachmentName", "ContentType"),
    }
)
"""Optional elements that stand even when they are empty, as ``Name`` or ``Parent/Name``.

One axis fails when OrganAdd, Content, DocumentId, TypeName or OrganName is missing (vendor field notes); the SDK's own
samples have all of them.
"""

OPTIONAL = ALWAYS | {
    *("Bussiness/DocumentId", "BussinessDocumentInfo", "ReceiverList", "ReplacementInfoList", "OrganIdList"),
    *("DueDate", "PromulgationAmount", "PageAmount", "Appendixes", "ToPlaces", "PromulgationDate", "SignerInfo"),
}
"""Every element that may be left out when it is empty, and so may be named in ``always``."""

TypeCodes = Literal["as-given", "table", "row"]
WrittenIdForm = Literal["any", "triple", "year-number", "uuid"]


class Severity(StrEnum):
    """How much a broken rule matters; ``off``: it is not told."""

    ERROR = "error"
    WARNING = "warning"
    OFF = "off"


@dataclass(frozen=True, kw_only=True, slots=True)
class TypeNumbers:
    """What stands in ``Type`` and ``TypeDetail`` for the document type of this name."""

    name: str
    type_code: int
    detail: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class WriteProfile:
    """How packets are written where receivers disagree (vendor field notes).

    ``cid_in_both``: ``cid:`` stands in the attachment too, not in the manifest alone. ``zip_parts``: every part that is
    not a zip by name travels as a zip of one file. ``always``: see ``ALWAYS``. ``type_codes``: ``as-given`` writes the
    document's own numbers, ``table`` the table (1 or 2) and the row in it, ``row`` the row as ``Type``; ``types`` wins
    over all three. ``document_id_form``: the only form that the axis takes. ``trace_attributes``: attributes of
    ``TraceHeaderList``.
    """

    cid_in_both: bool = True
    zip_parts: bool = False
    always: frozenset[str] = ALWAYS
    type_codes: TypeCodes = "as-given"
    types: tuple[TypeNumbers, ...] = ()
    document_id_form: WrittenIdForm = "any"
    trace_attributes: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class PacketProfile:
    """How packets are written and judged.

    ``severities``: by rule id, where it differs from the rule's own. ``lengths``: most characters by the element's path
    (``From/OrganName``; below ``MessageHeader``, or elsewhere from the parent on). ``type_values``, ``priorities``,
    ``steering_values``: what ``Type``, ``Priority`` and ``SteeringType`` may hold. ``clock_skew_seconds``: how far a
    peer's clock may be ahead. ``extra_types``: names of document types beyond the tables.
    """

    name: str
    title: str
    write: WriteProfile = field(default_factory=WriteProfile)
    severities: Mapping[str, Severity]
    lengths: Mapping[str, int]
    max_packet_bytes: int
    type_values: frozenset[int]
    priorities: frozenset[int]
    steering_values: frozenset[int]
    clock_skew_seconds: int
    extra_types: tuple[str, ...]


# --- the form of the file ---------------------------------------------------------------------------------------------


def _known_rule(rule: str) -> str:
    if rule not in RULE_IDS:
        raise ValueError("there is no such rule (ENV-01 to ENV-27, SIG-18, SIG-19)")
    return rule


def _known_path(path: str) -> str:
    names = [key_of(name) for name in path.split("/")]
    known_below = [{name for children in KNOWN_CHILDREN.values() for name in children}]
    known_below += [set(KNOWN_CHILDREN.get(name, ())) for name in names[:-1]]
    if any(name not in known for name, known in zip(names, known_below, strict=True)):
        raise ValueError("the packet format has no such element (write Parent/Name)")
    return path


def _optional_element(name: str) -> str:
    if name not in OPTIONAL:
        raise ValueError(f"no optional element; known: {', '.join(sorted(OPTIONAL))}")
    return name


def _distinct_names(types: dict[str, _TypeKeys]) -> dict[str, _TypeKeys]:
    if len({type_key(name) for name in types}) < len(types):
        raise ValueError("two of the names mean one document type")
    return types


class _Keys(BaseModel):
    # TOML has types of its own: "1" for 1 is a mistake of whoever wrote the file.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class _TypeKeys(_Keys):
    type: int = Field(ge=0, le=999)
    detail: int = Field(0, ge=-1, le=999)


class _WriteKeys(_Keys):
    cid_in_both: bool
    zip_parts: bool
    always: list[Annotated[str, AfterValidator(_optional_element)]]
    type_codes: TypeCodes
    types: Annotated[dict[str, _TypeKeys], AfterValidator(_distinct_names)]
    document_id_form: WrittenIdForm
    trace_attributes: dict[Literal["id", "version", "mustUnderstand", "actor"], str]


class _ValueKeys(_Keys):
    document_type: list[int] = Field(min_length=1)
    priority: list[int] = Field(min_length=1)
    steering: list[int] = Field(min_length=1)
    extra_types: list[str]


class _LimitKeys(_Keys):
    max_packet_bytes: int = Field(gt=0)
    clock_skew_seconds: int = Field(ge=0)


class _ProfileKeys(_Keys):
    title: str = Field(min_length=1)
    extends: str = DEFAULT_PROFILE
    write: _WriteKeys
    values: _ValueKeys
    limits: _LimitKeys
    severity: dict[Annotated[str, AfterValidator(_known_rule)], Literal["error", "warning", "off"]]
    length: dict[Annotated[str, AfterValidator(_known_path)], Annotated[int, Field(gt=0)]]


# --- reading it -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class _File:
    """One profile file: ``shown`` names it in errors, ``folder`` is where its relative paths begin."""

    shown: str
    folder: Path
    text: str
    values: dict[str, Any]


@cache
def profile_names() -> tuple[str, ...]:
    """The built-in profiles."""
    found = (entry.name for entry in files("lienthong.edxml").joinpath("profiles").iterdir())
    return tuple(sorted(name.removesuffix(".toml") for name in found if name.endswith(".toml")))


def load_profile(name_or_path: str) -> PacketProfile:
    """A built-in profile by its name, or a profile from a TOML file.

    A file extends ``qcvn102`` unless it says otherwise; with ``extends = ""`` it must hold every key itself.

    :raises ConfigError: with file:line and key of every mistake; no such profile; profiles that extend each other
    """
    chain = [_file(name_or_path, Path())]
    while extended := _extended(chain[-1]):
        if len(chain) == _LONGEST_CHAIN:
            raise ConfigError("packet.profile-circle", where=chain[-1].shown, extended=extended)
        chain.append(_file(extended, chain[-1].folder))
    values: dict[str, Any] = {}
    for file in reversed(chain):
        values = _joined(values, file.values)
    name = name_or_path if name_or_path in profile_names() else Path(name_or_path).stem
    return _profile(name, _complete(chain[0], values))


def _file(name_or_path: str, folder: Path) -> _File:
    """Read one file and check its own keys; what it leaves out is its base's."""
    if name_or_path in profile_names():
        entry = files("lienthong.edxml").joinpath("profiles", f"{name_or_path}.toml")
        file = _parsed(f"profiles/{name_or_path}.toml", Path(), entry.read_text("utf-8"))
    elif name_or_path.endswith(".toml"):
        path = folder / name_or_path
        file = _parsed(str(path), path.parent, _text(path))
    else:
        known = ", ".join(profile_names())
        raise ConfigError("packet.profile-unknown", where=str(folder), profile=name_or_path, known=known)
    _refuse_mistakes(file)
    return file


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8-sig")
    except (OSError, ValueError) as problem:
        raise ConfigError("packet.profile-unreadable", where=str(path), reason=problem) from problem


def _parsed(shown: str, folder: Path, text: str) -> _File:
    try:
        return _File(shown=shown, folder=folder, text=text, values=tomllib.loads(text))
    except RecursionError as problem:
        raise ConfigError("packet.profile-syntax", where=shown, reason="nested too deeply") from problem
    except ValueError as problem:
        raise ConfigError("packet.profile-syntax", where=shown, reason=problem) from problem


def _extended(file: _File) -> str:
    """What a file extends; the default profile stands on its own."""
    base = "" if file.shown == f"profiles/{DEFAULT_PROFILE}.toml" else DEFAULT_PROFILE
    return str(file.values.get("extends", base))


def _joined(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    joined = {**base, **changes}
    for name in base.keys() & changes.keys():
        if isinstance(base[name], dict):
            joined[name] = _joined(base[name], changes[name])
    return joined


def _refuse_mistakes(file: _File) -> None:
    """What a file leaves out is no mistake: its base has it."""
    try:
        _ProfileKeys.model_validate(file.values)
    except ValidationError as problem:
        found = [(path, what) for path, what, kind in _complaints(problem) if kind != "missing" or len(path) > 2]
        if found:
            raise _invalid(file, found) from None


def _complete(file: _File, values: dict[str, Any]) -> _ProfileKeys:
    try:
        return _ProfileKeys.model_validate(values)
    except ValidationError as problem:
        raise _invalid(file, [(path, what) for path, what, _ in _complaints(problem)]) from None


def _complaints(problem: ValidationError) -> Iterator[tuple[KeyPath, str, str]]:
    """Each complaint with its key and its kind."""
    for complaint in problem.errors(include_url=False, include_input=False):
        path = tuple(step for step in complaint["loc"] if step != "[key]")
        kind = complaint["type"]
        hint = nearest(str(path[-1]), _ProfileKeys) if kind == "extra_forbidden" else ""
        yield path, complaint["msg"].removeprefix("Value error, ") + hint, kind


def _invalid(file: _File, mistakes: Iterable[tuple[KeyPath, str]]) -> ConfigError:
    lines = key_lines(file.text)
    placed = sorted((nearest_line(lines, path), ".".join(map(str, path)), what) for path, what in mistakes)
    shown = [f"{file.shown}:{line}: {key}: {what}" for line, key, what in placed]
    return ConfigError("packet.profile-invalid", mistakes="\n  ".join(shown), count=len(shown))


def _profile(name: str, keys: _ProfileKeys) -> PacketProfile:
    return PacketProfile(
        name=name,
        title=keys.title,
        write=_write_profile(keys.write),
        severities=MappingProxyType({rule: Severity(value) for rule, value in keys.severity.items()}),
        lengths=MappingProxyType(keys.length),
        max_packet_bytes=keys.limits.max_packet_bytes,
        type_values=frozenset(keys.values.document_type),
        priorities=frozenset(keys.values.priority),
        steering_values=frozenset(keys.values.steering),
        clock_skew_seconds=keys.limits.clock_skew_seconds,
        extra_types=tuple(keys.values.extra_types),
    )


def _write_profile(keys: _WriteKeys) -> WriteProfile:
    return WriteProfile(
        cid_in_both=keys.cid_in_both,
        zip_parts=keys.zip_parts,
        always=frozenset(keys.always),
        type_codes=keys.type_codes,
        types=tuple(TypeNumbers(name=n, type_code=t.type, detail=t.detail) for n, t in keys.types.items()),
        document_id_form=keys.document_id_form,
        trace_attributes=tuple(keys.trace_attributes.items()),
    )
