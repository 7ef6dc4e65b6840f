"""Random messages with every block that the format has, thousands in a second. Pure: one chance, one message.

Hypothesis takes a hundred times as long for such large values; it is used beside this where shrinking helps.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from typing import TypeVar

from lienthong import (
    VIETNAM,
    Business,
    Change,
    Document,
    DocumentReference,
    ForeignElement,
    Message,
    Organization,
    Part,
    PartRole,
    Priority,
    ReceiverChange,
    Replacement,
    Signer,
    Staff,
    StatusCode,
    StatusReport,
    TraceHop,
)
from lienthong.edxml import WriteProfile, safe_name
from lienthong.edxml.codes import KNOWN_CHILDREN, key_of, tidy
from lienthong.edxml.profile import ALWAYS, OPTIONAL

from .builders import blob, zipped

Item = TypeVar("Item")
PIECES = (
    *("Về việc ", "kiểm tra", " Đơn vị ", "ế", "ữ", "a", "Z", "0", "7", " ", "  ", "\n", "\t", "\r", "\r\n", "\u00a0"),
    *(
        "&",
        "<",
        ">",
        '"',
        "'",
        "]]>",
        "<!--",
        "&amp;",
        "&#13;",
        "<?",
        "\\",
        "/",
        ",",
        ";",
        "\u200b",
        "\u202e",
        "\ufeff",
    ),
    *("\U0001f4dc", "\U00020000", "\ud7ff", "\ue000", "\ufffd", "e\u0301\u0323", "\u1ebf", "\u0344", "한", "ﷺ", "null"),
)
TAILS = (
    b"%PDF-1.7\n",
    b"",
    b"PK\x03\x04",
    b"\x89PNG\r\n\x1a\n",
    "Chữ".encode(),
    b"\x00\xff",
    b"PK\x05\x06" + bytes(18),
)
SUFFIXES = ("", ".pdf", ".PDF", ".docx", ".zip", ".xls", ".txt", ".tar.gz")
TRICKY_NAMES = (
    *(
        "ContentTransferEncoded",
        "Signature",
        "StatusCode",
        "Subject",
        "To",
        "edXML",
        "Error",
        "Attachment",
        "MessageHeader",
    ),
    *(
        "ReplyFors",
        "ApplicationType",
        "ReferenceCodes",
        "Đặc_biệt",
        "A.1-b",
        "_",
        "x",
        "Xml-x",
        "DocumentId",
        "OrganId",
    ),
)
SPACES = ("", "", "", "urn:lạc-hồng:mở-rộng", "http://www.w3.org/2000/09/xmldsig#", "u&\"<'>", "go.vn/eDoc")


def random_profile(chance: random.Random) -> WriteProfile:
    some = frozenset(chance.sample(sorted(OPTIONAL), chance.randint(0, len(OPTIONAL))))
    attributes = (("id", "1"), ("version", "1.0"), ("mustUnderstand", "1"), ("actor", "http://a/next"))
    return WriteProfile(
        cid_in_both=chance.random() < 0.5,
        zip_parts=chance.random() < 0.5,
        always=chance.choice((ALWAYS, some)),
        trace_attributes=chance.choice(((), attributes)),
    )


# --- values -------------------------------------------------------------------------------------------------------


def _text(chance: random.Random) -> str:
    return tidy("".join(chance.choices(PIECES, k=chance.choice((0, 1, 3, 9)))))


def _word(chance: random.Random) -> str:
    return tidy(f"V{_text(chance)}")


def _code(chance: random.Random) -> str:
    old, new = f"{chance.randrange(1000):03}.00.{chance.randrange(100):02}.H{chance.randrange(64):02}", "H37.DN.001"
    return chance.choice((old, old, new, f"G{chance.randrange(9)}", "00.53.W00"))


def _day(chance: random.Random) -> date:
    return date(1945, 9, 2) + timedelta(days=chance.choice((0, chance.randrange(30_000), 2_941_000)))


def _moment(chance: random.Random) -> datetime:
    zone = chance.choice((VIETNAM, UTC, timezone(timedelta(hours=-9, minutes=-30))))
    return datetime(1946, 1, 1, tzinfo=zone) + timedelta(seconds=chance.randrange(4_000_000_000))


def _number(chance: random.Random) -> int:
    return chance.choice((-1, 0, 1, 2, 18, 999_999_999))


def _maybe(make: Callable[[random.Random], Item], chance: random.Random) -> Item | None:
    return make(chance) if chance.random() < 0.5 else None


def _some(make: Callable[[random.Random], Item], chance: random.Random, least: int = 0) -> tuple[Item, ...]:
    return tuple(make(chance) for _ in range(chance.randint(least, 3)))


# --- blocks -------------------------------------------------------------------------------------------------------


def _organization(chance: random.Random) -> Organization:
    texts = {name: _text(chance) for name in ("name", "in_charge", "address", "email", "telephone", "fax", "website")}
    return Organization(code=_code(chance), **texts)


def _recipients(chance: random.Random) -> tuple[Organization, ...]:
    found = {organization.code: organization for organization in _some(_organization, chance, least=1)}
    return tuple(found.values())


def _staff(chance: random.Random) -> Staff:
    return Staff(name=_text(chance), department=_text(chance), mobile=_text(chance), email=_text(chance))


def _reference(chance: random.Random) -> DocumentReference:
    return DocumentReference(
        organ=_code(chance), code=_text(chance), promulgated=_maybe(_day, chance), document_id=_text(chance)
    )


def _receiver(chance: random.Random) -> ReceiverChange:
    return ReceiverChange(organ=_code(chance), added=chance.random() < 0.5)


def _replacement(chance: random.Random) -> Replacement:
    return Replacement(document_id=_word(chance), organs=_some(_code, chance))


def _hop(chance: random.Random) -> TraceHop:
    return TraceHop(organ=_code(chance), at=_moment(chance))


def _change(chance: random.Random) -> Change:
    return Change(
        kind=chance.choice(list(Business)),
        reason=_text(chance),
        document_id=_text(chance),
        content_changed=chance.random() < 0.5,
        receivers_changed=chance.random() < 0.5,
        receivers=_some(_receiver, chance),
        replaces=_some(_replacement, chance),
        staff=tuple(person for person in _some(_staff, chance) if person != Staff()),
    )


def _files(chance: random.Random) -> list[tuple[Part, bytes]]:
    roles = [PartRole.MAIN, PartRole.ATTACHMENT, PartRole.ATTACHMENT][: chance.randint(0, 3)]
    return [blob(role, _name(chance), _content(chance), _text(chance)) for role in roles]


def _name(chance: random.Random) -> str:
    return safe_name(_word(chance) + chance.choice(SUFFIXES))


def _content(chance: random.Random) -> bytes:
    content = chance.choice(TAILS) + chance.randbytes(chance.choice((0, 1, 2, 3, 300)))
    return zipped(content, "Tệp.pdf") if chance.random() < 0.2 else content


# --- messages -----------------------------------------------------------------------------------------------------


def random_document(chance: random.Random) -> tuple[Document, dict[str, bytes]]:
    """A document, and the bytes of its parts by digest."""
    files = _files(chance)
    document = Document(
        sender=_organization(chance),
        recipients=_recipients(chance),
        document_id=_word(chance),
        number=_word(chance),
        notation=_word(chance),
        promulgated=_day(chance),
        subject=_word(chance),
        place=_text(chance),
        type_name=_text(chance),
        type_code=_number(chance),
        type_detail=_number(chance),
        content=_text(chance),
        signer=Signer(full_name=_text(chance), position=_text(chance), competence=_text(chance)),
        due=_maybe(_day, chance),
        priority=chance.choice(list(Priority)),
        sphere=_text(chance),
        typer_notation=_text(chance),
        copies=_maybe(_number, chance),
        pages=_maybe(_number, chance),
        direction=chance.random() < 0.5,
        appendixes=_some(_word, chance),
        responds_to=_some(_reference, chance),
        steering=_number(chance),
        to_places=_some(_word, chance),
        change=_change(chance),
        paper=chance.random() < 0.5,
        trace=_some(_hop, chance, least=1),
        parts=tuple(part for part, _ in files),
    )
    return _with_foreign(document, chance), {part.sha256: content for part, content in files}


def random_report(chance: random.Random) -> StatusReport:
    report = StatusReport(
        sender=_organization(chance),
        about=replace(_reference(chance), document_id=_word(chance)),
        code=chance.choice(list(StatusCode)),
        at=_moment(chance),
        description=_text(chance),
        staff=_staff(chance),
    )
    return _with_foreign(report, chance)


# --- what the format does not know --------------------------------------------------------------------------------

HEADER = "edXMLEnvelope/edXMLHeader/MessageHeader"
BUSINESS = "edXMLEnvelope/edXMLHeader/TraceHeaderList/Bussiness"
INFO = f"{BUSINESS}/BussinessDocumentInfo"
OLD = f"{BUSINESS}/ReplacementInfoList/ReplacementInfo"
MANIFEST = "edXMLEnvelope/edXMLBody/edXMLManifest"


def places(message: Message) -> list[str]:
    """Every element of a message's packet that holds others, by its path from the root."""
    usual = ["", "edXMLEnvelope", "edXMLEnvelope/edXMLHeader", HEADER, f"{HEADER}/From"]
    if isinstance(message, StatusReport):
        return [*usual, f"{HEADER}/ResponseFor", f"{HEADER}/StaffInfo"]
    singles = (
        "Code",
        "PromulgationInfo",
        "DocumentType",
        "SignerInfo",
        "OtherInfo",
        "OtherInfo/Appendixes",
        "ToPlaces",
    )
    repeated = {
        f"{HEADER}/To": message.recipients,
        f"{HEADER}/ResponseFor": message.responds_to,
        "edXMLEnvelope/edXMLHeader/TraceHeaderList/TraceHeader": message.trace,
        f"{BUSINESS}/StaffInfo": message.change.staff,
        f"{INFO}/ReceiverList/Receiver": message.change.receivers,
        OLD: message.change.replaces,
        f"{MANIFEST}/Reference": message.parts,
        "AttachmentEncoded/Attachment": message.parts,
    }
    return [
        *usual,
        *(f"{HEADER}/{name}" for name in singles),
        *("edXMLEnvelope/edXMLHeader/TraceHeaderList", BUSINESS, INFO, f"{BUSINESS}/ReplacementInfoList"),
        *("edXMLEnvelope/edXMLBody", MANIFEST, "AttachmentEncoded"),
        *([f"{INFO}/ReceiverList"] if message.change.receivers else []),
        *(place for path, items in repeated.items() for place in _numbered(path, len(items))),
        *(f"{place}/OrganIdList" for place in _numbered(OLD, len(message.change.replaces))),
    ]


def _numbered(path: str, count: int) -> Iterator[str]:
    return (path if number == 1 else f"{path}[{number}]" for number in range(1, count + 1))


def in_order(message: Message) -> Message:
    """A message whose foreign elements stand by parent: between parents their order means nothing."""
    return replace(message, foreign=tuple(sorted(message.foreign, key=lambda element: element.parent)))


def is_unknown(element: ForeignElement) -> bool:
    """Whether the format has no element of this name at its place."""
    parent = element.parent.rpartition("/")[2].partition("[")[0] or "edXML"
    return key_of(element.name) not in KNOWN_CHILDREN[key_of(parent)]


def _with_foreign(message: Message, chance: random.Random) -> Message:
    if chance.random() < 0.5:
        return message
    found = [_foreign(chance, chance.choice(places(message))) for _ in range(chance.randint(1, 4))]
    return in_order(replace(message, foreign=tuple(filter(is_unknown, found))))


def _foreign(chance: random.Random, parent: str = "", depth: int = 0) -> ForeignElement:
    names = chance.sample(TRICKY_NAMES, chance.choice((0, 0, 1, 3)))
    below = chance.choice((0, 0, 1, 3)) if depth < 3 else 0
    return ForeignElement(
        name=chance.choice(TRICKY_NAMES),
        parent=parent,
        namespace=chance.choice(SPACES),
        text=_text(chance),
        attributes=tuple((name, "".join(chance.choices(PIECES, k=3))) for name in names),
        children=tuple(_foreign(chance, depth=depth + 1) for _ in range(below)),
    )
