"""Packets made to harm: refused cleanly or read, in bounded time and memory, and nothing stays behind."""

from __future__ import annotations

import base64
import gzip
import io
import os
import struct
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest

from lienthong import ContentError
from lienthong.edxml import ReadLimits, open_packet

from .builders import LIMITS, PDF, Attached, Raw, zipped, zipped_all
from .fuzz import FIXTURES

CPU_SECONDS = 3.0
"""A tenth of it is usual. What is repeated below takes more as soon as one step is quadratic in it."""
MB = 1024 * 1024
PLAIN = (FIXTURES / "plain.edxml").read_text("utf-8")
MANY = 10_000
MANIFEST = '<edXML:edXMLManifest version="1.0">'
BARE = PLAIN.partition("\n")[2].encode()


def outcome(source: BinaryIO, limits: ReadLimits = LIMITS) -> str:
    """``message``, or the code of why not; with files for a packet that could be opened, and none for another."""
    with tempfile.TemporaryDirectory() as name:
        try:
            packet = open_packet(source, Path(name), limits)
        except ContentError as refusal:
            assert os.listdir(name) == []
            return refusal.code
        assert {file.path for file in packet.files} == set(Path(name).iterdir())
        return packet.faults[0].code if packet.faults else "message"


def timed(packet: bytes, limits: ReadLimits = LIMITS) -> str:
    started = time.process_time()
    found = outcome(io.BytesIO(packet), limits)
    assert time.process_time() - started < CPU_SECONDS
    return found


def in_header(markup: str) -> bytes:
    return PLAIN.replace("<edXML:Subject>", f"{markup}<edXML:Subject>", 1).encode()


def in_root_tag(attribute: str) -> bytes:
    return PLAIN.replace("<edXML xmlns", f"<edXML {attribute} xmlns", 1).encode()


def after(tag: str, markup: str) -> bytes:
    assert tag in PLAIN
    return PLAIN.replace(tag, f"{tag}{markup}", 1).encode()


def in_content(text: bytes) -> bytes:
    return PLAIN.encode().replace(b"JVBER", text + b"JVBER", 1)


# --- entities and document types ----------------------------------------------------------------------------------

LONG_COMMENT = "<!-- " + "x" * 300_000 + " -->"
LAUGHS = '<!DOCTYPE a [<!ENTITY b "ha">' + "".join(f'<!ENTITY b{n} "&b;&b;">' for n in range(30)) + "]>"
OUTSIDE = '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]>'
PARAMETER = '<!DOCTYPE a [<!ENTITY % b SYSTEM "http://127.0.0.1:9/x.dtd"> %b;]>'


@pytest.mark.parametrize("doctype", ["<!DOCTYPE a>", "<!doctype a>", LAUGHS, OUTSIDE, PARAMETER], ids=range(5))
@pytest.mark.parametrize("before", ["", "0042", "<?xml version='1.0'?>", "<!-- x --> ", LONG_COMMENT], ids=range(5))
def test_a_document_type_is_refused_wherever_it_may_stand(doctype, before):
    assert timed(f"{before}{doctype}<edXML/>".encode()) in ("packet.doctype", "packet.malformed")


@pytest.mark.parametrize("before", ["", "0042", "<!-- x -->"])
def test_a_document_type_is_named(before):
    assert timed(f"{before}{OUTSIDE}<edXML/>".encode()) == "packet.doctype"


@pytest.mark.parametrize(
    "packet",
    [
        in_header(OUTSIDE),
        in_header("<X>&b;</X>"),
        in_header("<X a='&b;'/>"),
        in_header("<X>%b;&#0;</X>"),
        (PLAIN + OUTSIDE).encode(),
        in_header("<!ENTITY b 'c'>"),
    ],
    ids=["in the middle", "entity", "entity in attribute", "null", "at the end", "declaration"],
)
def test_entities_anywhere_else_are_malformed(packet):
    assert timed(packet) in ("packet.malformed", "packet.doctype")


@pytest.mark.parametrize("markup", ["<!-- <!DOCTYPE a> -->", "<![CDATA[<!DOCTYPE a>]]>"])
def test_what_only_looks_like_a_document_type_is_text(markup):
    assert timed(in_header(f"<X>{markup}</X>")) == "message"


# --- too much of something ----------------------------------------------------------------------------------------


TOO_MUCH: dict[str, Callable[[], bytes]] = {
    "depth": lambda: in_header("<x>" * 100_000),
    "elements": lambda: in_header("<x/>" * 1_000_000),
    "attributes": lambda: in_header("<X " + " ".join(f'a{n}=""' for n in range(1_000_000)) + "/>"),
    "element name": lambda: in_header(f"<{'x' * MB}/>"),
    "attribute name": lambda: in_header(f"<X {'x' * MB}='1'/>"),
    "attribute value": lambda: in_header(f"<X a='{'x' * 17 * MB}'/>"),
    "text": lambda: in_header("x" * 17 * MB),
    "comment": lambda: in_header(f"<!-- {'x' * 17 * MB} -->"),
    "root attribute": lambda: in_root_tag(f'a="{"x" * 17 * MB}"'),
    "endless name": lambda: b"<" + b"x" * 17 * MB,
    "endless comment": lambda: b"<!--" + b"x" * 17 * MB,
    "endless instruction": lambda: b"<?x " + b"x" * 17 * MB,
}


@pytest.mark.parametrize("name", TOO_MUCH)
def test_too_much_is_refused_quickly(name):
    assert timed(TOO_MUCH[name]()) in ("packet.too-large", "packet.malformed")


MARKS = "\u0301" * 6 * MANY + "\u0323" * 6 * MANY
REPEATED: dict[str, Callable[[], bytes]] = {
    "content words": lambda: in_header("<X>" + "contenttransferencoded" * MANY + "</X>"),
    "content words in a comment": lambda: in_header("<!-- " + "contenttransferencoded>" * MANY + " -->"),
    "content elements": lambda: in_header("<X>" + "<ContentTransferEncoded/>" * MANY + "</X>"),
    "xmlns in a value": lambda: in_root_tag('a="' + "xmlns:" * MANY + '"'),
    "xmlns and a name in a value": lambda: in_root_tag('a="' + "xmlns:a" * MANY + '"'),
    "references": lambda: in_header("&#48;" * 30 * MANY),
    "namespaces": lambda: in_header("<X " + " ".join(f'xmlns:a{n}="u{n}"' for n in range(20 * MANY)) + "/>"),
    "declarations": lambda: in_root_tag(" ".join(f'xmlns:a{n}="u"' for n in range(MANY))),
    "empty recipients": lambda: in_header("<edXML:To/>" * MANY),
    "recipients": lambda: in_header("".join(f"<To><OrganId>{n}</OrganId></To>" for n in range(MANY))),
    "answers": lambda: in_header("<ResponseFor><Code>1/A</Code></ResponseFor>" * MANY),
    "empty answers": lambda: in_header("<ResponseFor/>" * MANY),
    "subjects": lambda: in_header("<Subject>A</Subject>" * MANY),
    "strangers": lambda: in_header("".join(f"<X>{n}</X>" for n in range(MANY))),
    "strangers in From": lambda: in_header("<edXML:From>" + "<X/>" * MANY + "</edXML:From>"),
    "stray text": lambda: in_header("a<X/>" * MANY),
    "instructions": lambda: in_header("<?x y?>" * MANY),
    "hops": lambda: after("<edXML:TraceHeaderList>", "<edXML:TraceHeader/>" * MANY),
    "staff": lambda: after("<edXML:Bussiness>", "<edXML:StaffInfo/>" * MANY),
    "headers": lambda: after("<edXML:edXMLHeader>", "<edXML:MessageHeader/>" * MANY),
    "signatures": lambda: after("<edXML:edXMLHeader>", "<Signature/>" * MANY),
    "empty references": lambda: after(MANIFEST, "<edXML:Reference/>" * MANY),
    "references of one id": lambda: after(MANIFEST, "<Reference><ContentId>1</ContentId></Reference>" * MANY),
    "empty attachments": lambda: after("<AttachmentEncoded>", "<Attachment/>" * MANY),
    "attachments": lambda: after(
        "<AttachmentEncoded>", "".join(f"<Attachment><ContentId>{n}</ContentId></Attachment>" for n in range(MANY))
    ),
    "combining marks": lambda: in_header(f"<X>{MARKS}</X>"),
    "combining marks in a name": lambda: PLAIN.replace("118_SYT-NVY.pdf", f"a{MARKS}.pdf").encode(),
    "recipients in recipients": lambda: in_header("<edXML:To>" * 30 + "</edXML:To>" * 30),
    "escaped blanks in base64": lambda: in_content(b"&#13;" * 10 * MANY),
    "blanks in base64": lambda: in_content(b" " * 100 * MANY),
    "comments in base64": lambda: in_content(b"<!---->" * MANY),
    "elements in base64": lambda: in_content(b"<a/>" * MANY),
    "sections in base64": lambda: in_content(b"<![CDATA[]]>" * MANY),
    "ampersands in base64": lambda: in_content(b"&" * 10 * MANY),
    "comments before": lambda: b"<!--x-->" * MANY + BARE,
    "instructions before": lambda: b"<?x?>" * MANY + BARE,
    "comments after": lambda: PLAIN.encode() + b"<!--x-->" * MANY,
    "blanks after": lambda: PLAIN.encode() + b"\n" * 10 * MB,
}
ANSWERS = frozenset(
    f"packet.{name}"
    for name in (
        *("ambiguous", "base64", "malformed", "too-large", "field-missing", "content-id-repeated"),
        *("attachment-unlisted", "attachment-missing"),
    )
)


@pytest.mark.parametrize("name", REPEATED)
def test_no_step_is_quadratic(name):
    assert timed(REPEATED[name]()) in ANSWERS | {"message"}


# --- bytes that are no packet -------------------------------------------------------------------------------------


OTHERS = {
    "nothing": b"",
    "nulls": bytes(100_000),
    "blanks": b" " * 100_000,
    "PDF": PDF,
    "gzip": gzip.compress(PLAIN.encode()),
    "zip": zipped(PLAIN.encode(), "118.edxml"),
    "base64": base64.b64encode(PLAIN.encode()),
    "JSON": b'{"status": "ok"}',
    "UTF-16": PLAIN.encode("utf-16"),
    "UTF-16 BE": PLAIN.encode("utf-16-be"),
    "UTF-32": PLAIN.encode("utf-32"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_another_file_is_no_xml(name):
    assert timed(OTHERS[name]) in ("packet.not-xml", "packet.malformed")


def test_the_page_of_a_proxy_is_no_packet():
    assert timed(b"<html><body>503 Service Unavailable</body></html>") == "packet.not-edxml"


@pytest.mark.parametrize("name", ["new.edxml", "many_files.edxml", "status.edxml", "vendor_extensions.edxml"])
def test_a_packet_cut_off_anywhere_is_refused(name):
    packet = (FIXTURES / name).read_bytes().rstrip()
    for fiftieth in range(50):
        code = timed(packet[: len(packet) * fiftieth // 50])
        assert code in ("packet.not-xml", "packet.malformed")


@pytest.mark.parametrize("content_id", ["", " ", "cid:1", "CID:1", "1"])
def test_two_files_of_one_id_never_stand_in_for_each_other(content_id):
    first, second = Attached(content=PDF), Attached(content=b"other", content_id=content_id, listed_id=content_id)
    assert timed(Raw(attached=(first, second)).packet()) in ("packet.content-id-repeated", "packet.field-missing")


@pytest.mark.parametrize(
    "name",
    ["../../etc/passwd", "..\\..\\x.pdf", "/etc/passwd", "C:\\x.pdf", "a\u202efdp.exe", "&#9;a&#10;.pdf", "...", "CON"],
)
def test_a_hostile_name_never_leaves_its_folder(name, tmp_path):
    (tmp_path / "in").mkdir()
    packet = Raw(attached=(Attached(name=name, listed_name=name),)).packet()
    (file,) = open_packet(io.BytesIO(packet), tmp_path / "in").files
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
    assert not set(file.part.name) & set('/\\:*?"<>|\n\t\u202e')
    assert file.part.name.strip(". ")
    assert Path(file.part.name).stem.lower() != "con"


# --- base64 -------------------------------------------------------------------------------------------------------


RUBBISH = (
    *(b"=", b"====", b"A===", b"JVBE=JVBE", b"JV==JVBE", b"JVB_", b"JVB-", b"\xc3\xa9", b"&lt;", b"<a/>", b"%", b"\0"),
    *(b"JVBERi0" + b" " * 300_000 + b"!", b"QQ" * 100_000 + b"=" * 9, b"<ContentTransferEncoded/>"),
)


@pytest.mark.parametrize("text", RUBBISH, ids=range(len(RUBBISH)))
def test_rubbish_in_base64_is_no_file(text):
    packet = Raw(attached=(Attached(content="HOLE"),)).packet().replace(b"HOLE", text)
    assert timed(packet) in ("packet.base64", "packet.malformed")


# --- zips ---------------------------------------------------------------------------------------------------------


def with_zip(archive: bytes, name: str = "12.pdf") -> bytes:
    return Raw(attached=(Attached(content=archive, name=name, listed_name=name),)).packet()


def patched(archive: bytes, signature: bytes, offset: int, form: str, value: int) -> bytes:
    data = bytearray(archive)
    struct.pack_into(form, data, data.rindex(signature) + offset, value)
    return bytes(data)


ZEROS = zipped(bytes(8 * MB))
ENTRY, LISTED, END = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"


@pytest.mark.parametrize(
    "limits",
    [
        ReadLimits(unzip_free_bytes=MB, unzip_ratio=50),
        ReadLimits(unzipped_bytes=8 * MB - 1),
        ReadLimits(unzip_free_bytes=0, unzip_ratio=0),
    ],
    ids=["ratio", "absolute", "none"],
)
def test_a_zip_bomb_is_refused(limits):
    assert timed(with_zip(ZEROS), limits) == "packet.zip-bomb"


def test_what_a_bomb_states_about_itself_is_not_believed():
    lying = patched(patched(ZEROS, LISTED, 24, "<I", 10), ENTRY, 22, "<I", 10)
    assert timed(with_zip(lying), ReadLimits(unzip_free_bytes=MB, unzip_ratio=1)) in (
        "packet.zip-bomb",
        "packet.zip-broken",
    )


def test_many_files_share_one_room():
    attached = tuple(
        Attached(content=zipped(bytes(MB)), content_id=f"cid:{n}", listed_id=f"cid:{n}", name=f"{n}.pdf")
        for n in range(9)
    )
    assert (
        timed(Raw(attached=attached).packet(), ReadLimits(unzip_free_bytes=8 * MB, unzip_ratio=0)) == "packet.zip-bomb"
    )


def deep(levels: int) -> bytes:
    content = PDF
    for _ in range(levels):
        content = zipped(content, "a.zip")
    return content


def zip64_lie(size: int) -> bytes:
    """One entry whose extra field states another size (APPNOTE.TXT 4.5.3)."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as target:
        entry = zipfile.ZipInfo("a.pdf")
        entry.extra = struct.pack("<HHQQ", 0x9999, 16, size, size)
        target.writestr(entry, PDF)
    data = archive.getvalue().replace(b"\x99\x99\x10\x00", b"\x01\x00\x10\x00")
    for offset in (20, 24):
        data = patched(data, LISTED, offset, "<I", 0xFFFFFFFF)
    return data


def overlapping() -> bytes:
    """Many entries of a directory that all point to the same bytes."""
    archive = zipped(bytes(MB))
    start, end = archive.rindex(LISTED), archive.rindex(END)
    directory = archive[start:end] * 1000
    closing = END + struct.pack("<HHHHIIH", 0, 0, 1000, 1000, len(directory), start, 0)
    return archive[:start] + directory + closing


STRANGE: dict[str, Callable[[], bytes]] = {
    "many entries": lambda: zipped_all({f"{n}.txt": b"" for n in range(20_000)}),
    "overlapping entries": overlapping,
    "overlapping, one stated": lambda: patched(overlapping(), END, 10, "<H", 1),
    "many layers": lambda: deep(30),
    "no entry": lambda: ENTRY + zipped_all({}),
    "tail": lambda: zipped(PDF) + b"x" * 70_000,
    "head": lambda: ENTRY + b"x" * 70_000 + zipped(PDF),
    "entries stated": lambda: patched(zipped(PDF), END, 10, "<H", 0xFFFF),
    "size of the directory": lambda: patched(zipped(PDF), END, 12, "<I", 0xFFFFFFFF),
    "directory after the end": lambda: patched(zipped(PDF), END, 16, "<I", 0xFFFFFFFF),
    "directory elsewhere": lambda: patched(zipped(PDF), END, 16, "<I", 7),
    "comment stated": lambda: patched(zipped(PDF), END, 20, "<H", 0xFFFF),
    "lzma stated": lambda: patched(zipped(PDF), LISTED, 10, "<H", 14),
    "no such method": lambda: patched(zipped(PDF), LISTED, 10, "<H", 99),
    "encrypted": lambda: patched(zipped(PDF), LISTED, 8, "<H", 1),
    "entry after the end": lambda: patched(zipped(PDF), LISTED, 42, "<I", 0xFFFFFFFE),
    "name after the end": lambda: patched(zipped(PDF), LISTED, 28, "<H", 0xFFFF),
    "size after the end": lambda: patched(zipped(PDF), LISTED, 20, "<I", 0x7FFFFFFF),
    "wrong sum": lambda: patched(zipped(PDF), LISTED, 16, "<I", 1),
    "zip64, 2**63": lambda: zip64_lie(2**63),
    "zip64, 2**64 - 1": lambda: zip64_lie(2**64 - 1),
    "zip64, too small": lambda: zip64_lie(3),
    "long name": lambda: zipped(PDF, "x" * 65_000),
    "path": lambda: zipped(PDF, "../../../etc/passwd"),
    "folder": lambda: zipped(b"", "folder/"),
    "lzma": lambda: zipped(PDF, method=zipfile.ZIP_LZMA),
    "bzip2": lambda: zipped(PDF, method=zipfile.ZIP_BZIP2),
}


@pytest.mark.parametrize("name", STRANGE)
def test_a_strange_zip_is_kept_or_unpacked_or_a_fault(name):
    assert timed(with_zip(STRANGE[name]())) in ("message", "packet.zip-broken")


def test_one_layer_is_unpacked_and_no_more(tmp_path):
    (file,) = open_packet(io.BytesIO(with_zip(deep(30))), tmp_path).files
    assert file.unzipped
    assert file.path.read_bytes() == deep(29)
