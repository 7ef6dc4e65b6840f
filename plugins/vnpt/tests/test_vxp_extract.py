"""Packets out of answers: any chunking, any key order, and nothing but strict base64."""

from __future__ import annotations

import base64
import contextlib
import json
import tracemalloc
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lienthong import ContentError
from lienthong_vnpt.extract import EdocAnswer, RawAnswer

ENCODINGS = {
    "plain": lambda text: text,
    "gson": lambda text: text.replace("=", "\\u003d").replace("+", "\\u002B"),
    "slashes": lambda text: text.replace("/", "\\/"),
    "mime": lambda text: "\\r\\n".join(text[place : place + 76] for place in range(0, len(text), 76)),
    "raw lines": lambda text: "\n".join(text[place : place + 76] for place in range(0, len(text), 76)),
}
KEYS = st.permutations(["data", "status", "ErrorCode", "ErrorDesc", "extra"])


def answer_text(packet: bytes, order: list[str], encoding: str, key: str) -> bytes:
    encoded = ENCODINGS[encoding](base64.b64encode(packet).decode())
    values = {
        "data": f'"{encoded}"',
        "status": '"OK"',
        "ErrorCode": '"0"',
        "ErrorDesc": json.dumps('a \\" quote, "data": "bm8=", ụ'),
        "extra": '{"data": "bm8=", "list": [1, {"data": "bm8="}]}',
    }
    return (
        "{ " + " ,\n".join(f'"{key if name == "data" else name}" : {values[name]}' for name in order) + "}"
    ).encode()


def pieces(text: bytes, sizes: list[int]) -> Iterator[bytes]:
    position = 0
    for size in sizes:
        yield text[position : position + size]
        position += size
    yield text[position:]


def extracted(chunks: Iterator[bytes] | list[bytes]) -> tuple[bytes, dict[str, object]]:
    answer = EdocAnswer()
    packet = b"".join(answer.feed(chunk) for chunk in chunks)
    said = answer.finish()
    assert answer.size == len(packet)
    return packet, said


@given(
    packet=st.binary(max_size=300),
    order=KEYS,
    encoding=st.sampled_from(sorted(ENCODINGS)),
    key=st.sampled_from(["data", "Data", "DATA"]),
    sizes=st.lists(st.integers(1, 40), max_size=40),
)
def test_the_packet_comes_out_whatever_the_order_the_escapes_and_the_chunks(packet, order, encoding, key, sizes):
    found, said = extracted(pieces(answer_text(packet, order, encoding, key), sizes))
    assert found == packet
    assert (said["status"], said["ErrorCode"]) == ("OK", "0")


@given(packet=st.binary(min_size=1, max_size=60), order=KEYS, cut=st.floats(0, 1, exclude_max=True))
def test_an_answer_cut_anywhere_is_never_taken_for_whole(packet, order, cut):
    whole = answer_text(packet, order, "gson", "data")
    with pytest.raises(ContentError) as broken:
        extracted([whole[: int(len(whole) * cut)]])
    assert broken.value.code == "vxp.answer-cut"


@given(st.binary(max_size=80), st.lists(st.integers(1, 7), max_size=12))
def test_any_bytes_at_all_give_a_packet_or_a_content_error(junk, sizes):
    for text in (junk, b'{"data":"' + junk, b'{"data":"' + junk + b'"}'):
        with contextlib.suppress(ContentError):
            extracted(pieces(text, sizes))


def test_a_refusal_without_data_is_read_too():
    packet, said = extracted([b'{"status":"FAIL","ErrorCode":"11","ErrorDesc":"kh\xc3\xb4ng c\xc3\xb3","data":null}'])
    assert (packet, said["ErrorDesc"]) == (b"", "không có")


def test_a_byte_order_mark_is_passed_over():
    assert extracted([b'\xef\xbb\xbf{"data":"YQ=="}']) == (b"a", {"data": ""})


@pytest.mark.parametrize(
    "data",
    [
        "YQ",
        "YQ=",
        "Y",
        "YQ==YQ==",
        "YQ==\\nYQ==",
        "Y!==",
        "YQ-_",
        "====",
        "Y\\u0051",
        '\\"',
        "\\\\/a=",
        "\\x41",
        "ạ===",
    ],
)
def test_what_is_not_strict_base64_is_refused(data):
    text = f'{{"data":"{data}"}}'.encode()
    for chunks in ([text], [text[place : place + 1] for place in range(len(text))]):
        with pytest.raises(ContentError):
            extracted(chunks)


@pytest.mark.parametrize(
    "text", [b'{"data":"YQ==","DATA":"Yg=="}', b'["data","YQ=="]', b'{"data":"YQ=="}{}', b'"data"', b"{'data'}", b"}"]
)
def test_an_answer_that_is_no_single_object_is_broken(text):
    with pytest.raises(ContentError) as broken:
        extracted([text])
    assert broken.value.code == "vxp.answer-broken"


def test_an_endless_answer_beside_the_data_is_refused():
    with pytest.raises(ContentError, match="beside data"):
        extracted([b'{"ErrorDesc":"' + b"x" * 300_000])


def test_memory_does_not_grow_with_the_packet():
    chunk = base64.b64encode(bytes(range(256)) * 192)
    answer, size = EdocAnswer(), 0
    tracemalloc.start()
    answer.feed(b'{"status":"OK","data":"')
    for _ in range(200):
        size += len(answer.feed(chunk))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size == 200 * 256 * 192
    assert peak < 1024 * 1024


def test_a_raw_packet_passes_as_it_is():
    answer = RawAnswer()
    assert b"".join(map(answer.feed, [b"1212<?xml", b"{}"])) == b"1212<?xml{}"
    assert (answer.finish(), answer.size) == ({"status": "OK"}, 11)


def test_a_json_object_in_place_of_a_packet_is_the_refusal_that_it_is():
    answer = RawAnswer()
    assert b"".join(map(answer.feed, [b' {"status":', b'"FAIL"}'])) == b""
    assert (answer.finish(), answer.size) == ({"status": "FAIL"}, 0)


def test_an_endless_json_object_in_place_of_a_packet_is_refused():
    with pytest.raises(ContentError):
        RawAnswer().feed(b"{" * 300_000)
