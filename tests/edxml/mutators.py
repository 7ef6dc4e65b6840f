"""Damage to packets, from single bits to well-formed nonsense. Pure: the same chance gives the same bytes.

Three families, because each reaches what the others do not: bytes break the XML, tokens keep most of it well-formed
and break its meaning, payloads leave the XML whole and break base64 and zip.
"""

from __future__ import annotations

import base64
import io
import random
import re
import struct
import zipfile
from collections.abc import Callable

MOST_BYTES = 100_000

SPLINTERS = (
    *(b"<", b">", b"&", b"&amp;", b"&#0;", b"&x;", b"]]>", b"<![CDATA[", b"<!--", b"-->", b"<?", b"?>", b'"', b"="),
    *(b"<!DOCTYPE a>", b'<!DOCTYPE a [<!ENTITY b "c">]>', b"</edXML>", b"<edXML:Subject>", b"</edXML:edXMLHeader>"),
    *(
        b"\x00",
        b"\xff",
        b"\xe1\xba",
        b"\xef\xbb\xbf",
        b"\xff\xfe",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\r\n",
        b"\r",
    ),
    *(
        b"====",
        b"PK\x03\x04",
        b"PK\x05\x06",
        b" xmlns=''",
        b" xmlns:edXML='u'",
        b"<Attachment/>",
        b"<?xml version='1.0'?>",
    ),
    *(
        b"<ContentTransferEncoded>",
        b"</ContentTransferEncoded>",
        b"<!-- <ContentTransferEncoded> -->",
        b"&#13;",
        b"&#1",
    ),
)
VALUES = (
    *("", "null", "NULL", "0", "-1", "1", "2", "3", "7", "06", "true", "có", "N/A", "\u200b", "\u202e", "a\u0301" * 40),
    *(
        "2014/02/30",
        "1900/01/01",
        "0000/00/00",
        "9999/12/31",
        "99999/1/1",
        "31/12/9999 23:59:59",
        "2024-03-05T25:61:61Z",
    ),
    *("0001/01/01 00:00:00", "9999/12/31 23:59:59+0000", "2024/03/05 09:31:07.999999999 +99:99", "٢٠٢٤/٠٣/٠٥", "१२"),
    *(
        "../../etc/passwd",
        "a/b\\c:d",
        "con.pdf",
        ".",
        "..",
        "x" * 5000,
        ",,,",
        "a,2024/03/05,1/b",
        "cid:",
        "CID:1",
        "cid:118",
    ),
    *("01", "09", "13", "16", "99", "+5", "1e9", "0x10", "1_0", "999999999", "9999999999", "\U0001f4a9", "&#x10FFFF;"),
)
NAMES = (
    *(
        b"MessageHeader",
        b"Status",
        b"StatusCode",
        b"Subject",
        b"To",
        b"From",
        b"TraceHeaderList",
        b"Signature",
        b"edXML",
    ),
    *(
        b"edXMLEnvelope",
        b"AttachmentEncoded",
        b"Attachment",
        b"ContentTransferEncoded",
        b"ContentId",
        b"Bussiness",
        b"X",
    ),
    *(b"ErrorList", b"Error", b"ResponseFor", b"Code", b"Reference", b"edXMLManifest", b"x:y", b"\xc4\x90", b"-", b"1"),
)
NUMBERS = (0, 1, 2, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)

_TOKEN = re.compile(rb"<!--.*?-->|<[^<>]*>|[^<]+|<", re.DOTALL)
_START_TAG = re.compile(rb"<([^\s/<>!?]+)[^<>]*(?<!/)>")
_NAME = re.compile(rb"(?<=[</])(?:[\w.-]+:)?[\w.-]+")
_DIGITS = re.compile(rb"\d+")
_ATTRIBUTE = re.compile(rb'([\w:.-]+)="([^"<>]*)"')
_CONTENT = re.compile(rb"(?<=>)[A-Za-z0-9+/= \t\r\n]{24,}(?=<)")
_ZIP_RECORD = re.compile(rb"PK(?:\x01\x02|\x03\x04|\x05\x06|\x06\x06|\x06\x07)")

Mutator = Callable[[bytes, random.Random], bytes]


def mutated(packet: bytes, another: bytes, chance: random.Random) -> bytes:
    """One damaged packet; ``another`` is what pieces may be taken from."""
    for _ in range(chance.choice((1, 1, 1, 2, 2, 3, 5))):
        family = chance.choice((BYTES, TOKENS, TOKENS, PAYLOADS))
        if family is BYTES and chance.random() < 0.1:
            packet = _crossed(packet, another, chance)
        else:
            packet = chance.choice(family)(packet, chance)
    return packet[:MOST_BYTES]


def _span(packet: bytes, chance: random.Random) -> tuple[int, int]:
    at = chance.randrange(len(packet) + 1)
    return at, min(len(packet), at + chance.choice((1, 1, 2, 8, 64, 500)))


def _flip_bits(packet: bytes, chance: random.Random) -> bytes:
    data = bytearray(packet)
    for _ in range(chance.choice((1, 1, 2, 8))):
        if data:
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return bytes(data)


def _insert(packet: bytes, chance: random.Random) -> bytes:
    at, _ = _span(packet, chance)
    return packet[:at] + chance.choice((chance.choice(SPLINTERS), chance.randbytes(chance.randint(1, 9)))) + packet[at:]


def _delete(packet: bytes, chance: random.Random) -> bytes:
    at, to = _span(packet, chance)
    return packet[:at] + packet[to:]


def _duplicate(packet: bytes, chance: random.Random) -> bytes:
    at, to = _span(packet, chance)
    return packet[:to] + packet[at:to] * chance.choice((1, 1, 30)) + packet[to:]


def _swap(packet: bytes, chance: random.Random) -> bytes:
    at, to = _span(packet, chance)
    begin, end = _span(packet[to:], chance)
    return packet[:at] + packet[to + begin : to + end] + packet[to : to + begin] + packet[at:to] + packet[to + end :]


def _overwrite(packet: bytes, chance: random.Random) -> bytes:
    at, to = _span(packet, chance)
    return packet[:at] + chance.randbytes(to - at) + packet[to:]


def _truncate(packet: bytes, chance: random.Random) -> bytes:
    at, _ = _span(packet, chance)
    return packet[:at]


def _crossed(packet: bytes, another: bytes, chance: random.Random) -> bytes:
    return packet[: chance.randrange(len(packet) + 1)] + another[chance.randrange(len(another) + 1) :]


def _on_tokens(change: Callable[[list[bytes], random.Random], None]) -> Mutator:
    def mutate(packet: bytes, chance: random.Random) -> bytes:
        tokens = _TOKEN.findall(packet)
        if tokens:
            change(tokens, chance)
        return b"".join(tokens)

    return mutate


def _picked(tokens: list[bytes], chance: random.Random, pattern: re.Pattern[bytes]) -> int | None:
    for _ in range(20):
        at = chance.randrange(len(tokens))
        if pattern.match(tokens[at]):
            return at
    return None


def _element(tokens: list[bytes], chance: random.Random) -> slice:
    """Where a whole element stands; nothing when none was met."""
    start = _picked(tokens, chance, _START_TAG)
    if start is None:
        return slice(0, 0)
    name, depth = _START_TAG.match(tokens[start])[1], 0
    for at in range(start, len(tokens)):
        token = tokens[at]
        if (tag := _START_TAG.match(token)) and tag[1] == name:
            depth += 1
        elif token.startswith(b"</" + name + b">"):
            depth -= 1
        if depth == 0:
            return slice(start, at + 1)
    return slice(start, start + 1)


def _swap_tags(tokens: list[bytes], chance: random.Random) -> None:
    one, other = chance.randrange(len(tokens)), chance.randrange(len(tokens))
    tokens[one], tokens[other] = tokens[other], tokens[one]


def _drop_tag(tokens: list[bytes], chance: random.Random) -> None:
    del tokens[chance.randrange(len(tokens))]


def _duplicate_element(tokens: list[bytes], chance: random.Random) -> None:
    found = _element(tokens, chance)
    tokens[found.stop : found.stop] = tokens[found] * chance.choice((1, 1, 2, 40))


def _delete_element(tokens: list[bytes], chance: random.Random) -> None:
    del tokens[_element(tokens, chance)]


def _move_element(tokens: list[bytes], chance: random.Random) -> None:
    found = _element(tokens, chance)
    moved = tokens[found]
    del tokens[found]
    at = chance.randrange(len(tokens) + 1)
    tokens[at:at] = moved


def _wrap_element(tokens: list[bytes], chance: random.Random) -> None:
    found, name = _element(tokens, chance), chance.choice(NAMES)
    tokens[found] = [b"<%b>" % name, *tokens[found], b"</%b>" % name]


def _insert_element(tokens: list[bytes], chance: random.Random) -> None:
    at, name = chance.randrange(len(tokens) + 1), chance.choice(NAMES)
    tokens[at:at] = [b"<%b>" % name, chance.choice(VALUES).encode(), b"</%b>" % name]


def _rename_element(tokens: list[bytes], chance: random.Random) -> None:
    found, name = _element(tokens, chance), chance.choice(NAMES)
    if found.stop - found.start > 1:
        for at in (found.start, found.stop - 1):
            tokens[at] = _NAME.sub(lambda _: name, tokens[at], count=1)


def _respell_element(tokens: list[bytes], chance: random.Random) -> None:
    found = _element(tokens, chance)
    respell = chance.choice(
        (bytes.upper, bytes.lower, lambda name: name.rpartition(b":")[2], lambda name: b"q:" + name)
    )
    for at in range(found.start, found.stop):
        if tokens[at].startswith(b"<"):
            tokens[at] = _NAME.sub(lambda name: respell(name[0]), tokens[at], count=1)


def _change_attribute(tokens: list[bytes], chance: random.Random) -> None:
    at = _picked(tokens, chance, _START_TAG)
    if at is None:
        return
    value = chance.choice((*VALUES, "http://www.w3.org/2000/09/xmldsig#", "go.vn/eDoc")).encode()
    if _ATTRIBUTE.search(tokens[at]) and chance.random() < 0.7:
        tokens[at] = _ATTRIBUTE.sub(lambda found: found[1] + b'="' + value + b'"', tokens[at], count=1)
    else:
        name = chance.choice((b"id", b"Id", b"xlink:href", b"xsi:nil", b"xml:space", b"xmlns", b"xmlns:edXML", b"p:q"))
        tokens[at] = tokens[at][:-1] + b" " + name + b'="' + value + b'">'


def _change_text(tokens: list[bytes], chance: random.Random) -> None:
    at = _picked(tokens, chance, re.compile(rb"\s*[^<\s]"))
    if at is not None:
        tokens[at] = chance.choice(VALUES).encode()


def _splice_entity(tokens: list[bytes], chance: random.Random) -> None:
    at = chance.randrange(len(tokens))
    cut = chance.randrange(len(tokens[at]) + 1)
    entity = chance.choice(
        (b"&amp;", b"&#48;", b"&#x0;", b"&#13;", b"&lt;", b"&quot;", b"&b;", b"&#x110000;", b"&#", b"&")
    )
    tokens[at] = tokens[at][:cut] + entity + tokens[at][cut:]


def _blow_up_number(tokens: list[bytes], chance: random.Random) -> None:
    at = _picked(tokens, chance, re.compile(rb"[^<]*\d"))
    if at is not None:
        number = chance.choice((b"9" * chance.choice((9, 10, 400)), b"-1", b"0", b"1" + b"0" * 20, b"1.5"))
        tokens[at] = _DIGITS.sub(lambda _: number, tokens[at], count=chance.choice((1, 9)))


def _comment_out(tokens: list[bytes], chance: random.Random) -> None:
    found = _element(tokens, chance)
    opening, closing = chance.choice(((b"<!--", b"-->"), (b"<![CDATA[", b"]]>"), (b"<?x ", b"?>")))
    tokens[found] = [opening, *tokens[found], closing]


def _on_payload(change: Callable[[bytes, random.Random], bytes]) -> Mutator:
    """``change`` gets the base64 text of one attachment."""

    def mutate(packet: bytes, chance: random.Random) -> bytes:
        found = list(_CONTENT.finditer(packet))
        if not found:
            return packet
        text = chance.choice(found)
        return packet[: text.start()] + change(text[0], chance) + packet[text.end() :]

    return mutate


def _on_content(change: Callable[[bytes, random.Random], bytes]) -> Mutator:
    """``change`` gets the decoded bytes of one attachment."""

    def recode(text: bytes, chance: random.Random) -> bytes:
        text = text.translate(None, b" \t\r\n=")
        content = base64.b64decode(text[: len(text) - len(text) % 4])
        return base64.b64encode(change(content, chance))

    return _on_payload(recode)


def _damage_base64(text: bytes, chance: random.Random) -> bytes:
    at, to = _span(text, chance)
    pieces = (
        b"=",
        b"==",
        b"-",
        b"_",
        b"\xc2\xa0",
        b"&#13;",
        b"&#x0A;",
        b"&#1",
        b"<a/>",
        b"<!-- -->",
        b"\r\n",
        b" " * 99,
    )
    return text[:at] + chance.choice((*pieces, b"<![CDATA[QUJD]]>")) + text[chance.choice((at, at, to)) :]


def _zip_again(content: bytes, chance: random.Random) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", chance.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as target:
        names = ("a.pdf", "../../a.pdf", "/etc/passwd", "thư mục/", "\u202ea", "x" * 300, "a\x00b")
        for name in chance.sample(names, chance.choice((1, 1, 1, 0, 2))):
            target.writestr(zipfile.ZipInfo(name), content)
    return archive.getvalue()


def _change_zip_field(content: bytes, chance: random.Random) -> bytes:
    records = [found.start() for found in _ZIP_RECORD.finditer(content)]
    if not records:
        return _zip_again(content, chance)
    data = bytearray(content + bytes(64))
    at = chance.choice(records) + chance.randrange(4, 42, 2)
    form = chance.choice("BHI")
    struct.pack_into(f"<{form}", data, at, chance.choice(NUMBERS) & (2 ** (8 * struct.calcsize(form)) - 1))
    return bytes(data[: len(content)])


def _lie_about_zip64(content: bytes, chance: random.Random) -> bytes:
    end = content.rfind(b"PK\x05\x06")
    numbers = [chance.choice((0, 1, 2**31, 2**63, 2**64 - 1)) for _ in range(4)]
    record = b"PK\x06\x06" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, *numbers)
    locator = b"PK\x06\x07" + struct.pack("<IQI", 0, max(end, 0), 1)
    return content[:end] + record + locator + content[end:] if end >= 0 else content


def _swap_content(content: bytes, chance: random.Random) -> bytes:
    heads = (
        b"",
        b"%PDF-1.7",
        b"PK\x03\x04",
        b"PK\x05\x06" + bytes(18),
        b"\x1f\x8b\x08",
        b"<?xml version='1.0'?>",
        b"\xff\xd8\xff",
    )
    return chance.choice(heads) + chance.choice((b"", content, chance.randbytes(300)))


BYTES: tuple[Mutator, ...] = (_flip_bits, _insert, _delete, _duplicate, _swap, _overwrite, _truncate)
TOKENS: tuple[Mutator, ...] = tuple(
    map(
        _on_tokens,
        (
            *(
                _swap_tags,
                _drop_tag,
                _duplicate_element,
                _delete_element,
                _move_element,
                _wrap_element,
                _insert_element,
            ),
            *(_rename_element, _respell_element, _change_attribute, _change_text, _change_text, _splice_entity),
            *(_blow_up_number, _comment_out),
        ),
    )
)
PAYLOADS: tuple[Mutator, ...] = (
    _on_payload(_damage_base64),
    *map(_on_content, (_zip_again, _change_zip_field, _change_zip_field, _lie_about_zip64, _swap_content, _flip_bits)),
)
