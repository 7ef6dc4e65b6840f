"""The names, spellings, values and file kinds of edXML, for reader and writer alike. Pure: no I/O.

Sources: QCVN 102:2016/BTTTT as amended 1:2022, reconstructed from the samples of the Government Office's SDK (no
official schema is public), and vendor field notes for what other builders send.
"""

from __future__ import annotations

import codecs
import re
import sys
import unicodedata
from datetime import UTC, date, datetime, timedelta, timezone
from functools import cache
from pathlib import Path

from lienthong.errors import ContentError
from lienthong.model import VIETNAM

NAMESPACE = "http://www.mic.gov.vn/TBT/QCVN_102_2016"
LEGACY_NAMESPACE = "http://www.e-doc.vn/Schema"
"""Of the SOAP packets before QCVN 102, known as "2803" (official letter 2803/BTTTT-THH)."""
CONTENT_ID_PREFIX = "cid:"

MOST_MARKS = 30
FIRST_REAL_YEAR = 1945
"""No document of the state is older. Earlier dates are what .NET, SQL Server and OLE write for "no date"."""

_USUAL_DATE = re.compile(r"\d{4}/\d{2}/\d{2}")
_USUAL_TIMESTAMP = re.compile(r"\d{4}/\d{2}/\d{2} \d{2}:\d{2}:\d{2}")
_MOMENT = re.compile(
    r"(?:(?P<year>\d{4})(?P<sep>[-/.])(?P<month>\d{1,2})(?P=sep)(?P<day>\d{1,2})"
    r"|(?P<day2>\d{1,2})(?P<sep2>[-/.])(?P<month2>\d{1,2})(?P=sep2)(?P<year2>\d{4}))"
    r"(?:[T ]\s*(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:\.(?P<fraction>\d{1,9}))?)?"
    r"\s*(?P<zone>Z|[+-]\d{2}:?\d{2})?)?",
    re.ASCII,
)
_TRIPLE = re.compile(r"[^,]+,(?P<date>\d{4}/\d{2}/\d{2}),[^,]*/[^,]*", re.ASCII)


def has_piled_marks(text: str) -> bool:
    """Whether more combining marks follow each other than any language writes.

    Normalising such a pile takes time with its square, so it is refused (Unicode TR15 section 13, Stream-Safe Text).
    """
    return len(text) > MOST_MARKS and not text.isascii() and _piled_marks().search(text) is not None


@cache
def _piled_marks() -> re.Pattern[str]:
    marks = "".join(letter for letter in map(chr, range(sys.maxunicode + 1)) if unicodedata.combining(letter))
    return re.compile(f"[{re.escape(marks)}]{{{MOST_MARKS + 1}}}")


def tidy(text: str) -> str:
    """A value as both sides of the packet see it: NFC (TCVN 6909), without blanks around it.

    :raises ContentError: more combining marks in a row than any language writes
    """
    if has_piled_marks(text):
        raise ContentError("packet.too-large", where="", what="combining marks in a row", limit=MOST_MARKS)
    return unicodedata.normalize("NFC", text).strip()


def key_of(name: str) -> str:
    """The key under which an element is known whatever its case.

    The standard spells ``Bussiness``; one axis writes ``Business``. Both are one key.
    """
    return name.lower().replace("bussiness", "business")


def wire_date(day: date) -> str:
    """``yyyy/MM/dd``."""
    return f"{day.year:04}/{day.month:02}/{day.day:02}"


def wire_timestamp(moment: datetime) -> str:
    """``yyyy/MM/dd HH:mm:ss`` in Vietnam time; ``moment`` must be aware. Parts of a second are not carried."""
    local = moment.astimezone(VIETNAM)
    return f"{wire_date(local)} {local.hour:02}:{local.minute:02}:{local.second:02}"


def is_usual_date(text: str) -> bool:
    return _USUAL_DATE.fullmatch(text) is not None


def is_usual_timestamp(text: str) -> bool:
    return _USUAL_TIMESTAMP.fullmatch(text) is not None


def parse_moment(text: str) -> datetime | None:
    """A date or a timestamp in any form seen in the field, as Vietnam time; None when it is not one, or impossible.

    Day before month whenever the year stands last. Without a zone it is Vietnam time (Decision 28/2018 Art. 14.4);
    without a time it is midnight.
    """
    match = _MOMENT.fullmatch(text)
    if match is None:
        return None
    found = match.groupdict(default="0")
    leading = match["year"] is not None
    year, month, day = ("year", "month", "day") if leading else ("year2", "month2", "day2")
    try:
        moment = datetime(
            int(found[year]),
            int(found[month]),
            int(found[day]),
            int(found["hour"]),
            int(found["minute"]),
            int(found["second"]),
            int(found["fraction"].ljust(6, "0")[:6]),
            tzinfo=_zone(match["zone"]),
        )
        return moment.astimezone(VIETNAM)
    except (ValueError, OverflowError):
        return None


def _zone(text: str | None) -> timezone:
    if text is None:
        return VIETNAM
    if text == "Z":
        return UTC
    offset = timedelta(hours=int(text[1:3]), minutes=int(text[-2:]))
    return timezone(-offset if text[0] == "-" else offset)


def is_document_triple(document_id: str) -> bool:
    """Whether an id reads ``organ,yyyy/MM/dd,number/notation``, which every known client can take apart."""
    return _TRIPLE.fullmatch(document_id) is not None


def names_impossible_day(document_id: str) -> bool:
    """Whether a triple carries a day that no calendar has (``2014/02/30`` is in the SDK's own samples)."""
    match = _TRIPLE.fullmatch(document_id)
    return match is not None and parse_moment(match["date"]) is None


_ORGANIZATION = "OrganId OrganizationInCharge OrganName OrganAdd Email Telephone Fax Website"
_HEADER = (
    "From To DocumentId Code PromulgationInfo DocumentType Subject Content SignerInfo DueDate OtherInfo ResponseFor "
    "SteeringType ToPlaces StaffInfo StatusCode Description Timestamp"
)
_REFERENCE = "ContentId ContentType Description AttachmentName"
_CHILDREN = {
    "edXML": "edXMLEnvelope edXMLBody AttachmentEncoded ErrorList",
    "edXMLEnvelope": "edXMLHeader edXMLBody AttachmentEncoded ErrorList",
    "edXMLHeader": "MessageHeader Status TraceHeaderList Signature ErrorList",
    "ErrorList": "Error",
    "Error": "Code Description",
    "MessageHeader": _HEADER,
    "Status": _HEADER,
    "From": _ORGANIZATION,
    "To": _ORGANIZATION,
    "Code": "CodeNumber CodeNotation",
    "PromulgationInfo": "Place PromulgationDate",
    "DocumentType": "Type TypeDetail TypeName",
    "SignerInfo": "Competence Position FullName",
    "OtherInfo": ("Priority SphereOfPromulgation TyperNotation PromulgationAmount PageAmount Direction Appendixes"),
    "Appendixes": "Appendix",
    "ResponseFor": "OrganId Code DocumentId PromulgationDate",
    "ToPlaces": "Place",
    "TraceHeaderList": "TraceHeader Bussiness",
    "TraceHeader": "OrganId Timestamp",
    "Bussiness": (
        "DocumentId BussinessDocType BussinessDocReason Paper BussinessDocumentInfo ReplacementInfoList StaffInfo"
    ),
    "BussinessDocumentInfo": "DocumentInfo DocumentReceiver ReceiverList",
    "ReceiverList": "Receiver",
    "Receiver": "OrganId ReceiverType",
    "ReplacementInfoList": "ReplacementInfo",
    "ReplacementInfo": "DocumentId OrganIdList",
    "OrganIdList": "OrganId",
    "StaffInfo": "Department Staff Email Mobile",
    "edXMLBody": "edXMLManifest",
    "edXMLManifest": "Reference",
    "Reference": _REFERENCE,
    "AttachmentEncoded": "Attachment",
    "Attachment": f"{_REFERENCE} ContentTransferEncoded",
}
KNOWN_CHILDREN: dict[str, frozenset[str]] = {
    key_of(parent): frozenset(map(key_of, children.split())) for parent, children in _CHILDREN.items()
}
"""Which elements stand under which (by key). Whatever else a packet holds is kept as foreign, and noted.

What is inside ``Signature`` belongs to XML-DSig and is not listed.
"""
USUAL_NAMES = {key_of(name): name for names in (*_CHILDREN, *_CHILDREN.values()) for name in names.split()}
"""How the standard spells each element, by key."""
VENDOR_EXTENSIONS = frozenset(map(key_of, ("ReferenceCodes", "ReplyFors", "ResponseForTask", "ApplicationType")))
"""Elements that builders in the field add to the standard's (vendor field notes), by key."""
KNOWN_ATTRIBUTES = {
    "edxmlmanifest": frozenset({"version", "id"}),
    "reference": frozenset({"href", "role", "type"}),
    "traceheaderlist": frozenset({"id", "version", "mustunderstand", "actor"}),
    "messageheader": frozenset({"id"}),
    "business": frozenset({"id"}),
}
"""Attributes that builders set, by the element's key: XLink, SOAP's, and ``Id`` for a signature to point to."""

_NAME_BYTES = 200
_NAME_LETTERS = 1000
_ZIP_TYPES = {
    ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ".pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    ".odt": "application/vnd.oasis.opendocument.text",
    ".ods": "application/vnd.oasis.opendocument.spreadsheet",
    ".odp": "application/vnd.oasis.opendocument.presentation",
}
_OLE_TYPES = {
    ".doc": "application/msword",
    ".xls": "application/vnd.ms-excel",
    ".ppt": "application/vnd.ms-powerpoint",
}
_ZIP_KIN = "zip docm dotx xlsm xlsb xltx pptm ppsx potx vsdx odg ott ots jar war apk epub kmz xps oxps asice asics"
_ZIP_SUFFIXES = frozenset(_ZIP_TYPES) | {f".{suffix}" for suffix in _ZIP_KIN.split()}
_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
    (b"{\\rtf", "application/rtf"),
    (b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (b"Rar!\x1a\x07", "application/vnd.rar"),
    (b"\x1f\x8b", "application/gzip"),
)
_ZIP_MAGIC = b"PK\x03\x04"
_ZIP = "application/zip"
_OCTETS = "application/octet-stream"
_SYNONYMS = {
    "application/x-pdf": "application/pdf",
    "application/x-zip-compressed": _ZIP,
    "application/x-zip": _ZIP,
    "image/jpg": "image/jpeg",
    "text/rtf": "application/rtf",
    "application/x-rar-compressed": "application/vnd.rar",
}
_NOT_IN_NAMES = re.compile(r'[/\\:*?"<>|]')
_RESERVED_NAMES = re.compile(r"(?:con|prn|aux|nul|com\d|lpt\d)(?:\.|$)", re.IGNORECASE)


def safe_name(name: str) -> str:
    """A peer's file name as one that may stand on any disk and page: NFC, no path, at most 200 bytes, never empty.

    Path separators become ``_``, so that ``7816/VPCP.pdf`` keeps its number; invisible characters go.
    """
    # Longer names are cut anyway, and only so much is normalised.
    if len(name) > 2 * _NAME_LETTERS:
        name = name[:_NAME_LETTERS] + name[-_NAME_LETTERS:]
    shown = "".join(_visible(letter) for letter in name)
    plain = unicodedata.normalize("NFC", _NOT_IN_NAMES.sub("_", shown))
    clean = " ".join(plain.split()).strip(" .")
    if _RESERVED_NAMES.match(clean):
        clean = f"_{clean}"
    return _shortened(clean) or "file"


def _visible(letter: str) -> str:
    category = unicodedata.category(letter)
    if category == "Cc":
        return " "
    # Format characters can turn the reading direction: "exe.fdp" would be read as "pdf.exe".
    return "" if category in ("Cf", "Cs") else letter


def _shortened(name: str) -> str:
    if len(name.encode()) <= _NAME_BYTES:
        return name
    suffix = Path(name).suffix
    if len(suffix.encode()) > 20:
        suffix = ""
    stem = name.removesuffix(suffix).encode()[: _NAME_BYTES - len(suffix.encode())].decode(errors="ignore")
    return stem.rstrip(" .") + suffix


def detect_media_type(head: bytes, name: str) -> str:
    """The media type that a file's first bytes show (4 KiB are enough).

    The name only tells apart what shares one container (zip, OLE). ``application/octet-stream`` when nothing is known.
    """
    suffix = suffix_of(name)
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"%PDF-"):
        return "application/pdf"
    if head.startswith(_ZIP_MAGIC):
        return _ZIP_TYPES.get(suffix, _ZIP)
    if head.startswith(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"):
        return _OLE_TYPES.get(suffix, "application/x-ole-storage")
    known = next((media_type for magic, media_type in _MAGIC if head.startswith(magic)), None)
    return known or _text_type(head)


def _text_type(head: bytes) -> str:
    try:
        # An incremental decoder lets a head pass that ends within a letter.
        text = codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return _OCTETS
    if not text or any(letter < " " and letter not in "\t\n\r\f" for letter in text):
        return _OCTETS
    return "application/xml" if text.lstrip("\ufeff \t\r\n").startswith("<?xml") else "text/plain"


def types_agree(declared: str, detected: str) -> bool:
    """Whether a declared media type can stand for what was detected; no declaration agrees with everything."""
    name = declared.partition(";")[0].strip().lower()
    name = _SYNONYMS.get(name, name)
    if name in ("", _OCTETS, detected):
        return True
    return _is_textual(name) and _is_textual(detected)


def _is_textual(media_type: str) -> bool:
    return media_type.startswith("text/") or media_type.endswith(("/xml", "+xml", "/json"))


def is_zip_name(name: str) -> bool:
    """Whether a file of this name is a zip container by nature, so that a zip is not mere packaging of it."""
    return suffix_of(name) in _ZIP_SUFFIXES


def needs_zip(name: str, media_type: str) -> bool:
    """Whether a part must travel zipped to arrive as it is: receivers unpack a zip whose name is not one of a zip."""
    return media_type == _ZIP and not is_zip_name(name)


def looks_zipped(head: bytes, name: str) -> bool:
    return is_zip(head) and not is_zip_name(name)


def is_zip(head: bytes) -> bool:
    return head.startswith(_ZIP_MAGIC)


def suffix_of(name: str) -> str:
    """``.pdf``, in lower case; empty when there is none."""
    return Path(name).suffix.lower()
