"""PDFs of a wanted size, for benchmarks and size limits."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from lienthong.errors import ConfigError, ContentError

_WIDTH = 1024
_ROWS_AT_ONCE = 64
_LARGEST = 10**10 - 1
_START = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"
_END = b"\nendstream\nendobj\n"


def blank_pdf(path: Path, size_bytes: int) -> None:
    """Write a one-page A4 PDF of exactly ``size_bytes`` bytes: a picture of noise, which nothing compresses.

    The same size gives the same bytes. Memory does not grow with the size.

    :raises ContentError: ``size_bytes`` is less than such a PDF needs, or more than its offsets can say (10 GB)
    :raises ConfigError: the file cannot be written
    """
    rows = _rows(size_bytes)
    try:
        with path.open("wb") as file:
            places: list[int] = []
            file.write(_START)
            for number, head in enumerate(_objects(rows), start=1):
                places.append(file.tell())
                file.write(b"%d 0 obj\n" % number + head)
            for noise in _noise(rows):
                file.write(noise)
            file.write(_END)
            # White space before the table is allowed, and takes what is too little for another row of the picture.
            file.write(b"\n" * (size_bytes - file.tell() - len(_table(places, 0))))
            file.write(_table(places, file.tell()))
    except OSError as problem:
        raise ConfigError("letters.not-written", where=str(path), reason=problem) from problem


def _rows(size_bytes: int) -> int:
    if size_bytes > _LARGEST:
        raise ContentError("letters.too-large", wanted=size_bytes, largest=_LARGEST)
    # Reckoned for the largest picture, whose size takes the most digits: a smaller one leaves a few bytes more to fill.
    objects = b"".join(
        b"%d 0 obj\n" % number + head for number, head in enumerate(_objects(_LARGEST // _WIDTH), start=1)
    )
    frame = len(_START) + len(objects) + len(_END) + len(_table([0] * 5, 0))
    rows = (size_bytes - frame) // _WIDTH
    if rows < 1:
        raise ContentError("letters.too-small", wanted=size_bytes, smallest=frame + _WIDTH)
    return rows


def _objects(rows: int) -> tuple[bytes, ...]:
    """The objects up to the picture's data, which is the last so that no other offset depends on it."""
    show = b"q 595 0 0 842 0 0 cm /Noise Do Q"
    picture = b"<< /Type /XObject /Subtype /Image /Width %d /Height %d /ColorSpace /DeviceGray /BitsPerComponent 8"
    return (
        b"<< /Type /Catalog /Pages 2 0 R >>\nendobj\n",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>\nendobj\n",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R"
        b" /Resources << /XObject << /Noise 5 0 R >> >> >>\nendobj\n",
        b"<< /Length %d >>\nstream\n" % len(show) + show + b"\nendstream\nendobj\n",
        picture % (_WIDTH, rows) + b" /Length %d >>\nstream\n" % (_WIDTH * rows),
    )


def _noise(rows: int) -> Iterator[bytes]:
    for first in range(0, rows, _ROWS_AT_ONCE):
        count = min(_ROWS_AT_ONCE, rows - first)
        yield hashlib.shake_128(b"%d" % first).digest(count * _WIDTH)


def _table(places: list[int], start: int) -> bytes:
    """The cross-reference table and trailer. Its length does not depend on the numbers in it."""
    lines = b"".join(b"%010d 00000 n \n" % place for place in places)
    head = b"xref\n0 %d\n0000000000 65535 f \n" % (len(places) + 1)
    return head + lines + b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%010d\n%%%%EOF\n" % (len(places) + 1, start)
