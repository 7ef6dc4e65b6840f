"""Damaged and hostile packets, and large ones: no crash, no hang, no memory."""

from __future__ import annotations

import contextlib
import random
import subprocess
import sys
from dataclasses import replace

import pytest

from lienthong import ContentError, PartRole

from .builders import DOCUMENT, LETTER, PDF, REPORT, Attached, Raw, blob, read, status_packet, written, zipped

SPLINTERS = (
    *(b"<", b">", b"&", b"&amp;", b"&#0;", b"&x;", b"]]>", b"<![CDATA[", b"<!--", b"-->", b"<?", b"?>", b'"', b"="),
    *(b"<!DOCTYPE a>", b"</edXML>", b"<edXML:Subject>", b"null", b"cid:", b"2014/02/30", b"\x00", b"\xff", b"\xe1\xba"),
    *(b"=", b"====", b"PK\x03\x04", b"PK\x05\x06", b"\r\n", b" xmlns=''", b"<Attachment/>", b"9" * 50, b"-1"),
)


def mutated(packet: bytes, chance: random.Random) -> bytes:
    data = bytearray(packet)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(data) + 1)
        to = min(len(data), at + chance.choice((1, 2, 8, 64, 500)))
        match chance.randrange(7):
            case 0:
                data[at:to] = b""
            case 1:
                data[at:at] = chance.choice(SPLINTERS)
            case 2:
                data[at:at] = data[at:to]
            case 3:
                data[at:to] = chance.randbytes(to - at)
            case 4 | 5:
                # A line is an element in our packets, so these stay well-formed.
                lines = bytes(data).splitlines(keepends=True) or [b""]
                lines[chance.randrange(len(lines))] = chance.choice((b"", chance.choice(lines) * 2))
                data = bytearray(b"".join(lines))
            case _:
                other = chance.randrange(len(data) + 1)
                data[at:to] = data[other : other + to - at]
    return bytes(data)


@pytest.mark.parametrize("seed", range(6))
def test_500_damaged_packets_are_read_or_refused_and_nothing_else(seed):
    chance = random.Random(seed)
    note, note_bytes = blob(PartRole.ATTACHMENT, "a.txt", b"Note")
    packets = (
        written(replace(DOCUMENT, parts=(LETTER, note)), {note.sha256: note_bytes}),
        written(REPORT),
        Raw(attached=(Attached(content=zipped(PDF)),), more="<ResponseFor/>").packet(),
        status_packet(),
    )
    for _ in range(500):
        with contextlib.suppress(ContentError):
            read(mutated(chance.choice(packets), chance))


@pytest.mark.parametrize("seed", range(2))
def test_250_damaged_zips_are_unpacked_or_refused_and_nothing_else(seed):
    chance, codes = random.Random(seed), set()
    for _ in range(250):
        damaged = mutated(zipped(PDF * 3), chance)
        try:
            read(Raw(attached=(Attached(content=b"PK\x03\x04" + damaged[4:]),)).packet())
        except ContentError as refusal:
            codes.add(refusal.code)
    assert codes == {"packet.zip-broken"}


MEASURE = """
import dataclasses, hashlib, io, pathlib, re, sys
from datetime import date, datetime
from lienthong import VIETNAM, Document, Organization, Part, PartRole, TraceHop
from lienthong.edxml import WriteProfile, read_packet, write_packet

folder, zip_parts = pathlib.Path(sys.argv[1]), sys.argv[2] == "zip"
size, block = 64 * 1024 * 1024, bytes(range(251)) * 4177
digest, left = hashlib.sha256(), size
with (folder / "part").open("wb") as target:
    while left:
        piece = block[: min(left, len(block))]
        digest.update(piece)
        left -= target.write(piece)
part = Part(role=PartRole.MAIN, name="a.bin", media_type="application/octet-stream", size=size,
            sha256=digest.hexdigest())
document = Document(
    sender=Organization(code="A"), recipients=(Organization(code="B"),), document_id="A,2026/11/20,1/X", number="1",
    notation="X", promulgated=date(2026, 11, 20), subject="S", trace=(TraceHop(organ="A", at=datetime.now(VIETNAM)),),
    parts=(part,),
)

def peak():
    # Unlike getrusage, this forgets what the process was before exec.
    return int(re.search(r"VmHWM:\\s+(\\d+)", pathlib.Path("/proc/self/status").read_text())[1]) // 1024

before = peak()
with (folder / "packet").open("wb") as sink:
    write_packet(document, lambda part: (folder / "part").open("rb"), sink, WriteProfile(zip_parts=zip_parts))
wrote = peak()
with (folder / "packet").open("rb") as source:
    content = read_packet(source, folder / "read")
assert content.message.parts == (part,)
print(wrote - before, peak() - before)
"""


@pytest.mark.parametrize("form", ["raw", "zip"])
def test_memory_does_not_grow_with_an_attachment_of_64_mb(tmp_path, form):
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path), form], capture_output=True, text=True, check=True, timeout=120
    )
    wrote, read_too = map(int, done.stdout.split())
    assert wrote < 20
    assert read_too < 20
