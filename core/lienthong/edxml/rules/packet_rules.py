"""The rules about a packet's form and its files.

ENV-01, ENV-02, ENV-16 to ENV-18, ENV-22 to ENV-24, ENV-26, ENV-27.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterator
from pathlib import PurePosixPath

from lienthong.edxml.attachments import PartFile
from lienthong.edxml.codes import (
    CONTENT_ID_PREFIX,
    KNOWN_ATTRIBUTES,
    KNOWN_CHILDREN,
    LEGACY_NAMESPACE,
    VENDOR_EXTENSIONS,
    is_zip_name,
    safe_name,
    suffix_of,
    types_agree,
)
from lienthong.edxml.profile import Severity
from lienthong.edxml.rules.judging import Breach, Case, below, breach, is_placeholder, mild, missing, value
from lienthong.edxml.rules.spoilt_text import Damage, Spoilt, spoilt
from lienthong.edxml.tree import Element, Quirk
from lienthong.errors import ContentError
from lienthong.model import Business

_FORM_QUIRKS = {
    "leading-junk": None,
    "undeclared-prefix": None,
    "namespace-foreign": None,
    # The central axis's own reader fails without the prefix, though XML gives it no meaning (vendor field notes).
    "prefix-missing": None,
    "prefix-unusual": Severity.WARNING,
    "root-unusual": None,
    "name-spelling": None,
    "status-element": None,
    "stray-text": Severity.WARNING,
    "parts-on-status": Severity.WARNING,
    "trace-on-status": Severity.WARNING,
}
"""What the reader tolerates and the form does not have; with the severity, where it is not the rule's."""

_BYTE_ORDER_MARK = r"\xef\xbb\xbf"
"""As the reader shows the three bytes."""
_ZIP_TYPES = ("application/zip", "application/x-zip-compressed", "application/x-zip")
_TEXT = ("text/plain", "application/xml")
_TYPES_OF = {
    ".pdf": ("application/pdf",),
    # Word and Excel write both names over RTF, XML and HTML too.
    ".doc": ("application/msword", "application/rtf", *_TEXT),
    ".xls": ("application/vnd.ms-excel", *_TEXT),
    ".ppt": ("application/vnd.ms-powerpoint",),
    ".docx": ("application/vnd.openxmlformats-officedocument.wordprocessingml.document",),
    ".xlsx": ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",),
    ".pptx": ("application/vnd.openxmlformats-officedocument.presentationml.presentation",),
    ".odt": ("application/vnd.oasis.opendocument.text",),
    ".ods": ("application/vnd.oasis.opendocument.spreadsheet",),
    ".odp": ("application/vnd.oasis.opendocument.presentation",),
    ".rtf": ("application/rtf",),
    ".png": ("image/png",),
    ".jpg": ("image/jpeg",),
    ".jpeg": ("image/jpeg",),
    ".gif": ("image/gif",),
    ".tif": ("image/tiff",),
    ".tiff": ("image/tiff",),
    ".txt": _TEXT,
    ".csv": _TEXT,
    ".xml": _TEXT,
    ".zip": ("application/zip",),
    ".rar": ("application/vnd.rar",),
    ".7z": ("application/x-7z-compressed",),
}
_MOST_LETTERS = 500_000
"""As much text as is looked at for spoilt letters; a real packet has a few thousand."""
_BEYOND_NAMES = frozenset('/\\:*?"<>|')

_FAULT_RULES = {
    "packet.not-xml": "ENV-01",
    "packet.malformed": "ENV-01",
    "packet.not-edxml": "ENV-01",
    "packet.no-message": "ENV-01",
    "packet.ambiguous": "ENV-01",
    "packet.status-unknown": "ENV-04",
    "packet.date-unreadable": "ENV-06",
    "packet.business-unknown": "ENV-15",
    "packet.attachment-missing": "ENV-16",
    "packet.attachment-unlisted": "ENV-16",
    "packet.content-id-repeated": "ENV-16",
    "packet.base64": "ENV-17",
    "packet.zip-broken": "ENV-17",
    "packet.doctype": "ENV-23",
    "packet.too-large": "ENV-23",
    "packet.zip-bomb": "ENV-23",
    "packet.error-list": "ENV-24",
    "packet.legacy-2803": "ENV-27",
}
_FIELD_RULES = {
    "CodeNumber": "ENV-05",
    "CodeNotation": "ENV-05",
    "PromulgationDate": "ENV-06",
    "Timestamp": "ENV-06",
    "Subject": "ENV-07",
    "BussinessDocType": "ENV-15",
    "ContentId": "ENV-16",
}


def rule_of(error: ContentError) -> str:
    """The rule that a reader's refusal belongs to; ENV-01 for whatever makes a packet no packet."""
    field, parent = str(error.facts.get("field", "")), error.where.rpartition("/")[0]
    if error.code == "packet.field-missing":
        replaced = parent.partition("[")[0].endswith("/ReplacementInfo") and field == "DocumentId"
        return "ENV-15" if replaced else _FIELD_RULES.get(field, "ENV-04")
    if error.code == "packet.ambiguous" and error.facts.get("element") == "From":
        return "ENV-03"
    if error.code == "packet.date-unreadable" and is_placeholder(str(error.facts.get("value", ""))):
        return "ENV-25"
    return _FAULT_RULES.get(error.code, "ENV-01")


def _faults(case: Case, rule: str) -> Iterator[Breach]:
    """What the reader found, in its own words."""
    mine = (fault for fault in case.packet.faults if rule_of(fault) == rule)
    return (Breach(what=fault.code, at=fault.where, error=fault) for fault in mine)


# --- form -----------------------------------------------------------------------------------------------------------


def has_the_prescribed_form(case: Case) -> Iterator[Breach]:
    """ENV-01: well-formed XML in the namespace, the prefix and the skeleton of QCVN 102."""
    for quirk in _quirks(case, _FORM_QUIRKS):
        if quirk.detail == _BYTE_ORDER_MARK:
            # XML allows it (section 4.3.3).
            continue
        facts = {"value": quirk.detail}
        yield Breach(what=quirk.id, at=quirk.where, severity=_FORM_QUIRKS[quirk.id], facts=facts)
    if case.document is None:
        return
    if not case.enclosing("edXMLBody/edXMLManifest"):
        yield below("no-manifest", case.packet.root, "edXMLEnvelope/edXMLBody/edXMLManifest")
    for inside in case.packet.root.every("edXMLEnvelope/AttachmentEncoded"):
        yield breach("attachments-inside", inside)


def _quirks(case: Case, ids: Collection[str]) -> Iterator[Quirk]:
    """What the reader noted at a place, without its counts of more such places."""
    return (quirk for quirk in case.packet.quirks if quirk.id in ids and (quirk.where or quirk.detail[:1] != "+"))


def is_readable_vietnamese(case: Case) -> Iterator[Breach]:
    """ENV-02: UTF-8 and NFC, with letters that were not spoilt on their way."""
    for quirk in _quirks(case, ("encoding-declared",)):
        yield breach("encoding", quirk.where, value=quirk.detail)
    for quirk in _quirks(case, ("not-nfc",)):
        # It can be put right without a loss; where nobody does, searching for it fails.
        yield mild("not-nfc", quirk.where, value=unicodedata.normalize("NFC", quirk.detail))
    for element, found in _spoilt(case):
        if found.damage in (Damage.REPLACED, Damage.MISREAD):
            yield breach(found.damage.value, element, value=element.text, meant=found.meant)
        else:
            yield breach("old-font", element, value=element.text, meant=found.meant, table=found.damage.value)


def _spoilt(case: Case) -> Iterator[tuple[Element, Spoilt]]:
    letters = 0
    for element in case.texts:
        found = spoilt(element.text)
        if found is not None:
            yield element, found
        letters += len(element.text)
        if letters > _MOST_LETTERS:
            return


def holds_only_known_elements(case: Case) -> Iterator[Breach]:
    """ENV-22: no element or attribute that the format does not have; every receiver should read past one."""
    waiting = [case.packet.root]
    while waiting:
        element = waiting.pop()
        known = KNOWN_CHILDREN.get(element.key, frozenset())
        for name, text in element.attributes.items():
            local = name.rpartition("}")[2]
            if local.lower() not in KNOWN_ATTRIBUTES.get(element.key, ()):
                yield breach("attribute", element, name=local, value=text)
        for child in element.children:
            if child.key not in known:
                kind = "extension" if child.key in VENDOR_EXTENSIONS else "element"
                yield breach(kind, child, name=child.name, value=child.text)
        inner = [child for child in element.children if child.key in known and child.key != "signature"]
        waiting.extend(reversed(inner))


def asks_nothing_of_this_machine(case: Case) -> Iterator[Breach]:
    """ENV-23: no DOCTYPE, and within the reader's limits; only an archive that grows too far is told so late."""
    return _faults(case, "ENV-23")


def tells_errors_in_full(case: Case) -> Iterator[Breach]:
    """ENV-24: errors that an answer lists carry a code and a description; they are told."""
    lists = (element for element in case.packet.root.walk() if element.key == "errorlist")
    for listed in (error for errors in lists for error in errors.all("Error")):
        code, description = value(listed, "Code"), value(listed, "Description")
        yield from (missing(listed, name) for name in ("Code", "Description") if not value(listed, name))
        if code or description:
            yield breach("told", listed, code=code or "-", description=description or "-")


def is_not_too_large(case: Case) -> Iterator[Breach]:
    """ENV-26: the packet is not larger than the axis takes."""
    if case.packet.size > case.profile.max_packet_bytes:
        yield breach(
            "too-large", "", size=_megabytes(case.packet.size), limit=_megabytes(case.profile.max_packet_bytes)
        )


def _megabytes(size: int) -> str:
    return f"{size / 1_000_000:.1f}"


def is_of_this_format(case: Case) -> Iterator[Breach]:
    """ENV-27: no element of the format from before QCVN 102."""
    old = (element for element in case.packet.root.walk() if element.namespace.startswith(LEGACY_NAMESPACE))
    if (first := next(old, None)) is not None:
        yield breach("legacy", first, value=first.namespace)


# --- files ----------------------------------------------------------------------------------------------------------


def lists_what_it_carries(case: Case) -> Iterator[Breach]:
    """ENV-16: manifest and attachments are one to one by ContentId; a document that is not a recall has a file."""
    yield from _faults(case, "ENV-16")
    manifests = case.enclosing("edXMLBody/edXMLManifest") if case.document is not None else []
    if manifests and not (case.packet.files or any(manifest.all("Reference") for manifest in manifests)):
        kinds = [element.text for element in case.around("TraceHeaderList/Bussiness/BussinessDocType")]
        if str(Business.RECALL.value) not in kinds:
            yield below("no-files", manifests[0], "Reference")


def carries_whole_files(case: Case) -> Iterator[Breach]:
    """ENV-17: base64 decodes; what is called a zip is one, of one file that has the attachment's ending."""
    yield from _faults(case, "ENV-17")
    for file in case.packet.files:
        if file.fault is not None:
            continue
        zipped = file.declared_type.partition(";")[0].strip().lower() in _ZIP_TYPES
        if zipped and not file.unzipped and not _is_zip(file):
            yield breach("no-zip", file.where, value=file.part.name, found=file.part.media_type)
        elif file.part.media_type == "application/zip" and not (file.unzipped or is_zip_name(file.part.name)):
            yield breach("zip-of-many", file.where, value=file.part.name)
        if file.unzipped and suffix_of(file.entry_name) != suffix_of(file.part.name):
            # Receivers go by the attachment's name, and the SDK's own samples differ here.
            yield mild("zip-entry", file.where, value=file.part.name, found=file.entry_name)


def _is_zip(file: PartFile) -> bool:
    return file.part.media_type == "application/zip" or is_zip_name(file.part.name)


def names_its_files_honestly(case: Case) -> Iterator[Breach]:
    """ENV-18: a file's name is safe, fits, is the same in both places, and its ending is what the file is."""
    references = case.enclosing("edXMLBody/edXMLManifest/Reference")
    attachments = case.enclosing("AttachmentEncoded/Attachment")
    for element in (*references, *attachments):
        for name in element.all("AttachmentName"):
            if _is_unsafe(name.text):
                yield breach("unsafe", name, value=name.text, safe=safe_name(name.text))
    for path, element, limit in case.too_long:
        if path.endswith("/AttachmentName"):
            yield breach("too-long", element, value=element.text, length=len(element.text), limit=limit)
    yield from _misnamed(references, attachments)
    for file in case.packet.files:
        yield from _disguised(file)


def _is_unsafe(name: str) -> bool:
    if any(letter in _BEYOND_NAMES or unicodedata.category(letter) in ("Cc", "Cf") for letter in name):
        return True
    # Names that Windows keeps for devices get a mark in front.
    return safe_name(name).startswith("_") and not name.strip(" .").startswith("_")


def _misnamed(references: list[Element], attachments: list[Element]) -> Iterator[Breach]:
    listed = {_content_id(reference): value(reference, "AttachmentName") for reference in references}
    for attachment in attachments:
        name, other = value(attachment, "AttachmentName"), listed.get(_content_id(attachment), "")
        if not (name or other):
            yield missing(attachment, "AttachmentName")
        elif name and other and name != other:
            yield below("differs", attachment, "AttachmentName", value=name, other=other)


def _content_id(element: Element) -> str:
    written = value(element, "ContentId")
    return written[len(CONTENT_ID_PREFIX) :].strip() if written.lower().startswith(CONTENT_ID_PREFIX) else written


def _disguised(file: PartFile) -> Iterator[Breach]:
    if file.fault is not None or file.part.size == 0:
        return
    found, suffix = file.part.media_type, PurePosixPath(file.part.name).suffix.lower()
    declared = file.declared_type.partition(";")[0].strip().lower()
    if found == "application/zip" and not file.unzipped:
        # A zip of many files under another name (ENV-17).
        return
    if not suffix:
        if file.part.name != safe_name(""):
            yield breach("no-ending", file.where, value=file.part.name, found=found)
    elif found not in _TYPES_OF.get(suffix, (found,)):
        yield breach("disguised", file.where, value=file.part.name, found=found)
    elif declared not in (*_ZIP_TYPES, *_TYPES_OF.get(suffix, ())) and not types_agree(declared, found):
        yield breach("other-type", file.where, value=file.declared_type, found=found)
