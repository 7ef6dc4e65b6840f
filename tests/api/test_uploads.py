"""What is sent arrives byte for byte, however it is cut into chunks; what is cut off is never taken for whole."""

from __future__ import annotations

import asyncio
import tempfile
import unicodedata
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import httpx
import pytest
from fastapi import Request
from hypothesis import given, settings
from hypothesis import strategies as st

from lienthong.api.uploads import METADATA_BYTES, receive
from lienthong.errors import ContentError

LIMIT = 1_000_000
BOUNDARY = "b-5f0c1d"
OPENING = f"--{BOUNDARY}\r\n".encode()
RUNNER = asyncio.Runner()
names = st.text(st.characters(exclude_categories=("C",), exclude_characters='/\\"%'), min_size=1, max_size=40).filter(
    lambda name: name.strip(" .") and len(unicodedata.normalize("NFC", name).encode()) <= 200
)
pieces = st.sampled_from([b"\r\n", b"--", b"\r\n--", b"\r\n--b", b"\r\n--b-5f0c1", b"--b--\r\n", b"\r", b"-"])
contents = st.binary(max_size=300) | st.lists(pieces, max_size=20).map(b"".join)
uploads = st.dictionaries(names.map(lambda name: unicodedata.normalize("NFC", name)), contents, max_size=4)


def encoded(files: dict[str, bytes], metadata: bytes = b"{}") -> httpx.Request:
    parts = [("metadata", (None, metadata)), *(("file", (name, content)) for name, content in files.items())]
    request = httpx.Request(
        "POST", "http://x", files=parts, headers={"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    )
    request.read()
    return request


def received(request: httpx.Request, body: list[bytes], limit: int = LIMIT) -> tuple[bytes, dict[str, bytes]]:
    """The metadata and the files that arrive when ``body`` comes chunk by chunk."""
    heard: list[bytes] = []

    async def run(folder: Path) -> dict[str, bytes]:
        files = await receive(asgi(request, body), folder, limit, heard.append)
        return {file.name: file.path.read_bytes() for file in files}

    with tempfile.TemporaryDirectory() as folder:
        files = RUNNER.run(run(Path(folder)))
        return b"".join(heard), files


def asgi(request: httpx.Request, body: list[bytes]) -> Request:
    chunks = iter(body)

    async def messages() -> AsyncIterator[dict]:
        for chunk in chunks:
            yield {"type": "http.request", "body": chunk, "more_body": True}
        yield {"type": "http.request", "body": b"", "more_body": False}

    source = messages()
    headers = [(b"content-type", request.headers["Content-Type"].encode())]
    return Request({"type": "http", "headers": headers}, source.__anext__)


def cut(body: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted({place % (len(body) + 1) for place in places}), len(body)]
    return [body[start:end] for start, end in pairwise(edges)]


@settings(max_examples=60, deadline=None)
@given(uploads, st.lists(st.integers(0, 100_000), max_size=12))
def test_files_arrive_byte_for_byte_however_the_body_is_cut(files, places):
    request = encoded(files)
    assert arrived(request, cut(request.content, places)) == files


def arrived(request: httpx.Request, body: list[bytes]) -> dict[str, bytes]:
    return received(request, body)[1]


@settings(max_examples=40, deadline=None)
@given(uploads, st.integers(0, 100_000))
def test_a_body_that_ends_early_is_never_accepted(files, place):
    request = encoded(files)
    whole = len(request.content.rstrip(b"\r\n"))
    with pytest.raises(ContentError):
        received(request, [request.content[: place % whole]])


@settings(max_examples=30, deadline=None)
@given(st.binary(max_size=400))
def test_noise_is_refused_and_never_a_crash(noise):
    request = encoded({})
    for body in (noise, OPENING + noise, OPENING + b"Content-Disposition: form-data; name=" + noise):
        with pytest.raises(ContentError):
            received(request, [body])


def test_every_byte_by_itself():
    files = {"công văn.pdf": b"\r\n--b-5f0c1\r\n" * 3}
    request = encoded(files)
    assert arrived(request, [bytes([byte]) for byte in request.content]) == files


def test_the_metadata_are_understood_before_a_file_is_opened():
    request = encoded({"a.pdf": b"x"}, metadata=b"[]")

    async def run(folder: Path) -> None:
        def understand(metadata: bytes) -> None:
            raise ContentError("api.invalid", where=metadata.decode())

        with pytest.raises(ContentError, match="cannot be used"):
            await receive(asgi(request, [request.content]), folder, LIMIT, understand)
        assert list(folder.iterdir()) == []

    with tempfile.TemporaryDirectory() as folder:
        RUNNER.run(run(Path(folder)))


def test_the_files_together_have_a_limit():
    request = encoded({"a": b"x" * 60, "b": b"x" * 50})
    assert sum(map(len, received(request, [request.content], limit=110)[1].values())) == 110
    with pytest.raises(ContentError) as caught:
        received(request, [request.content], limit=109)
    assert caught.value.code == "api.too-large"


def test_the_metadata_have_a_limit():
    request = encoded({}, metadata=b" " * (METADATA_BYTES + 1))
    with pytest.raises(ContentError) as caught:
        received(request, [request.content])
    assert caught.value.code == "api.too-large"


def test_there_is_a_limit_to_the_number_of_files():
    request = encoded({f"{number}.pdf": b"" for number in range(501)})
    with pytest.raises(ContentError) as caught:
        received(request, [request.content])
    assert caught.value.code == "api.too-many-files"


def test_a_file_name_that_is_not_utf_8_is_refused():
    request = encoded({"?.pdf": b"x"})
    with pytest.raises(ContentError) as caught:
        received(request, [request.content.replace(b'"?.pdf"', b'"\xff.pdf"')])
    assert caught.value.code == "api.file-name"


@pytest.mark.parametrize("kind", ["", "multipart/form-data", "multipart/mixed; boundary=b", "application/json"])
def test_the_content_type_must_be_multipart_with_a_boundary(kind):
    request = encoded({})
    request.headers["Content-Type"] = kind
    with pytest.raises(ContentError) as caught:
        received(request, [request.content])
    assert caught.value.code == "api.not-multipart"


def test_a_boundary_has_a_length_that_the_standard_allows():
    request = encoded({})
    request.headers["Content-Type"] = f"multipart/form-data; boundary={'b' * 300}"
    with pytest.raises(ContentError) as caught:
        received(request, [request.content])
    assert caught.value.code == "api.multipart"
