"""What the letters say: a fictional province's correspondence of 2026, as documents and as an office's metadata.

Agencies are named by role, so that a caller can give the roles any codes: ``tinh`` (provincial People's Committee),
``so`` (department), ``xa`` (commune) and ``la`` (an agency that no directory knows).
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any, Literal

from lienthong.errors import ContentError
from lienthong.model import (
    Business,
    Change,
    Document,
    DocumentReference,
    Organization,
    Priority,
    Replacement,
    Signer,
    document_id,
)

Scenario = Literal[
    "ordinary",
    "urgent",
    "flash",
    "invitation",
    "attachments",
    "reply",
    "proposal",
    "notice",
    "decision",
    "recalled",
    "recall",
    "changed",
    "update",
    "replace",
    "secret",
    "unknown-recipient",
    "tampered",
]

_PRIORITIES = {
    "thuong": Priority.NORMAL,
    "khan": Priority.URGENT,
    "thuong-khan": Priority.VERY_URGENT,
    "hoa-toc": Priority.FLASH,
}
# Hỏa tốc hẹn giờ is a legacy level; Decree 30/2020 and the office's vocabulary end at hỏa tốc.
_PRIORITY_WORDS = {**{level: word for word, level in _PRIORITIES.items()}, Priority.FLASH_TIMED: "hoa-toc"}
_MEDIA_TYPES = {"pdf": "application/pdf", "csv": "text/csv", "txt": "text/plain"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Agency:
    """An issuer as its letters print it. ``superior`` stands above ``printed`` in regular weight, if there is one."""

    organization: Organization
    printed: tuple[str, ...]
    superior: str = ""
    place: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Attachment:
    """A file that goes with a letter: a table (``columns``, ``rows``) or, for ``txt``, ``lines`` below its title.

    ``widths`` are the shares of the columns in the printed table; empty means equal shares.
    """

    name: str
    kind: Literal["pdf", "csv", "txt"]
    title: str
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    widths: tuple[float, ...] = ()
    lines: tuple[str, ...] = ()

    @property
    def media_type(self) -> str:
        return _MEDIA_TYPES[self.kind]


@dataclass(frozen=True, kw_only=True, slots=True)
class Letter:
    """One letter. ``sender`` and ``recipients`` are roles; ``responds_to`` and ``concerns`` are keys of other letters.

    ``subject`` is the trích yếu as printed, with its "V/v" or "Về việc". ``greeting`` is the lead ("Kính gửi") of the
    lines in ``salutation``. The first characters of a paragraph in ``body`` set it: ``"# "`` bold line, ``"= "`` bold,
    centred, ``"> "`` italic. ``scenario`` says what the letter is for in the demo; nothing of it is printed or sent.
    """

    key: str
    scenario: Scenario = "ordinary"
    sender: str
    recipients: tuple[str, ...]
    number: str
    notation: str
    promulgated: date
    type_name: str
    subject: str
    greeting: str = "Kính gửi"
    salutation: tuple[str, ...] = ()
    body: tuple[str, ...]
    to_places: tuple[str, ...]
    signer: Signer
    priority: Priority = Priority.NORMAL
    due: date | None = None
    attachments: tuple[Attachment, ...] = ()
    secrecy: str = ""
    responds_to: str = ""
    business: Business = Business.NEW
    reason: str = ""
    concerns: str = ""

    @property
    def code(self) -> str:
        """Số, ký hiệu in one string."""
        return f"{self.number}/{self.notation}"

    @property
    def main_name(self) -> str:
        """The name of the main file."""
        return f"{self.number}-{self.notation}.pdf"


@cache
def letters() -> Mapping[str, Letter]:
    """All letters by key, in the order of their dates."""
    tables = _catalogue()["letters"]
    return MappingProxyType({key: _letter(key, dict(table)) for key, table in tables.items()})


@cache
def agencies() -> Mapping[str, Agency]:
    """The issuers by role, with the codes that they have when the caller has none of its own."""
    return MappingProxyType({role: _agency(dict(table)) for role, table in _catalogue()["agencies"].items()})


def letter_of(key: str) -> Letter:
    """One letter.

    :raises ContentError: no letter has this key
    """
    try:
        return letters()[key]
    except KeyError:
        raise ContentError("letters.unknown-key", where=key, known=", ".join(letters())) from None


def issuer_of(letter: Letter) -> Agency:
    """The agency that prints the letter.

    :raises ContentError: the letters know no agency in this role
    """
    try:
        return agencies()[letter.sender]
    except KeyError:
        raise _no_agency(letter.key, letter.sender) from None


def as_document(letter: Letter, organizations: Mapping[str, Organization]) -> Document:
    """The letter as a document without parts. ``organizations`` maps roles to agencies; ``la`` need not be in it.

    :raises ContentError: the letter names a role that ``organizations`` lacks, or a letter that does not exist
    """
    sender = _organization(letter, letter.sender, organizations)
    return Document(
        sender=sender,
        recipients=tuple(_organization(letter, role, organizations) for role in letter.recipients),
        document_id=document_id(sender.code, letter.promulgated, letter.code),
        number=letter.number,
        notation=letter.notation,
        promulgated=letter.promulgated,
        subject=letter.subject,
        place=issuer_of(letter).place,
        type_name=letter.type_name,
        signer=letter.signer,
        due=letter.due,
        priority=letter.priority,
        responds_to=_references(letter, organizations),
        to_places=letter.to_places,
        change=_change(letter, organizations),
        secrecy=letter.secrecy,
    )


def as_metadata(letter: Letter, organizations: Mapping[str, Organization]) -> dict[str, object]:
    """The letter as the JSON metadata file of a drop-folder office. Dates are ISO 8601; what is not known is empty.

    :raises ContentError: as ``as_document``
    """
    document = as_document(letter, organizations)
    concerned = _referenced(letter.concerns, organizations)
    return {
        "from": document.sender.code,
        "to": [recipient.code for recipient in document.recipients],
        "number": letter.number,
        "notation": letter.notation,
        "date": letter.promulgated.isoformat(),
        "type": letter.type_name,
        "subject": letter.subject,
        "signer": {
            "name": letter.signer.full_name,
            "position": letter.signer.position,
            "competence": letter.signer.competence,
        },
        "priority": _PRIORITY_WORDS[letter.priority],
        "secrecy": letter.secrecy,
        "due": letter.due.isoformat() if letter.due else None,
        "responds_to": [_reference_metadata(reference) for reference in document.responds_to],
        "to_places": list(letter.to_places),
        "main": letter.main_name,
        "attachments": [attachment.name for attachment in letter.attachments],
        "business": letter.business.name.lower(),
        "reason": letter.reason,
        "concerns": concerned.document_id if concerned else "",
    }


def _organization(letter: Letter, role: str, organizations: Mapping[str, Organization]) -> Organization:
    if role in organizations:
        return organizations[role]
    if role == "la":
        return agencies()[role].organization
    raise _no_agency(letter.key, role)


def _no_agency(key: str, role: str) -> ContentError:
    return ContentError("letters.unknown-role", where=key, role=role)


def _referenced(key: str, organizations: Mapping[str, Organization]) -> DocumentReference | None:
    if not key:
        return None
    other = letter_of(key)
    organ = _organization(other, other.sender, organizations).code
    return DocumentReference(
        organ=organ,
        code=other.code,
        promulgated=other.promulgated,
        document_id=document_id(organ, other.promulgated, other.code),
    )


def _references(letter: Letter, organizations: Mapping[str, Organization]) -> tuple[DocumentReference, ...]:
    reference = _referenced(letter.responds_to, organizations)
    return (reference,) if reference else ()


def _reference_metadata(reference: DocumentReference) -> dict[str, str]:
    return {
        "organ": reference.organ,
        "code": reference.code,
        "date": reference.promulgated.isoformat() if reference.promulgated else "",
        "document_id": reference.document_id,
    }


def _change(letter: Letter, organizations: Mapping[str, Organization]) -> Change:
    concerned = _referenced(letter.concerns, organizations)
    if concerned is None:
        return Change()
    if letter.business is Business.REPLACE:
        organs = tuple(_organization(letter, role, organizations).code for role in letter.recipients)
        replaced = Replacement(document_id=concerned.document_id, organs=organs)
        return Change(kind=letter.business, reason=letter.reason, replaces=(replaced,))
    return Change(
        kind=letter.business,
        reason=letter.reason,
        document_id=concerned.document_id,
        content_changed=letter.business is Business.UPDATE,
    )


@cache
def _catalogue() -> dict[str, dict[str, dict[str, Any]]]:
    return tomllib.loads(files(__package__).joinpath("letters.toml").read_text("utf-8"))


def _letter(key: str, table: dict[str, Any]) -> Letter:
    return Letter(
        key=key,
        signer=Signer(**table.pop("signer")),
        priority=_PRIORITIES[table.pop("priority", "thuong")],
        business=Business[table.pop("business", "new").upper()],
        attachments=tuple(Attachment(**_frozen(one)) for one in table.pop("attachments", [])),
        **_frozen(table),
    )


def _agency(table: dict[str, Any]) -> Agency:
    page = _frozen({name: table.pop(name) for name in ("printed", "superior", "place") if name in table})
    return Agency(organization=Organization(**table), **page)


def _frozen(table: dict[str, Any]) -> dict[str, Any]:
    return {name: _tuples(value) for name, value in table.items()}


def _tuples(value: Any) -> Any:
    return tuple(_tuples(one) for one in value) if isinstance(value, list) else value
