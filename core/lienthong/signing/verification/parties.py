"""Whom a certificate stands for: a person or an organisation (Decree 30/2020 Art. 5 asks for both on one document).

There is no common Vietnamese certificate profile that says it outright, so the evidence in the subject is weighed:

- an identity number with its kind in front, in UID or serialNumber: ``MST:``, ``MST_`` (tax code of an organisation),
  ``CCCD:``, ``CMND:``, ``CMT_``, ``HC:`` (papers of a person), as the public authorities write them;
- organizationIdentifier (X.520 2.5.4.97), which organisations have;
- surname or given name, which persons have;
- common name equal to the organisation's name: an organisation; an organisation beside another common name: a person
  who belongs to it, unless the common name begins as the names of agencies do.

Nothing of this, or both: ``UNKNOWN``.
"""

# asn1crypto and parts of pyHanko have no type annotations:
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.x509.oid import NameOID

from lienthong.model import Party, plain
from lienthong.signing.keys.credentials import holder_of
from lienthong.signing.verification.facts import SignatureFacts
from lienthong.signing.verification.reading import read_facts

__all__ = ["Party", "SignedParty", "Subject", "party_of", "signed_parties", "subject_of"]

_NUMBERED = re.compile(r"^(?P<kind>MST|MNS|CCCD|CMND|CMT|HC|HCD)\s*[:_]\s*(?P<number>[0-9A-Za-z.-]+)$", re.IGNORECASE)
_OF_ORGANIZATIONS = frozenset({"MST", "MNS"})
_AGENCY = re.compile(
    r"(ủy ban|uỷ ban|uy ban|ubnd|hđnd|hdnd|ubmttq|hội đồng|hoi dong nhan dan|bộ|sở|so noi vu|văn phòng|van phong|phòng"
    r"|ban|cục|chi cục|tổng cục|vụ|thanh tra|công an|trường|bệnh viện|trung tâm|trung tam|viện|tòa án|toà án|kho bạc"
    r"|bảo hiểm|hội|công ty|cong ty|tổng công ty|tập đoàn|chi nhánh|ngân hàng|đảng ủy|đảng uỷ|huyện ủy|tỉnh ủy)\s"
)
"""How names of agencies and organisations begin. Marks count: ``Vụ`` is a department and ``Vũ`` a family name."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What a certificate says of its holder. ``identifiers``: numbers such as ``MST:0100000000`` and agency codes."""

    holder: str
    party: Party
    organization: str = ""
    identifiers: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class SignedParty:
    """Who a signature field names. ``certificate`` is the signer's, DER."""

    field_name: str
    party: Party
    holder: str
    certificate: bytes


def party_of(certificate: bytes) -> Party:
    """Whom a certificate (DER) stands for; ``UNKNOWN`` also when it cannot be read."""
    return subject_of(certificate).party


def subject_of(certificate: bytes) -> Subject:
    """What a certificate (DER) says of its holder; all empty when it cannot be read."""
    try:
        parsed = x509.load_der_x509_certificate(certificate)
        name = parsed.subject
        common, organization = _first(name, NameOID.COMMON_NAME), _first(name, NameOID.ORGANIZATION_NAME)
        numbers = [*_all(name, NameOID.USER_ID), *_all(name, NameOID.SERIAL_NUMBER)]
        code = _first(name, NameOID.ORGANIZATION_IDENTIFIER)
        personal = bool(_first(name, NameOID.SURNAME) or _first(name, NameOID.GIVEN_NAME))
    except ValueError:
        return Subject(holder="", party=Party.UNKNOWN)
    party = _weighed(common, organization, numbers, bool(code), personal)
    return Subject(
        holder=holder_of(parsed),
        party=party,
        organization=organization or (common if party is Party.ORGANIZATION else ""),
        identifiers=tuple(dict.fromkeys(number for number in (code, *numbers) if number)),
    )


def signed_parties(path: Path) -> tuple[SignedParty, ...]:
    """Who signed a PDF, in signing order, document timestamps left out. Says nothing about any signature's validity.

    :raises StoreError: the file cannot be read from disk
    """
    return tuple(_party(facts) for facts in read_facts(path).signatures if not facts.document_timestamp)


def _party(facts: SignatureFacts) -> SignedParty:
    certificate = facts.certificates[0] if facts.certificates else b""
    subject = subject_of(certificate)
    return SignedParty(field_name=facts.field_name, party=subject.party, holder=subject.holder, certificate=certificate)


def _weighed(common: str, organization: str, numbers: list[str], has_code: bool, personal: bool) -> Party:
    found = (match["kind"].upper() for number in numbers if (match := _NUMBERED.match(number.strip())))
    kinds = {Party.ORGANIZATION if kind in _OF_ORGANIZATIONS else Party.PERSON for kind in found}
    if Party.PERSON in kinds or personal:
        # An employee's certificate may carry the tax code of the employer beside the person's own number.
        return Party.PERSON
    if kinds or has_code:
        return Party.ORGANIZATION
    if _AGENCY.match(unicodedata.normalize("NFC", common).lower()):
        return Party.ORGANIZATION
    if not organization:
        return Party.UNKNOWN
    return Party.ORGANIZATION if not common or plain(common) == plain(organization) else Party.PERSON


def _first(name: x509.Name, kind: x509.ObjectIdentifier) -> str:
    return next(iter(_all(name, kind)), "")


def _all(name: x509.Name, kind: x509.ObjectIdentifier) -> list[str]:
    values = (attribute.value for attribute in name.get_attributes_for_oid(kind))
    return [value for value in values if isinstance(value, str)]
