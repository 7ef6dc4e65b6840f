"""Code tables of edXML and the forms of its identifiers: document types, small code lists, agency and document codes.

The tables stand in ``tables.toml``, each row with its source and how sure it is; they are read once, when first asked
for. Nothing here judges: what an axis allows is in its profile.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
import uuid
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from lienthong.edxml.codes import is_document_triple
from lienthong.errors import ContentError
from lienthong.model import document_id

Confidence = Literal["V", "S", "I", "M"]
"""V read in the law, S seen in the field, I inferred, M from memory."""
CodeList = Literal["priority", "steering", "paper", "business", "receiver", "status", "competence", "copy"]
AgencyCodeForm = Literal["old", "new", "irregular", ""]
DocumentIdForm = Literal["triple", "year-number", "uuid", "free"]

NODE_MARK = "W00"
"""The group that tells a connected system's code from an agency's (field notes)."""

_TONES = "\u0300\u0301\u0303\u0309\u0323"
_DASHES = re.compile("[\u2010-\u2015\u2212\ufe58\ufe63\uff0d]")
_AROUND_DASH = re.compile(r" ?- ?")
_SYLLABLE = re.compile(r"(?:[^\W\d_][\u0300-\u036f]*)+")
_BLANKS = str.maketrans("()", "  ")
_LONGEST_AGENCY_CODE = 35
_AGENCY_CODE = re.compile(r"[0-9A-Za-z]+(?:\.[0-9A-Za-z]+)*", re.ASCII)
_OLD_AGENCY_CODE = re.compile(r"[0-9]{3}\.[0-9]{2}\.[0-9]{2}\.[A-Z][0-9]{2}", re.ASCII)
_HIGHEST_LEVEL = re.compile(r"[A-Z][0-9]{2}", re.ASCII)
_YEAR_NUMBER = re.compile(r"[0-9A-Za-z.]+-\d{4}-\d+", re.ASCII)
_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, kw_only=True, slots=True)
class DocumentType:
    """One row of a document table. ``type_code`` 1 is table A (legal), 2 table B (administrative).

    ``row`` 0: Decree 30/2020 has the type, the table of QCVN 102 has not. ``abbreviation``: Decree 30 App. III, or "".
    """

    name: str
    type_code: int
    row: int
    abbreviation: str
    confidence: Confidence
    source: str
    aliases: tuple[str, ...] = ()

    @property
    def table(self) -> Literal["A", "B"]:
        return "A" if self.type_code == 1 else "B"


@dataclass(frozen=True, kw_only=True, slots=True)
class TypeMatch:
    """The types that a name can mean: several when both tables have it (Quyết định), none when it is not known.

    ``loose``: found only after all diacritics were taken off, so a person should look.
    """

    types: tuple[DocumentType, ...] = ()
    loose: bool = False

    def prefer(self, type_code: int) -> DocumentType | None:
        """The type of that table, otherwise of the administrative one, which axes assume; None when nothing matched."""
        by_table = {found.type_code: found for found in self.types}
        return by_table.get(type_code) or by_table.get(2) or next(iter(self.types), None)


@dataclass(frozen=True, kw_only=True, slots=True)
class CodeRow:
    """One value of a small code list, with its Vietnamese name."""

    value: str
    name: str
    confidence: Confidence


# --- tables -----------------------------------------------------------------------------------------------------------


@cache
def _tables() -> dict[str, Any]:
    return tomllib.loads(files("lienthong.edxml").joinpath("tables.toml").read_text("utf-8"))


@cache
def document_types() -> tuple[DocumentType, ...]:
    """Table A, then table B, in the order of their rows."""
    return tuple(
        DocumentType(
            name=row["names"][0],
            aliases=tuple(row["names"][1:]),
            type_code=table["type"],
            row=row["row"],
            abbreviation=row.get("abbreviation", ""),
            confidence=row["confidence"],
            source=table["source"],
        )
        for table in _tables()["document"].values()
        for row in table["rows"]
    )


def find_type(name: str) -> TypeMatch:
    """Look a document type up by its name, whatever its case, Unicode form, blanks, dashes and place of tone marks."""
    if found := _types_by_key().get(type_key(name), ()):
        return TypeMatch(types=found)
    alike = _types_by_bare_key().get(_bare(type_key(name)), ())
    return TypeMatch(types=alike, loose=bool(alike))


def type_at(type_code: int, row: int) -> DocumentType | None:
    """The type of a table's row (``Type``, ``TypeDetail``)."""
    return next((each for each in document_types() if (each.type_code, each.row) == (type_code, row) and row), None)


def type_key(name: str) -> str:
    """Names with one key are one name: *hoà* and *hòa*, any case, NFC or NFD, any dash, blanks and parentheses."""
    plain = _DASHES.sub("-", unicodedata.normalize("NFD", name.casefold())).translate(_BLANKS)
    return _SYLLABLE.sub(_tones_last, _AROUND_DASH.sub("-", " ".join(plain.split())))


def _tones_last(syllable: re.Match[str]) -> str:
    letters = "".join(letter for letter in syllable[0] if letter not in _TONES)
    return letters + "".join(letter for letter in syllable[0] if letter in _TONES)


def _bare(key: str) -> str:
    return "".join(letter for letter in key if not unicodedata.combining(letter)).replace("đ", "d")


@cache
def _types_by_key() -> dict[str, tuple[DocumentType, ...]]:
    found: dict[str, tuple[DocumentType, ...]] = {}
    for each in document_types():
        for key in dict.fromkeys(map(type_key, (each.name, *each.aliases))):
            found[key] = (*found.get(key, ()), each)
    return found


@cache
def _types_by_bare_key() -> dict[str, tuple[DocumentType, ...]]:
    found: dict[str, tuple[DocumentType, ...]] = {}
    for key, types in _types_by_key().items():
        found[_bare(key)] = tuple(dict.fromkeys((*found.get(_bare(key), ()), *types)))
    return found


@cache
def code_rows(code_list: CodeList) -> tuple[CodeRow, ...]:
    """A small code list in its own order."""
    return tuple(CodeRow(**row) for row in _tables()["code"][code_list]["rows"])


def code_name(code_list: CodeList, value: str | int) -> str:
    """The Vietnamese name of a value; empty when the list does not have it."""
    return next((row.name for row in code_rows(code_list) if row.value == str(value)), "")


def competence_row(text: str) -> CodeRow | None:
    """The abbreviation that a ``Competence`` begins with: builders append the office (``TL. BỘ TRƯỞNG``)."""
    begins, _, _ = text.strip().upper().partition(" ")
    first = begins.partition(".")[0]
    return next((row for row in code_rows("competence") if row.value == f"{first}."), None)


# --- agency codes -----------------------------------------------------------------------------------------------------


def agency_code_form(code: str) -> AgencyCodeForm:
    """Which rule a code follows.

    ``old``: 13 characters, four groups, lowest level first (``000.00.13.H53``; QCVN 102:2016). ``new``: at most 35
    characters, capitals and digits, highest level first (``H37.DN.001``; Decision 20/2020 Art. 4), or an enterprise's
    registration number (Art. 5). ``irregular``: neither, but seen in the field (``28.22.H17``). Empty: no agency code.
    """
    if len(code) > _LONGEST_AGENCY_CODE or not _AGENCY_CODE.fullmatch(code):
        return ""
    if _OLD_AGENCY_CODE.fullmatch(code):
        return "old"
    highest_last = _HIGHEST_LEVEL.fullmatch(code.rpartition(".")[2])
    highest_first = _HIGHEST_LEVEL.fullmatch(code.partition(".")[0])
    return "irregular" if code != code.upper() or (highest_last and not highest_first) else "new"


def agency_levels(code: str) -> tuple[str, ...]:
    """The groups of a code, highest level first, without the unused levels of the old form."""
    groups = code.split(".") if agency_code_form(code) else []
    if groups and _HIGHEST_LEVEL.fullmatch(groups[-1]) and not _HIGHEST_LEVEL.fullmatch(groups[0]):
        groups.reverse()
        while len(groups) > 1 and not groups[-1].strip("0"):
            groups.pop()
    return tuple(groups)


def is_node_code(code: str) -> bool:
    """Whether a code names a connected system and not an agency (``00.53.W00``)."""
    return NODE_MARK in code.upper().split(".")


# --- document codes ---------------------------------------------------------------------------------------------------


def document_id_form(value: str) -> DocumentIdForm:
    """``organ,yyyy/MM/dd,number/notation``, ``organ-year-number``, a UUID, or anything else."""
    if is_document_triple(value):
        return "triple"
    if _UUID.fullmatch(value):
        return "uuid"
    return "year-number" if _YEAR_NUMBER.fullmatch(value) else "free"


def make_document_id(
    form: DocumentIdForm, *, sender: str, promulgated: date, number: str, notation: str, seed: str
) -> str:
    """A document code in a form; the same values give the same code.

    ``year-number`` is the form of Decision 28/2018 Art. 10.2b as one document system writes it. It is unique only
    where one sequence of numbers serves all types of the agency. ``seed`` makes a UUID: it must be unique per document.

    :raises ContentError: the values cannot make that form (a comma in the code, a number that is no number)
    """
    made = {
        "triple": document_id(sender, promulgated, f"{number}/{notation}"),
        "year-number": f"{sender}-{promulgated.year:04}-{number}",
        "uuid": str(uuid.uuid5(uuid.NAMESPACE_OID, seed)),
    }.get(form, "")
    if form == "free" or document_id_form(made) != form:
        raise ContentError("packet.document-id-form", where="MessageHeader/DocumentId", document_id=made, form=form)
    return made
