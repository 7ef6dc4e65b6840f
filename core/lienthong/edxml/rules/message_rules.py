"""The rules about what a message says: who, what, when (ENV-03 to ENV-13, ENV-15, ENV-19 to ENV-21, ENV-25).

Each function is one row of the catalogue and yields every place where it does not hold. They read the packet's own
text, so that a date that nobody can read is told with its value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import pairwise

from lienthong.edxml.codes import (
    FIRST_REAL_YEAR,
    is_document_triple,
    is_usual_date,
    is_usual_timestamp,
    names_impossible_day,
    parse_moment,
)
from lienthong.edxml.rules.judging import Breach, Case, below, breach, is_placeholder, mild, missing, value
from lienthong.edxml.tables import (
    DocumentType,
    TypeMatch,
    agency_code_form,
    competence_row,
    find_type,
    is_node_code,
    type_at,
    type_key,
)
from lienthong.edxml.tree import Element
from lienthong.model import Business, Priority, StatusCode

_NUMBER = re.compile(r"[+-]?\d{1,9}", re.ASCII)
_UNSAID_ROWS = (0, -1)
_PARTIES = ("From/", "To/")
_CODE = ("Code/CodeNumber", "Code/CodeNotation")
_ANSWERED = ("OrganId", "Code", "DocumentId")
_LENGTHS_ELSEWHERE = {"Subject", "DocumentType/TypeName", "SignerInfo/Position", "SignerInfo/FullName"}
_FLAGS = (
    "Paper",
    "BussinessDocumentInfo/DocumentInfo",
    "BussinessDocumentInfo/DocumentReceiver",
    "BussinessDocumentInfo/ReceiverList/Receiver/ReceiverType",
)
_NEEDED = (
    *("From/OrganId", "From/OrganName", "To/OrganId", "To/OrganName", "DocumentId", *_CODE, "Subject"),
    *("PromulgationInfo/PromulgationDate", "DocumentType/TypeName", "SignerInfo/Position", "SignerInfo/FullName"),
)
_NEEDED_IN_STATUS = ("From/OrganId", "From/OrganName", *(f"ResponseFor/{name}" for name in _ANSWERED), "Timestamp")


# --- who ----------------------------------------------------------------------------------------------------------


def names_each_party_once(case: Case) -> Iterator[Breach]:
    """ENV-03: exactly one From, at least one To, no recipient twice. A status has no To: it answers a document."""
    header = case.packet.header
    if header is None:
        return
    senders = header.all("From")
    if not senders:
        yield missing(header, "From", "no-sender")
    yield from (breach("sender-repeated", sender) for sender in senders[1:])
    if case.is_status:
        return
    if not header.all("To"):
        yield missing(header, "To", "no-recipient")
    known: set[str] = set()
    for organ in header.every("To/OrganId"):
        if organ.text in known:
            yield breach("recipient-repeated", organ, value=organ.text)
        elif organ.text:
            known.add(organ.text)


def names_its_parties(case: Case) -> Iterator[Breach]:
    """ENV-04: OrganId and OrganName are there; a status says which document it is about and which code it reports."""
    header = case.packet.header
    if header is None:
        return
    for party in (*header.all("From"), *header.all("To")):
        yield from _organ(party)
        if not value(party, "OrganName"):
            yield missing(party, "OrganName")
    if case.status is not None:
        yield from _answered(case.status)
        yield from _status_code(case.status)
    elif not value(header, "DocumentId"):
        yield missing(header, "DocumentId")
    for path, element, limit in case.too_long:
        if path.startswith(_PARTIES):
            yield _too_long(element, limit, mild)


def _organ(party: Element) -> Iterator[Breach]:
    code = value(party, "OrganId")
    if not code:
        yield missing(party, "OrganId")
    elif code.lower() == "null":
        yield below("null", party, "OrganId", value=code)


def _answered(status: Element) -> Iterator[Breach]:
    answered = status.all("ResponseFor")
    if not answered:
        yield from (missing(status, f"ResponseFor/{name}") for name in _ANSWERED)
    for each in answered:
        yield from (missing(each, name) for name in _ANSWERED if not value(each, name))


def _status_code(status: Element) -> Iterator[Breach]:
    code = value(status, "StatusCode")
    known = tuple(StatusCode)
    if not code:
        yield missing(status, "StatusCode")
    elif code.zfill(2) not in known:
        yield below("status-unknown", status, "StatusCode", value=code)
    elif code not in known:
        yield below("status-form", status, "StatusCode", value=code, usual=code.zfill(2))


def _too_long(element: Element, limit: int, say: Callable[..., Breach] = breach) -> Breach:
    return say("too-long", element, value=element.text, field=element.name, length=len(element.text), limit=limit)


def holds_no_placeholders(case: Case) -> Iterator[Breach]:
    """ENV-25: a field that a packet must have says something."""
    for path in _NEEDED_IN_STATUS if case.is_status else _NEEDED:
        for element in case.each(path):
            # An OrganId of null is no agency at all (ENV-04).
            if is_placeholder(element.text) and (element.key, element.text.lower()) != ("organid", "null"):
                yield breach("placeholder", element, value=element.text, field=element.name)


# --- what ---------------------------------------------------------------------------------------------------------


def numbers_its_document(case: Case) -> Iterator[Breach]:
    """ENV-05: CodeNumber and CodeNotation are there and fit; so do the fields that have a limit and no rule."""
    if case.document is not None:
        yield from (missing(case.document, path) for path in _CODE if not value(case.document, path))
    for path, element, limit in case.too_long:
        if path in _CODE:
            yield _too_long(element, limit)
        elif path not in _LENGTHS_ELSEWHERE and not path.startswith(_PARTIES) and "AttachmentName" not in path:
            yield _too_long(element, limit, mild)


def has_a_subject(case: Case) -> Iterator[Breach]:
    """ENV-07: the subject (trích yếu) is there and fits."""
    if case.document is not None and not value(case.document, "Subject"):
        yield missing(case.document, "Subject")
    yield from _long_at(case, "Subject")


def names_a_known_type(case: Case) -> Iterator[Breach]:
    """ENV-08: TypeName is there, fits, and is a type of the tables or of the profile."""
    if case.document is None:
        return
    if not value(case.document, "DocumentType/TypeName"):
        yield missing(case.document, "DocumentType/TypeName")
    extra = {type_key(name) for name in case.profile.extra_types}
    for element in case.each("DocumentType/TypeName"):
        if not element.text or is_placeholder(element.text) or type_key(element.text) in extra:
            continue
        match = find_type(element.text)
        if not match.types:
            yield breach("unknown", element, value=element.text)
        elif match.loose:
            yield mild("loose", element, value=element.text, name=match.types[0].name)
    yield from _long_at(case, "DocumentType/TypeName")


def _long_at(case: Case, *paths: str) -> Iterator[Breach]:
    return (_too_long(element, limit) for path, element, limit in case.too_long if path in paths)


def numbers_its_type(case: Case) -> Iterator[Breach]:
    """ENV-09: Type and TypeDetail are allowed, and mean what TypeName says."""
    for kind in case.document.all("DocumentType") if case.document is not None else []:
        code, row = _number(kind, "Type"), _number(kind, "TypeDetail")
        for path in ("Type", "TypeDetail"):
            written = value(kind, path)
            if written and not _NUMBER.fullmatch(written):
                yield below("no-number", kind, path, field=path, value=written)
        if code is not None and code not in case.profile.type_values:
            allowed = _listed(case.profile.type_values)
            yield below("not-allowed", kind, "Type", value=code, allowed=allowed)
        elif code is not None:
            yield from _disagreement(case, kind, code, row)


def _disagreement(case: Case, kind: Element, code: int, row: int | None) -> Iterator[Breach]:
    name = value(kind, "TypeName")
    known = find_type(name)
    if not known.types or _by_profile(case, name, code):
        return
    meant = _meant(known, code)
    if meant is None:
        usual = _listed({each.type_code for each in known.types})
        yield below("other-table", kind, "Type", name=name, value=code, usual=usual)
    elif row is not None and row not in (*_UNSAID_ROWS, meant.row) and meant.type_code == code:
        other = type_at(code, row)
        shown = other.name if other else "?"
        yield below("other-row", kind, "TypeDetail", name=name, value=row, usual=meant.row, other=shown)


def _meant(known: TypeMatch, code: int) -> DocumentType | None:
    """The type of that table, or of that row where the row stands in ``Type`` (one province's way)."""
    by_table = next((each for each in known.types if each.type_code == code), None)
    return by_table or next((each for each in known.types if each.row == code and code not in (1, 2)), None)


def _by_profile(case: Case, name: str, code: int) -> bool:
    return any(type_key(each.name) == type_key(name) and each.type_code == code for each in case.profile.write.types)


def names_its_signer_briefly(case: Case) -> Iterator[Breach]:
    """ENV-10: position and name of the signer fit."""
    return _long_at(case, "SignerInfo/Position", "SignerInfo/FullName")


def signs_with_a_known_competence(case: Case) -> Iterator[Breach]:
    """ENV-11: the competence is one of those that the decree has, or none."""
    for element in case.each("SignerInfo/Competence"):
        if element.text and competence_row(element.text) is None:
            yield breach("unknown", element, value=element.text)


def states_a_known_urgency(case: Case) -> Iterator[Breach]:
    """ENV-13: Priority is one of the profile's values; the older 4 is a warning. So is any other SteeringType."""
    for element in case.each("OtherInfo/Priority"):
        allowed = _listed(case.profile.priorities)
        if element.text == str(Priority.FLASH_TIMED.value) and Priority.FLASH_TIMED not in case.profile.priorities:
            yield mild("legacy", element, allowed=allowed)
        elif element.text and not _is_one_of(element.text, case.profile.priorities):
            yield breach("unknown", element, value=element.text, allowed=allowed)
    for element in case.each("SteeringType"):
        if element.text and not _is_one_of(element.text, case.profile.steering_values):
            yield mild("steering", element, value=element.text, allowed=_listed(case.profile.steering_values))


def says_what_it_wants(case: Case) -> Iterator[Breach]:
    """ENV-15: BussinessDocType is 0 to 3, with a reason and, for 2 and 3, with what changes."""
    for business in case.around("TraceHeaderList/Bussiness") if case.document is not None else []:
        written = value(business, "BussinessDocType")
        kind = _number(business, "BussinessDocType")
        if not written:
            yield missing(business, "BussinessDocType")
        elif kind is None or kind not in tuple(Business):
            yield below("unknown", business, "BussinessDocType", value=written)
        else:
            yield from _unexplained(business, Business(kind))
        for flag in (flag for path in _FLAGS for flag in business.every(path)):
            if flag.text not in ("0", "1", ""):
                yield mild("flag", flag, field=flag.name, value=flag.text)


def _unexplained(business: Element, kind: Business) -> Iterator[Breach]:
    if kind is Business.NEW:
        return
    if not value(business, "BussinessDocReason"):
        yield below("no-reason", business, "BussinessDocReason", value=kind.value)
    replaced = business.every("ReplacementInfoList/ReplacementInfo")
    if kind is Business.REPLACE and not replaced:
        yield below("replaces-nothing", business, "ReplacementInfoList/ReplacementInfo")
    yield from (missing(each, "DocumentId") for each in replaced if not value(each, "DocumentId"))
    if kind is Business.UPDATE and not business.all("BussinessDocumentInfo"):
        yield below("changes-nothing", business, "BussinessDocumentInfo")


def names_what_it_answers(case: Case) -> Iterator[Breach]:
    """ENV-21: an answer names the document that it answers, completely."""
    for answered in case.document.all("ResponseFor") if case.document is not None else []:
        fields = (*_ANSWERED, "PromulgationDate")
        lacking = [name for name in fields if not value(answered, name)]
        if len(lacking) == len(fields):
            yield breach("empty", answered)
        else:
            yield from (missing(answered, name) for name in lacking)


def _number(element: Element, path: str) -> int | None:
    written = value(element, path)
    return int(written) if _NUMBER.fullmatch(written) else None


def _is_one_of(written: str, values: frozenset[int]) -> bool:
    return bool(_NUMBER.fullmatch(written)) and int(written) in values


def _listed(values: frozenset[int] | set[int]) -> str:
    return ", ".join(map(str, sorted(values)))


# --- when ---------------------------------------------------------------------------------------------------------


def states_real_dates(case: Case) -> Iterator[Breach]:
    """ENV-06: the date of issue is there, yyyy/MM/dd, real and not to come; so are dates in document ids.

    Of a status it is the timestamp, yyyy/MM/dd HH:mm:ss.
    """
    path = "PromulgationInfo/PromulgationDate"
    if case.document is not None and not value(case.document, path):
        yield missing(case.document, path)
    if case.status is not None and not value(case.status, "Timestamp"):
        yield missing(case.status, "Timestamp")
    for element in case.each("Timestamp") if case.status is not None else case.each(path):
        yield from _moment(case, element)
    for element in case.each("ResponseFor/PromulgationDate"):
        yield from _moment(case, element)
    paths = ("DocumentId", "ReplacementInfoList/ReplacementInfo/DocumentId")
    others = [found for path in paths for found in case.around(f"TraceHeaderList/Bussiness/{path}")]
    for element in (*case.each("DocumentId"), *case.each("ResponseFor/DocumentId"), *others):
        yield from _dated_id(case, element)


def _moment(case: Case, element: Element) -> Iterator[Breach]:
    if not element.text or is_placeholder(element.text):
        return
    moment = parse_moment(element.text)
    timed = element.key == "timestamp"
    if moment is None:
        yield breach("unreadable", element, value=element.text)
    elif moment.date() > case.judged.today:
        yield breach("future", element, value=element.text, today=f"{case.judged.today:%Y/%m/%d}")
    elif not (is_usual_timestamp if timed else is_usual_date)(element.text):
        usual = "yyyy/MM/dd HH:mm:ss" if timed else "yyyy/MM/dd"
        yield breach("form", element, value=element.text, usual=usual)


def _dated_id(case: Case, element: Element) -> Iterator[Breach]:
    if not is_document_triple(element.text):
        return
    day = element.text.split(",")[1]
    moment = parse_moment(day)
    if names_impossible_day(element.text) or moment is None or moment.year < FIRST_REAL_YEAR:
        yield breach("id-unreadable", element, value=element.text, day=day)
    elif moment.date() > case.judged.today:
        yield breach("id-future", element, value=element.text, today=f"{case.judged.today:%Y/%m/%d}")


def is_due_after_its_date(case: Case) -> Iterator[Breach]:
    """ENV-12: DueDate, if there is one, is a date not before the date of issue."""
    if case.document is None:
        return
    issued = parse_moment(value(case.document, "PromulgationInfo/PromulgationDate"))
    for element in case.each("DueDate"):
        due = parse_moment(element.text)
        if not element.text:
            continue
        if due is None or due.year < FIRST_REAL_YEAR:
            yield breach("unreadable", element, value=element.text)
        elif issued is not None and due.date() < issued.date():
            yield breach("early", element, value=element.text, issued=f"{issued:%Y/%m/%d}")
        elif not is_usual_date(element.text):
            yield breach("form", element, value=element.text)


# --- by which way ---------------------------------------------------------------------------------------------------


def names_every_hop(case: Case) -> Iterator[Breach]:
    """ENV-19: the trace names one node at least, each with a code and a time."""
    if case.document is None or case.document.parent is None:
        return
    hops = case.around("TraceHeaderList/TraceHeader")
    if not hops:
        yield below("no-hop", case.document.parent, "TraceHeaderList/TraceHeader")
    for hop in hops:
        code, at = value(hop, "OrganId"), value(hop, "Timestamp")
        if not code or code.lower() == "null":
            yield missing(hop, "OrganId")
        elif not agency_code_form(code):
            yield below("no-code", hop, "OrganId", value=code)
        if not at:
            yield missing(hop, "Timestamp")
        elif _time(at) is None:
            yield below("unreadable", hop, "Timestamp", value=at)
        elif not is_usual_timestamp(at):
            yield below("form", hop, "Timestamp", value=at)


def lists_hops_in_order(case: Case) -> Iterator[Breach]:
    """ENV-20: the sender, or the node that serves it, stands first, and each later hop is not earlier."""
    hops = case.around("TraceHeaderList/TraceHeader") if case.document is not None else []
    first = value(hops[0], "OrganId") if hops else ""
    sender = value(case.document, "From/OrganId") if case.document is not None else ""
    if first and sender and first not in (sender, "null") and not is_node_code(first):
        yield below("not-the-sender", hops[0], "OrganId", value=first, sender=sender)
    times = [(hop, time) for hop in hops if (time := _time(value(hop, "Timestamp"))) is not None]
    for (_, before), (hop, after) in pairwise(times):
        if after < before:
            earlier = f"{before:%Y/%m/%d %H:%M:%S}"
            yield below("earlier", hop, "Timestamp", value=value(hop, "Timestamp"), before=earlier)


def _time(text: str) -> datetime | None:
    moment = parse_moment(text)
    return moment if moment is not None and moment.year >= FIRST_REAL_YEAR else None
