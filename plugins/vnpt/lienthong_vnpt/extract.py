"""Packets out of answers, chunk by chunk, in constant memory: pure, no I/O.

A ``getEdoc`` answer is one JSON object whose ``data`` may be hundreds of megabytes of base64; it is never held whole.
Both classes take the answer's chunks with ``feed``, give the packet's bytes back, and say with ``finish`` what the axis
said beside them.
"""

from __future__ import annotations

import binascii
import json
import re

from lienthong import ContentError

_FRAME_LIMIT = 256 * 1024
_WHITESPACE = b" \t\r\n"
_ESCAPE = re.compile(rb"\\(?:([/nrt])|u00([0-7][0-9A-Fa-f]))")
_OPEN_ESCAPE = re.compile(rb"\\(?:u[0-9A-Fa-f]{0,3})?\Z")
_LETTERS = {b"/": b"/", b"n": b"", b"r": b"", b"t": b""}


class EdocAnswer:
    """Decodes the top-level ``data`` of a ``getEdoc`` answer.

    The rest of the object, small, is kept with an empty ``data`` and read as JSON at the end, so keys may come in any
    order. JSON escapes inside ``data`` are understood: Java encoders write ``=`` as ``\\u003d`` and ``/`` as ``\\/``.

    :raises ContentError: from ``feed`` or ``finish``: cut short, not JSON, or ``data`` is not base64
    """

    def __init__(self) -> None:
        self._frame = bytearray()
        self._depth = 0
        self._quoted = False
        self._escaped = False
        self._text_start = 0
        self._key = b""
        self._value_next = False
        self._in_data = False
        self._base64 = _Base64()
        self._found = False
        self.size = 0

    def feed(self, chunk: bytes) -> bytes:
        """The packet bytes that this chunk completes."""
        packet, position = bytearray(), 0
        while position < len(chunk):
            if self._in_data:
                end = chunk.find(b'"', position)
                packet += self._base64.feed(chunk[position : len(chunk) if end < 0 else end])
                if end < 0:
                    break
                self._base64.finish()
                self._in_data, position = False, end
                self._quoted = True
            position = self._frame_upto_data(chunk, position)
        self.size += len(packet)
        return bytes(packet)

    def finish(self) -> dict[str, object]:
        """The answer's other keys. Read ``size``, the packet's bytes, to see whether there was one."""
        if self._depth > 0 or self._in_data or not self._frame:
            raise ContentError("vxp.answer-cut")
        try:
            answer = json.loads(self._frame.decode("utf-8-sig"))
        except ValueError as problem:
            raise ContentError("vxp.answer-broken", reason=f"not JSON ({problem})") from problem
        if not isinstance(answer, dict):
            raise ContentError("vxp.answer-broken", reason="not a JSON object")
        return answer

    def _frame_upto_data(self, chunk: bytes, position: int) -> int:
        """Copy the frame from ``position``; stop behind the opening quote of ``data``."""
        while position < len(chunk) and not self._in_data:
            self._frame.append(chunk[position])
            if self._quoted:
                self._in_text(chunk[position])
            else:
                self._between_texts(chunk[position])
            position += 1
        if len(self._frame) > _FRAME_LIMIT:
            raise ContentError("vxp.answer-broken", reason=f"more than {_FRAME_LIMIT} bytes beside data")
        return position

    def _in_text(self, byte: int) -> None:
        if self._escaped:
            self._escaped = False
        elif byte == ord("\\"):
            self._escaped = True
        elif byte == ord('"'):
            self._quoted = False
            if self._depth == 1 and not self._value_next:
                self._key = bytes(self._frame[self._text_start : -1])

    def _between_texts(self, byte: int) -> None:
        if byte == ord('"'):
            if self._depth == 1 and self._value_next and self._key.lower() == b"data":
                self._enter_data()
            else:
                self._quoted, self._text_start = True, len(self._frame)
        elif byte in b"{[":
            self._depth += 1
        elif byte in b"}]":
            self._depth -= 1
        elif byte in b":," and self._depth == 1:
            self._value_next = byte == ord(":")

    def _enter_data(self) -> None:
        if self._found:
            raise ContentError("vxp.answer-broken", reason="data comes twice")
        self._found = self._in_data = True


class RawAnswer:
    """A ``downloadEdoc`` answer: the packet itself. A JSON object in its place is the axis's refusal."""

    def __init__(self) -> None:
        self._refusal: bytearray | None = None
        self.size = 0

    def feed(self, chunk: bytes) -> bytes:
        if not self.size and self._refusal is None and chunk.lstrip()[:1] == b"{":
            self._refusal = bytearray()
        if self._refusal is None:
            self.size += len(chunk)
            return chunk
        self._refusal += chunk
        if len(self._refusal) > _FRAME_LIMIT:
            raise ContentError("vxp.answer-broken", reason="neither a packet nor a short JSON answer")
        return b""

    def finish(self) -> dict[str, object]:
        """What the axis said: for a packet, success without words."""
        if self._refusal is None:
            return {"status": "OK"}
        answer = EdocAnswer()
        answer.feed(bytes(self._refusal))
        return answer.finish()


class _Base64:
    """Strict base64 in pieces. Line breaks are skipped; nothing may follow the padding."""

    def __init__(self) -> None:
        self._escape = b""
        self._rest = b""
        self._padded = False

    def feed(self, piece: bytes) -> bytes:
        text = self._rest + self._unescaped(piece).translate(None, _WHITESPACE)
        whole = len(text) - len(text) % 4
        self._rest = text[whole:]
        if not whole:
            return b""
        if self._padded:
            raise ContentError("vxp.data-broken", reason="text after the padding")
        self._padded = text[whole - 1] == ord("=")
        return _decoded(text[:whole])

    def finish(self) -> None:
        if self._rest or self._escape:
            raise ContentError("vxp.data-broken", reason="its length is not a multiple of four")

    def _unescaped(self, piece: bytes) -> bytes:
        text, self._escape = self._escape + piece, b""
        if b"\\" not in text:
            return text
        if cut := _OPEN_ESCAPE.search(text):
            text, self._escape = text[: cut.start()], cut.group()
        plain = _ESCAPE.sub(_letter, text)
        if b"\\" in plain:
            raise ContentError("vxp.data-broken", reason="an escape that base64 cannot hold")
        return plain


def _letter(escape: re.Match[bytes]) -> bytes:
    short, code = escape.groups()
    return _LETTERS[short] if short else bytes.fromhex(code.decode())


def _decoded(text: bytes) -> bytes:
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except binascii.Error as problem:
        raise ContentError("vxp.data-broken", reason=str(problem)) from problem
