"""The words of the field as frozen types. No I/O happens here.

Glossary (English, Vietnamese):

agency          cơ quan               an organisation with a code (``OrganId``)
office          QLVB&ĐH, eOffice      the agency's own document system
axis            trục liên thông       what carries packets between agencies
connection      kết nối               one configured use of a plugin, in a role: office, axis or signer
document        văn bản               metadata + parts + business kind
part            tệp của văn bản       the main file or one attachment
status report   trạng thái xử lý      business status 01..06, 13, 15, 16 about a document
message         thông điệp            a document or a status report
packet          gói tin               the edXML file that carries a message
delivery        lượt gửi              one message to one destination, with its own state
receipt         biên nhận             the peer's answer to a delivery, kept as bytes
acknowledgement xác nhận              telling a source that an item is safely stored, so that it may forget it
ledger          sổ theo dõi           append-only, hash-chained events
quarantine      cách ly               items that must not go on without a person

Times are aware datetimes; Vietnam time (+07:00) on every interface (Decision 28/2018 Art. 14.4).
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from enum import IntEnum, StrEnum

VIETNAM = timezone(timedelta(hours=7), "+07:00")


class Business(IntEnum):
    """What a document packet asks for (``BussinessDocType``; the element's spelling is the standard's)."""

    NEW = 0
    RECALL = 1
    UPDATE = 2
    REPLACE = 3


class Priority(IntEnum):
    """Urgency (độ khẩn): thường, khẩn, thượng khẩn, hỏa tốc, hỏa tốc hẹn giờ (4 is legacy)."""

    NORMAL = 0
    URGENT = 1
    VERY_URGENT = 2
    FLASH = 3
    FLASH_TIMED = 4


class StatusCode(StrEnum):
    """Business statuses of the packet-format layer (not of Decision 28 itself)."""

    ARRIVED = "01"
    REFUSED = "02"
    ACCEPTED = "03"
    ASSIGNED = "04"
    PROCESSING = "05"
    COMPLETED = "06"
    RECALL_REQUESTED = "13"
    CHANGE_AGREED = "15"
    CHANGE_DECLINED = "16"


class PartRole(StrEnum):
    MAIN = "main"
    ATTACHMENT = "attachment"


class MessageKind(StrEnum):
    """What a packet carries; the values are the axis's ``messagetype``."""

    DOCUMENT = "edoc"
    STATUS = "status"


@dataclass(frozen=True, kw_only=True, slots=True)
class Organization:
    """An agency as packets name it (eight organisation fields)."""

    code: str
    name: str = ""
    in_charge: str = ""
    address: str = ""
    email: str = ""
    telephone: str = ""
    fax: str = ""
    website: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Staff:
    """The person behind a status or a change (``StaffInfo``)."""

    name: str = ""
    department: str = ""
    mobile: str = ""
    email: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class DocumentReference:
    """How one packet points to a document (``ResponseFor``). ``code`` is ``number/notation`` in one string."""

    organ: str
    code: str = ""
    promulgated: date | None = None
    document_id: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """One file of a document. ``sha256`` (lower-case hex) names its bytes in the blob store; ``size`` in bytes."""

    role: PartRole
    name: str
    media_type: str
    size: int
    sha256: str
    description: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Signer:
    """Who signed, as the packet states it (``SignerInfo``)."""

    full_name: str = ""
    position: str = ""
    competence: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReceiverChange:
    """An update adds a receiver or takes one off (``ReceiverType`` 1 or 0)."""

    organ: str
    added: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Replacement:
    """One document that a replacing document replaces, and for whom."""

    document_id: str
    organs: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """What a recall, update or replacement says about an earlier document (the ``Bussiness`` block)."""

    kind: Business = Business.NEW
    reason: str = ""
    document_id: str = ""
    content_changed: bool = False
    receivers_changed: bool = False
    receivers: tuple[ReceiverChange, ...] = ()
    replaces: tuple[Replacement, ...] = ()
    staff: tuple[Staff, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class TraceHop:
    """One node that a packet passed, and when."""

    organ: str
    at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class ForeignElement:
    """An element of a packet that the format does not know, kept so that it survives reading and writing (ENV-22).

    ``parent``: where it stands, by local names below the root, with a position from the second of a name on
    (``edXMLEnvelope/edXMLHeader/MessageHeader/To[2]``); empty inside another foreign element. ``namespace`` is empty
    for the packet's own. ``text`` is the element's own text, without blanks around it. Attributes that have a namespace
    are named ``{namespace}name``.
    """

    name: str
    parent: str = ""
    namespace: str = ""
    text: str = ""
    attributes: tuple[tuple[str, str], ...] = ()
    children: tuple[ForeignElement, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """A document: metadata, parts and business kind."""

    sender: Organization
    recipients: tuple[Organization, ...]
    document_id: str
    number: str
    notation: str
    promulgated: date
    subject: str
    place: str = ""
    type_name: str = "Công văn"
    type_code: int = 2
    type_detail: int = 0
    content: str = ""
    signer: Signer = Signer()
    due: date | None = None
    priority: Priority = Priority.NORMAL
    sphere: str = ""
    typer_notation: str = ""
    copies: int | None = None
    pages: int | None = None
    direction: bool = False
    appendixes: tuple[str, ...] = ()
    responds_to: tuple[DocumentReference, ...] = ()
    steering: int = 0
    to_places: tuple[str, ...] = ()
    change: Change = Change()
    paper: bool = False
    """Whether paper follows (``Paper``)."""
    trace: tuple[TraceHop, ...] = ()
    parts: tuple[Part, ...] = ()
    foreign: tuple[ForeignElement, ...] = ()
    """What else the packet held (vendor extensions)."""
    secrecy: str = ""
    """Secrecy mark that the office states (mật, tối mật, tuyệt mật); such a document never leaves."""

    @property
    def code(self) -> str:
        """Số, ký hiệu in one string: ``number/notation``."""
        return f"{self.number}/{self.notation}"

    def reference(self) -> DocumentReference:
        return DocumentReference(
            organ=self.sender.code, code=self.code, promulgated=self.promulgated, document_id=self.document_id
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class StatusReport:
    """A business status about a document. It travels to ``about.organ``."""

    sender: Organization
    about: DocumentReference
    code: StatusCode
    at: datetime
    description: str = ""
    staff: Staff = Staff()
    foreign: tuple[ForeignElement, ...] = ()
    """What else the packet held (vendor extensions)."""


Message = Document | StatusReport


class Verdict(StrEnum):
    """What a signature check found; the reasons stand beside it."""

    VALID = "valid"
    INVALID = "invalid"
    UNTRUSTED = "untrusted"
    UNSIGNED = "unsigned"


class SignatureLevel(StrEnum):
    """How much a PAdES signature proves by itself (ETSI EN 319 142-1 clause 6.1), from least to most."""

    BASIC = "B-B"
    TIMESTAMPED = "B-T"
    LONG_TERM = "B-LT"
    ARCHIVE = "B-LTA"

    def reaches(self, other: SignatureLevel) -> bool:
        """Whether this level proves at least what ``other`` does."""
        order = list(SignatureLevel)
        return order.index(self) >= order.index(other)


class Party(StrEnum):
    """Whom a certificate stands for. ``UNKNOWN``: what it says of its holder does not decide."""

    PERSON = "person"
    ORGANIZATION = "organization"
    UNKNOWN = "unknown"


class TimeSource(StrEnum):
    """What a signature's time rests on: an authority's timestamp in the signature, a later one over the whole document,
    or nothing but the signer's own statement."""

    SIGNATURE_TIMESTAMP = "signature-timestamp"
    DOCUMENT_TIMESTAMP = "document-timestamp"
    STATED = "stated"
    NONE = "none"

    @property
    def proven(self) -> bool:
        return self in (TimeSource.SIGNATURE_TIMESTAMP, TimeSource.DOCUMENT_TIMESTAMP)


class RevocationStatus(StrEnum):
    """Whether the signer's certificate was revoked at the time that counts.

    ``UNKNOWN``: whoever should say did not. ``NOT_OFFERED``: the certificate names nobody to ask. ``NOT_CHECKED``: the
    configuration does not ask, or the check did not come that far.
    """

    GOOD = "good"
    REVOKED = "revoked"
    UNKNOWN = "unknown"
    NOT_OFFERED = "not-offered"
    NOT_CHECKED = "not-checked"


@dataclass(frozen=True, kw_only=True, slots=True)
class SignatureFinding:
    """One signature of a file, or one timestamp over a document.

    ``reasons`` are stable codes such as ``modified-after-signing`` that lead to the verdict; ``notes`` are codes that a
    clerk should read and that change no verdict. ``signed_at`` is the time that the check believed, ``stated_at`` what
    the signer wrote. ``organization`` and ``identifiers`` (``MST:...``, codes) are what the certificate says of its
    holder; ``chain`` names the certificates from the signer to the root. ``revocation_by``: ``ocsp`` or ``crl``, and
    ``embedded`` or ``fetched``. ``coverage``: ``file``, ``revision`` or ``partial``; ``changes``: what came after the
    signature, ``none``, ``permitted`` or ``forbidden``. ``algorithms``: digest, kind of key, its bits.
    """

    field_name: str
    signer: str
    verdict: Verdict
    reasons: tuple[str, ...] = ()
    signed_at: datetime | None = None
    certificate_serial: str = ""
    timestamp: bool = False
    party: Party = Party.UNKNOWN
    organization: str = ""
    identifiers: tuple[str, ...] = ()
    level: SignatureLevel | None = None
    format: str = ""
    time_source: TimeSource = TimeSource.NONE
    stated_at: datetime | None = None
    chain: tuple[str, ...] = ()
    revocation: RevocationStatus = RevocationStatus.NOT_CHECKED
    revocation_by: str = ""
    revoked_at: datetime | None = None
    coverage: str = ""
    changes: str = ""
    algorithms: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class FileVerification:
    """All signatures of one part. The whole is as good as its worst signature; no signature is ``unsigned``."""

    part: str
    verdict: Verdict
    signatures: tuple[SignatureFinding, ...] = ()


class Direction(StrEnum):
    OUT = "out"
    IN = "in"


def document_id(sender: str, promulgated: date, code: str) -> str:
    """The document code in the triple form that every known axis client can read: ``organ,yyyy/MM/dd,number/notation``.

    Source: SDK samples; ids without three comma parts crash some .NET receivers (vendor field notes).
    """
    return f"{sender},{promulgated:%Y/%m/%d},{code}"


_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def mint_id(now: datetime, entropy: bytes) -> str:
    """A 26-character, time-sortable identifier (ULID layout: 48 bits of milliseconds, 80 bits of entropy)."""
    value = (int(now.timestamp() * 1000) << 80) | int.from_bytes(entropy[:10], "big")
    return "".join(_CROCKFORD[(value >> shift) & 31] for shift in range(125, -1, -5))


def plain(text: str) -> str:
    """The words of a name without case, marks and punctuation, so that two ways to write one name compare equal."""
    decomposed = unicodedata.normalize("NFD", text.casefold().replace("đ", "d"))
    return " ".join("".join(sign if sign.isalnum() else " " for sign in decomposed if sign.isascii()).split())


def vietnam_time(moment: datetime) -> str:
    """ISO 8601 with +07:00, to the second (Decision 28/2018 Art. 14.4)."""
    return moment.astimezone(VIETNAM).isoformat(timespec="seconds")
