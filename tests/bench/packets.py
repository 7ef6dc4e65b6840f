"""Writing and reading a packet with a large attachment, beside a bare loop and beside an lxml DOM, in one run.

The bare loop reads the same bytes, hashes them (SHA-256), codes them (base64) and writes the result: less cannot be
done. It stands here twice, with the standard library's base64 and with pybase64, which ours uses. The DOM does what
most senders do: the whole packet as one tree in memory. libxml2 takes no text above 1 GB, so the DOM gets at most
300 MB; its speed is per byte, its memory grows with the size.

Each measurement is a process of its own; its peak memory (VmHWM) is the whole interpreter's. Rounds are interleaved
and every ratio is taken round by round. Nothing is fsynced; the files lie in the system's temporary directory and are
in the page cache.

    python tests/bench/packets.py [--size 300m] [--rounds 3] [--small 300]
"""

from __future__ import annotations

import argparse
import base64
import binascii
import hashlib
import multiprocessing
import multiprocessing.connection
import os
import re
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import BinaryIO

MB = 1000 * 1000
CHUNK = 3 * 64 * 1024
ENCODED_CHUNK = CHUNK // 3 * 4
DOM_MOST = 300 * MB
SMALL = 100 * 1000
BARE, BARE_PYBASE64, OURS, DOM = "bare loop", "bare loop, pybase64", "lienthong", "lxml DOM"
NAMESPACE = "http://www.mic.gov.vn/TBT/QCVN_102_2016"


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory(prefix="lienthong-bench-") as name:
        folder = Path(name)
        _refuse_a_full_disk(folder, options.size)
        work = Work.prepare(folder, options.size)
        print(f"attachment of {options.size / MB:.0f} MB, DOM {work.dom_size / MB:.0f} MB, {options.rounds} rounds")
        for title, contenders in (("write", WRITERS), ("read", READERS)):
            _print_table(title, [_round(contenders, work) for _ in range(options.rounds)])
        _print_small([_round(SMALL_ONES, work, options.small) for _ in range(options.rounds)], options.small)


def _options() -> argparse.Namespace:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--size", type=_bytes, default=300 * MB, help="of the attachment, such as 300m or 2g")
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--small", type=int, default=300, help="packets of 100 KB in one measurement")
    return arguments.parse_args()


def _bytes(text: str) -> int:
    factors = {"k": 1000, "m": MB, "g": 1000 * MB}
    unit = text[-1:].lower()
    return int(text[:-1]) * factors[unit] if unit in factors else int(text)


def _refuse_a_full_disk(folder: Path, size: int) -> None:
    """The attachment, a packet of it, a DOM's packet and one result lie on the disk at a time."""
    needed = 5 * size + 200 * MB
    if (free := shutil.disk_usage(folder).free) < needed:
        raise SystemExit(f"{folder} has {free / MB:.0f} MB free, {needed / MB:.0f} MB are needed: set TMPDIR")


# --- what is measured ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Work:
    """The files that all contenders share: the attachments, and packets of them to be read."""

    folder: Path
    size: int

    @classmethod
    def prepare(cls, folder: Path, size: int) -> Work:
        work = cls(folder, size)
        for each in {size, work.dom_size, SMALL}:
            _write_noise(work.attachment(each), each)
            with work.packet(each).open("wb") as sink:
                _ours_write(work.attachment(each), sink)
        return work

    @property
    def dom_size(self) -> int:
        return min(self.size, DOM_MOST)

    @property
    def result(self) -> Path:
        return self.folder / "result"

    def attachment(self, size: int) -> Path:
        return self.folder / f"attachment-{size}"

    def packet(self, size: int) -> Path:
        return self.folder / f"packet-{size}"


def _write_noise(path: Path, size: int) -> None:
    digest, piece = hashlib.sha256(), b"%PDF-1.7\n"
    block = os.urandom(MB)
    with path.open("wb") as target:
        while piece:
            digest.update(piece)
            target.write(piece)
            piece = block[: size - target.tell()]
    _recorded(path).write_text(digest.hexdigest(), "ascii")


def _recorded(attachment: Path) -> Path:
    """Where the digest stands that a store would have recorded: the writer refuses other bytes."""
    return attachment.with_suffix(".sha256")


def _bare_write(work: Work, encode: Callable[[bytes], bytes]) -> int:
    digest = hashlib.sha256()
    with work.attachment(work.size).open("rb") as source, work.result.open("wb") as sink:
        while chunk := source.read(CHUNK):
            digest.update(chunk)
            sink.write(encode(chunk))
    return work.size


def _bare_read(work: Work, decode: Callable[[bytes], bytes]) -> int:
    digest = hashlib.sha256()
    with work.packet(work.size).open("rb") as source, work.result.open("wb") as sink:
        left = _seek_content(source, work.size)
        while left:
            chunk = source.read(min(ENCODED_CHUNK, left))
            left -= len(chunk)
            decoded = decode(chunk)
            digest.update(decoded)
            sink.write(decoded)
    return work.size


def _seek_content(source: BinaryIO, size: int) -> int:
    """Go to the attachment's text; how long it is."""
    head = source.read(64 * 1024)
    source.seek(re.search(rb"ContentTransferEncoded[^>]*>", head).end())  # type: ignore[union-attr]
    return (size + 2) // 3 * 4


def _encode(chunk: bytes) -> bytes:
    return binascii.b2a_base64(chunk, newline=False)


def bare_write(work: Work) -> int:
    return _bare_write(work, _encode)


def bare_write_pybase64(work: Work) -> int:
    import pybase64

    return _bare_write(work, pybase64.b64encode)


def bare_read(work: Work) -> int:
    return _bare_read(work, binascii.a2b_base64)


def bare_read_pybase64(work: Work) -> int:
    import pybase64

    return _bare_read(work, pybase64.b64decode)


def ours_write(work: Work) -> int:
    with work.result.open("wb") as sink:
        _ours_write(work.attachment(work.size), sink)
    return work.size


def _ours_write(attachment: Path, sink: BinaryIO) -> None:
    from lienthong import Document, Organization, Part, PartRole, TraceHop
    from lienthong.edxml import write_packet

    part = Part(
        role=PartRole.MAIN,
        name="bao-cao.pdf",
        media_type="application/pdf",
        size=attachment.stat().st_size,
        sha256=_recorded(attachment).read_text("ascii"),
    )
    document = Document(
        sender=Organization(code="000.00.01.H99", name="Ủy ban nhân dân tỉnh Lạc Hồng"),
        recipients=(Organization(code="000.00.02.H99", name="Sở Khoa học và Công nghệ tỉnh Lạc Hồng"),),
        document_id="000.00.01.H99,2026/11/20,7/UBND-VX",
        number="7",
        notation="UBND-VX",
        promulgated=date(2026, 11, 20),
        subject="Về việc báo cáo số liệu",
        trace=(TraceHop(organ="000.00.01.H99", at=datetime(2026, 11, 20, 8, 30, tzinfo=UTC)),),
        parts=(part,),
    )
    write_packet(document, lambda part: attachment.open("rb"), sink)


def ours_read(work: Work) -> int:
    from lienthong.edxml import open_packet

    target = work.folder / "read"
    with work.packet(work.size).open("rb") as source:
        packet = open_packet(source, target)
    assert packet.files[0].part.size == work.size
    shutil.rmtree(target)
    return work.size


def dom_write(work: Work) -> int:
    from lxml import etree

    content = work.attachment(work.dom_size).read_bytes()
    hashlib.sha256(content).hexdigest()
    root = etree.Element(f"{{{NAMESPACE}}}edXML", nsmap={None: NAMESPACE})
    element = root
    for name in ("AttachmentEncoded", "Attachment", "ContentTransferEncoded"):
        element = etree.SubElement(element, f"{{{NAMESPACE}}}{name}")
    element.text = base64.b64encode(content).decode()
    etree.ElementTree(root).write(str(work.result), encoding="utf-8", xml_declaration=True)
    return work.dom_size


def dom_read(work: Work) -> int:
    from lxml import etree

    tree = etree.parse(str(work.packet(work.dom_size)), etree.XMLParser(huge_tree=True))
    text = tree.findtext(f".//{{{NAMESPACE}}}ContentTransferEncoded")
    content = base64.b64decode(text)
    hashlib.sha256(content).hexdigest()
    work.result.write_bytes(content)
    return work.dom_size


def _small_bare(work: Work, count: int) -> None:
    _write_and_read(Work(work.folder, SMALL), count, bare_write, bare_read)


def _small_ours(work: Work, count: int) -> None:
    _write_and_read(Work(work.folder, SMALL), count, ours_write, ours_read)


def _write_and_read(work: Work, count: int, *steps: Callable[[Work], int]) -> None:
    for _ in range(count):
        for step in steps:
            step(work)
            # A file that is truncated and written again would be flushed to the disk by ext4.
            work.result.unlink(missing_ok=True)


Contender = Callable[..., "int | None"]
WRITERS: dict[str, Contender] = {
    BARE: bare_write,
    BARE_PYBASE64: bare_write_pybase64,
    OURS: ours_write,
    DOM: dom_write,
}
READERS: dict[str, Contender] = {BARE: bare_read, BARE_PYBASE64: bare_read_pybase64, OURS: ours_read, DOM: dom_read}
SMALL_ONES: dict[str, Contender] = {BARE: _small_bare, OURS: _small_ours}


# --- measuring ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Measure:
    """``amount``: bytes, or packets when none are told. ``peak`` in MB."""

    amount: int
    seconds: float
    peak: float

    @property
    def speed(self) -> float:
        return self.amount / self.seconds


Round = dict[str, Measure]


def _round(contenders: dict[str, Contender], work: Work, *arguments: int) -> Round:
    return {name: _measured(contender, work, *arguments) for name, contender in contenders.items()}


def _measured(contender: Contender, work: Work, *arguments: int) -> Measure:
    context = multiprocessing.get_context("spawn")
    receiving, sending = context.Pipe(duplex=False)
    process = context.Process(target=_run, args=(contender, work, arguments, sending))
    process.start()
    sending.close()
    try:
        measure: Measure = receiving.recv()
    except EOFError:
        raise SystemExit(f"{contender.__name__} died") from None
    finally:
        process.join()
        work.result.unlink(missing_ok=True)
    return measure


def _run(
    contender: Contender, work: Work, arguments: tuple[int, ...], answer: multiprocessing.connection.Connection
) -> None:
    # Nobody pays for imports with the clock running.
    contender(Work(work.folder, SMALL), *(1 for _ in arguments))
    work.result.unlink(missing_ok=True)
    started = time.perf_counter()
    amount = contender(work, *arguments)
    seconds = time.perf_counter() - started
    answer.send(Measure(amount or sum(arguments), seconds, _peak()))


def _peak() -> float:
    """MB. Unlike getrusage, this forgets what the process was before exec."""
    status = Path("/proc/self/status").read_text("ascii")
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) * 1024 / MB  # type: ignore[index]


# --- telling ------------------------------------------------------------------------------------------------------


def _print_table(title: str, rounds: list[Round]) -> None:
    print(f"\n{title:<22}{'MB/s':>9}{'of bare loop':>14}{'peak MB':>9}   (medians)")
    for name in rounds[0]:
        speed = statistics.median(each[name].speed for each in rounds) / MB
        peak = statistics.median(each[name].peak for each in rounds)
        print(f"{name:<22}{speed:9.0f}{_ratio(name, rounds):14.2f}{peak:9.0f}")
    sys.stdout.flush()


def _print_small(rounds: list[Round], count: int) -> None:
    print(f"\n{f'{count} x 100 KB':<22}{'packets/s':>9}{'of bare loop':>14}{'peak MB':>9}   (each written and read)")
    for name in rounds[0]:
        speed = statistics.median(each[name].speed for each in rounds)
        peak = statistics.median(each[name].peak for each in rounds)
        print(f"{name:<22}{speed:9.0f}{_ratio(name, rounds):14.2f}{peak:9.0f}")


def _ratio(name: str, rounds: list[Round]) -> float:
    return statistics.median(each[name].speed / each[BARE].speed for each in rounds)


if __name__ == "__main__":
    main()
