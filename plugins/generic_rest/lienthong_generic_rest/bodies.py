"""Request bodies: JSON and multipart, streamed, so that memory does not grow with the files inside.

The same values always give the same bytes: a retry sends what was sent before.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import BinaryIO

from lienthong import OpenPart, Part, read_chunks
from lienthong_generic_rest.schema import Call
from lienthong_generic_rest.templates import Content, Scope, Tables, render, render_text


def form_fields(templates: Mapping[str, object], scope: Scope, tables: Tables) -> dict[str, str]:
    """The text fields of a url-encoded or multipart body."""
    return {name: render_text(template, scope, tables) for name, template in templates.items()}


def write_body(
    call: Call,
    files: Sequence[tuple[str, Part]],
    scope: Scope,
    tables: Tables,
    sink: BinaryIO,
    open_part: OpenPart,
) -> str:
    """Write a JSON or multipart body to ``sink`` and return its media type. ``files`` are (multipart field, part)."""
    if call.multipart is None:
        _write_json(render(call.body, scope, tables), sink, open_part)
        return "application/json"
    fields = form_fields(call.multipart, scope, tables)
    boundary = _boundary(fields, files)
    _write_multipart(fields, files, boundary, sink, open_part)
    return f"multipart/form-data; boundary={boundary}"


def _boundary(fields: Mapping[str, str], files: Sequence[tuple[str, Part]]) -> str:
    """A boundary that nobody can put into a file beforehand: it is a digest of the whole content."""
    named = json.dumps([fields, [(name, part.sha256) for name, part in files]])
    return f"lienthong-{hashlib.sha256(named.encode()).hexdigest()[:40]}"


def _write_json(value: object, sink: BinaryIO, open_part: OpenPart) -> None:
    """Write a rendered body as UTF-8 JSON, streaming the base64 of parts."""
    if isinstance(value, Content):
        sink.write(b'"')
        _write_base64(value.part, sink, open_part)
        sink.write(b'"')
    elif isinstance(value, dict):
        for index, (key, entry) in enumerate(value.items()):
            sink.write((", " if index else "{").encode() + json.dumps(key, ensure_ascii=False).encode() + b": ")
            _write_json(entry, sink, open_part)
        sink.write(b"}" if value else b"{}")
    elif isinstance(value, list):
        for index, entry in enumerate(value):
            sink.write(b", " if index else b"[")
            _write_json(entry, sink, open_part)
        sink.write(b"]" if value else b"[]")
    else:
        sink.write(json.dumps(value, ensure_ascii=False).encode())


def _write_base64(part: Part, sink: BinaryIO, open_part: OpenPart) -> None:
    with open_part(part) as source:
        for chunk in read_chunks(source):
            sink.write(base64.b64encode(chunk))


def _write_multipart(
    fields: Mapping[str, str], files: Sequence[tuple[str, Part]], boundary: str, sink: BinaryIO, open_part: OpenPart
) -> None:
    """Write a ``multipart/form-data`` body (RFC 7578), streaming the parts. ``files`` are (field name, part)."""
    for name, text in fields.items():
        sink.write(_part_head(boundary, f'name="{_quoted(name)}"') + b"\r\n" + text.encode() + b"\r\n")
    for name, part in files:
        sink.write(_part_head(boundary, f'name="{_quoted(name)}"; filename="{_quoted(part.name)}"'))
        sink.write(f"Content-Type: {_quoted(part.media_type)}\r\n\r\n".encode())
        with open_part(part) as source:
            for chunk in read_chunks(source):
                sink.write(chunk)
        sink.write(b"\r\n")
    sink.write(f"--{boundary}--\r\n".encode())


def _part_head(boundary: str, disposition: str) -> bytes:
    return f"--{boundary}\r\nContent-Disposition: form-data; {disposition}\r\n".encode()


def _quoted(name: str) -> str:
    """A name as browsers write it: UTF-8, the three characters escaped that could end it (names come from afar)."""
    return name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
