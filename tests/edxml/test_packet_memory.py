"""Large and hostile packets in a process of their own, where the memory that reading takes can be measured."""

from __future__ import annotations

import base64
import io
import multiprocessing
import os
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

import pytest

from .builders import PDF, Attached, Raw
from .fuzz import peak_mb
from .test_hostile import MB, PLAIN, in_header, outcome, with_zip

NIGHTLY = bool(os.environ.get("LIENTHONG_NIGHTLY"))


class Stream(io.RawIOBase):
    """A packet whose one attachment is made while it is read: ``size`` bytes, never held."""

    def __init__(self, size: int, content: bytes = PDF) -> None:
        head, _, tail = Raw(attached=(Attached(content="HOLE"),)).packet().partition(b"HOLE")
        self._pieces = self._made(head, tail, size, content)
        self._held = b""

    def _made(self, head: bytes, tail: bytes, size: int, content: bytes) -> Iterator[bytes]:
        yield head
        block = base64.b64encode((content * MB)[: 3 * 256 * 1024])
        for _ in range(size // (3 * 256 * 1024)):
            yield block
        yield tail

    def read(self, size: int = -1) -> bytes:
        while len(self._held) < size and (piece := next(self._pieces, b"")):
            self._held += piece
        data, self._held = self._held[:size], self._held[size:]
        return data


@dataclass(frozen=True)
class Measured:
    outcome: str
    growth: float
    seconds: float


def measured(build: Callable[[], BinaryIO]) -> Measured:
    context = multiprocessing.get_context("spawn")
    receiving, sending = context.Pipe(duplex=False)
    process = context.Process(target=_measure, args=(build, sending))
    process.start()
    sending.close()
    try:
        return receiving.recv()
    finally:
        process.join()
        receiving.close()


def _measure(build, answer):
    outcome(io.BytesIO(PLAIN.encode()))
    source = build()
    before, started = peak_mb(), time.process_time()
    found = outcome(source)
    answer.send(Measured(found, peak_mb() - before, time.process_time() - started))


def large_attachment():
    return Stream(300 * MB)


def huge_attachment():
    return Stream(2048 * MB)


def a_bomb():
    archive = io.BytesIO()
    with (
        zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as target,
        target.open("a.bin", "w") as entry,
    ):
        for _ in range(300):
            entry.write(bytes(MB))
    return io.BytesIO(with_zip(archive.getvalue()))


def many_attributes():
    return io.BytesIO(in_header("<X " + " ".join(f'a{n}=""' for n in range(1_000_000)) + "/>"))


def many_elements():
    return io.BytesIO(in_header("<x/>" * 1_000_000))


def most_elements():
    return io.BytesIO(in_header("<X a='1'>chữ</X>" * 90_000))


def most_markup():
    return io.BytesIO(in_header(f"<!-- {'x' * 15 * MB} -->"))


def endless():
    return io.BytesIO(b"<" + b"x" * 64 * MB)


@pytest.mark.parametrize(
    ("build", "expected", "most_mb"),
    [
        (large_attachment, "message", 40),
        (a_bomb, "packet.zip-bomb", 40),
        (many_attributes, "packet.too-large", 250),
        (many_elements, "packet.too-large", 150),
        (most_elements, "message", 250),
        (most_markup, "packet.malformed", 150),
        (endless, "packet.too-large", 100),
    ],
)
def test_memory_is_bounded(build, expected, most_mb):
    found = measured(build)
    assert found.outcome == expected
    assert found.growth < most_mb
    assert found.seconds < 20


@pytest.mark.skipif(not NIGHTLY, reason="a nightly run: set LIENTHONG_NIGHTLY=1")
@pytest.mark.timeout(600)
def test_memory_does_not_grow_with_2_gb():
    assert measured(huge_attachment).growth < 40
