"""VXP messages <-> model: pure, no I/O.

Source of every rule: the requests of the published Java SDK (SDKVXP 2.0.1, protocol 3.0.201608) as a recording server
saw them, and the JSON keys that it looks up in answers (vendor field notes). No official text is public.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from lienthong import VIETNAM, Attempt, ContentError, Document, Message, MessageKind, Organization
from lienthong.http import pick

PREFIX = "XroadVnpt-"
CONSTANT_HEADERS = {"User-Agent": "JAVASDKAgent/1.0.0 XRoad/VPCP", f"{PREFIX}version": "3.0.201608"}
_DESCRIPTION_LIMIT = 255
_CLOCK_SKEW = timedelta(minutes=2)
_ZONE_MISTAKE = timedelta(hours=8)


def request_headers(
    *, system_id: str, secret: str, parameters: Mapping[str, str], now: datetime, content_type: str
) -> dict[str, str]:
    """All headers of one request: constants, parameters and the three that authenticate them, in the SDK's order.

    :raises ContentError: a value cannot stand in an HTTP header (only printable ASCII can)
    """
    named = {
        "systemid": system_id,
        **parameters,
        "timestamp": java_timestamp(now),
        "Content-Type": content_type,
    }
    for name, value in named.items():
        if not (value.isascii() and value.isprintable()):
            raise ContentError("vxp.header-value", where=PREFIX + name)
    prefixed = {PREFIX + name: value for name, value in named.items()}
    signed = json.dumps(prefixed, separators=(",", ":"))
    return {
        **CONSTANT_HEADERS,
        "Content-Type": content_type,
        **prefixed,
        f"{PREFIX}sign-header-key": ";".join(named),
        f"{PREFIX}sign-header": signed,
        f"{PREFIX}hash-header": header_hash(secret, signed),
    }


def header_hash(secret: str, signed: str) -> str:
    """HMAC-SHA256 over the exact bytes of the signed JSON, lower-case hex."""
    return hmac.new(secret.encode(), signed.encode(), hashlib.sha256).hexdigest()


def java_timestamp(moment: datetime) -> str:
    """``ddMMyyyy'T'HHmmss+SSSS`` in Vietnam time. The plus is a letter and SSSS are milliseconds, not a zone."""
    local = moment.astimezone(VIETNAM)
    return f"{local:%d%m%YT%H%M%S}+{local.microsecond // 1000:04d}"


def file_hash(sha256: str) -> str:
    """``hash-file`` for a digest in hex: each byte without its leading zero, a defect that the protocol keeps."""
    return "".join(f"{byte:x}" for byte in bytes.fromhex(sha256))


def hash_names_file(given: str, sha256: str) -> bool:
    """Whether a ``hash-file`` is that of a file with this digest; the correct 64-character form counts too."""
    return given.strip().lower() in (file_hash(sha256), sha256)


def header_text(text: str) -> str:
    """A sentence as it can stand in a header: without diacritics and line breaks, at most 255 characters.

    The axis's way with non-ASCII header bytes is unknown, and a byte changed on the way would break the HMAC.
    """
    spread = unicodedata.normalize("NFD", text.replace("đ", "d").replace("Đ", "D"))
    bare = "".join(letter for letter in spread if not unicodedata.combining(letter))
    plain = bare.encode("ascii", "replace").decode()
    return "".join(letter if letter.isprintable() else " " for letter in plain)[:_DESCRIPTION_LIMIT].strip()


@dataclass(frozen=True, kw_only=True)
class Result:
    """What every answer says of itself. ``status`` in upper case; ``code`` ``"0"`` is success.

    An answer that is neither ``accepted`` nor ``refused`` (no status, or OK with an error code) proves nothing.
    """

    status: str
    code: str
    text: str

    @property
    def accepted(self) -> bool:
        return self.status == "OK" and self.code in ("", "0")

    @property
    def refused(self) -> bool:
        return self.status == "FAIL" or (not self.status and self.code not in ("", "0"))


def result(answer: Mapping[str, object]) -> Result:
    """Keys of any case; the code may come as a number."""
    return Result(
        status=field(answer, "status").upper(), code=field(answer, "ErrorCode"), text=field(answer, "ErrorDesc")
    )


def field(row: Mapping[str, object], name: str) -> str:
    """A value as text, its key in any case; empty when it is missing, null or not a plain value."""
    value = pick(row, name)
    text = str(value).strip() if isinstance(value, str | int | float) else ""
    # JSON can name half a surrogate pair, which no file and no database takes.
    return "" if text == "null" else text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")


def rows(answer: Mapping[str, object]) -> tuple[Mapping[str, object], ...]:
    """``data`` of a listing. Missing or null is an empty listing.

    :raises ContentError: it is not a list of objects
    """
    data = pick(answer, "data")
    if data is None:
        return ()
    if not isinstance(data, list) or not all(isinstance(row, dict) for row in data):
        raise ContentError("vxp.listing-unreadable", where="data")
    return tuple(data)


def kind(message: Message) -> MessageKind:
    return MessageKind.DOCUMENT if isinstance(message, Document) else MessageKind.STATUS


def kind_of(row: Mapping[str, object], asked: MessageKind) -> MessageKind:
    """The row's own ``messageType`` when it is one that we know, else the one that was asked for."""
    named = field(row, "messageType").lower()
    return MessageKind(named) if named in tuple(MessageKind) else asked


def addressees(row: Mapping[str, object]) -> frozenset[str]:
    """The codes in a row's ``to``, in lower case; empty when it names none."""
    return frozenset(field(row, "to").replace(",", ";").lower().replace(" ", "").split(";")) - {""}


def organizations(listing: Sequence[Mapping[str, object]]) -> tuple[Organization, ...]:
    """The agencies of a directory listing, deleted ones left out; the parent (``pid``) is the superior body."""
    names = {field(row, "id"): field(row, "name") for row in listing if field(row, "id")}
    return tuple(
        Organization(
            code=field(row, "code"),
            name=field(row, "name"),
            in_charge=names.get(field(row, "pid"), ""),
            email=field(row, "mail"),
        )
        for row in listing
        if field(row, "code") and field(row, "deleted").lower() not in ("1", "true")
    )


def moment(text: str) -> datetime | None:
    """A listing's time: day first (the SDK's own form), year first or ISO 8601; Vietnam time unless it names a zone.

    None for anything else, a bare date or a number of milliseconds included.
    """
    if ":" not in text:
        return None
    try:
        found = datetime.fromisoformat(text.replace("/", "-"))
    except ValueError:
        return _day_first(text)
    return found if found.tzinfo else found.replace(tzinfo=VIETNAM)


def _day_first(text: str) -> datetime | None:
    try:
        return datetime.strptime(text.partition(".")[0].replace("-", "/"), "%d/%m/%Y %H:%M:%S").replace(tzinfo=VIETNAM)
    except ValueError:
        return None


Bearing = Literal["ours", "perhaps", "other"]


def bearing(row: Mapping[str, object], attempt: Attempt) -> Bearing:
    """Whether a row of ``getSentEdocList`` is what this attempt sent.

    One column that contradicts makes it another's; one that is blank or unclear leaves it at ``perhaps``, so that a
    document is neither adopted nor declared missing on a guess.
    """
    delivery, sender_doc_id = attempt.delivery, field(row, "senderDocId")
    wanted = kind(delivery.message)
    if sender_doc_id in attempt.known_peer_ids:
        return "other"
    found = {
        _same(field(row, "messageType") or wanted, wanted),
        _same(field(row, "fromCode"), delivery.message.sender.code),
        _same(field(row, "toCode"), delivery.recipient),
        _same_notation(field(row, "notation"), _notation(attempt)),
        _since(moment(field(row, "sentTime")), attempt.started),
        "ours" if sender_doc_id else "perhaps",
    }
    if "other" in found:
        return "other"
    return "perhaps" if "perhaps" in found else "ours"


def _notation(attempt: Attempt) -> str:
    message = attempt.delivery.message
    return message.code if isinstance(message, Document) else message.about.code


def _same(given: str, wanted: str) -> Bearing:
    if not given or not wanted:
        return "perhaps"
    return "ours" if _folded(given) == _folded(wanted) else "other"


def _same_notation(given: str, wanted: str) -> Bearing:
    """Half of ``number/notation``, or a document id that ends in it, is not enough to be sure."""
    number, _, notation = _folded(wanted).partition("/")
    if _folded(given) in (number, notation) or _folded(given).endswith("," + _folded(wanted)):
        return "perhaps"
    return _same(given, wanted)


def _folded(text: str) -> str:
    return "".join(unicodedata.normalize("NFC", text).casefold().split())


def _since(sent: datetime | None, started: datetime) -> Bearing:
    """Two minutes for the clocks; up to eight hours earlier may be a time printed in another zone."""
    if sent is None:
        return "perhaps"
    if sent >= started - _CLOCK_SKEW:
        return "ours"
    return "perhaps" if sent >= started - _ZONE_MISTAKE else "other"
