"""Documents per second through the whole durable outgoing path, beside a script with no durability, in one run.

Ours: submit (what POST /v1/documents calls) -> store -> rules -> signature -> packet -> intent -> axis -> receipt,
until every receipt is committed. The script: sign + package + POST, nothing stored, nothing checked, no answer kept;
the same signer code and the same packet writer, in as many processes as ours signs with.
Both talk to the same axis simulator process. Rounds are interleaved; the ratio is taken round by round.

    python tests/bench/outgoing.py [--documents 200] [--rounds 3]
"""

from __future__ import annotations

import argparse
import hashlib
import io
import multiprocessing
import multiprocessing.connection
import shutil
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import BinaryIO

from lienthong import (
    Delivery,
    Document,
    FileSource,
    Organization,
    PacketFile,
    Part,
    PartRole,
    Signature,
    SignRequest,
    TraceHop,
    document_id,
)
from lienthong.cli.running import configure_logging
from lienthong.config import load
from lienthong.daemon import Daemon, open_adapter
from lienthong.edxml import write_packet
from lienthong.pipeline import intake
from lienthong.pipeline.adapter import Adapter
from lienthong.pipeline.signing import SigningOrder
from lienthong.registry import OpenConnection, discover, open_connection
from lienthong.signing import pades
from lienthong_conformance.letters import blank_pdf
from lienthong_conformance.pki import TestPki, make_pki
from lienthong_conformance.simulators.axis import AxisAgency, AxisSimulator
from lienthong_conformance.world import Member, write_adapter

SENDER = Organization(code="000.00.01.H99", name="Ủy ban nhân dân tỉnh Lạc Hồng")
RECEIVER = Organization(code="000.00.02.H99", name="Sở Khoa học và Công nghệ tỉnh Lạc Hồng")
SIZES = {"100 KB": 100_000, "2 MB": 2_000_000}
PROCESSES = 2


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--documents", type=int, default=200)
    arguments.add_argument("--rounds", type=int, default=3)
    options = arguments.parse_args()
    configure_logging()
    print(f"{options.documents} documents a round, {options.rounds} rounds, {PROCESSES} signing processes each")
    print(f"{'PDF':>8} {'ours/s':>8} {'script/s':>9} {'1-process script/s':>19} {'ours / script':>14}   (medians)")
    for name, size in SIZES.items():
        count = options.documents if size < 1_000_000 else max(20, options.documents // 3)
        rounds = [one_round(size, count) for _ in range(options.rounds)]
        ours, script, single = (statistics.median(r[i] for r in rounds) for i in range(3))
        ratio = statistics.median(r[0] / r[1] for r in rounds)
        print(f"{name:>8} {ours:8.1f} {script:9.1f} {single:19.1f} {ratio:14.2f}")
    sys.stdout.flush()


def one_round(size: int, count: int) -> tuple[float, float, float]:
    with tempfile.TemporaryDirectory(prefix="lienthong-bench-") as name:
        folder = Path(name)
        members = [Member(organization=o, office={"plugin": "sidecar"}) for o in (SENDER, RECEIVER)]
        pki = make_pki(folder / "pki", [SENDER], now=datetime.now(UTC))
        axis, endpoint = start_axis([member.at_axis() for member in members], folder / "axis")
        try:
            pdfs = letters_on_disk(folder / "letters", size, count)
            few = pdfs[: max(10, count // 4)]
            ours = count / run_ours(folder / "ours", members[0], endpoint, pki, pdfs)
            script = count / run_script(folder / "script", members[0], endpoint, pki, pdfs, PROCESSES)
            single = len(few) / run_script(folder / "single", members[0], endpoint, pki, few, 1)
            return ours, script, single
        finally:
            axis.kill()
            axis.join()


def start_axis(agencies: list[AxisAgency], folder: Path) -> tuple[multiprocessing.process.BaseProcess, str]:
    context = multiprocessing.get_context("spawn")
    receiving, sending = context.Pipe(duplex=False)
    process = context.Process(target=_serve_axis, args=(agencies, folder, sending), daemon=True)
    process.start()
    return process, receiving.recv()


def _serve_axis(agencies: list[AxisAgency], folder: Path, ready: multiprocessing.connection.Connection) -> None:
    simulator = AxisSimulator(agencies, folder)
    ready.send(simulator.endpoint)
    simulator.serve_forever()


def run_ours(folder: Path, member: Member, endpoint: str, pki: TestPki, pdfs: list[Path]) -> float:
    settings = {"signing_processes": PROCESSES, "workers": 2 * PROCESSES}
    config = load(write_adapter(folder, member, endpoint, pki, adapter=settings, poll_seconds=0.2))
    with open_adapter(config, pool=True) as adapter:
        warm_up(adapter, folder, pdfs[0])
        daemon = Daemon(adapter)
        daemon.start()
        started = time.monotonic()
        submit_all(adapter, pdfs)
        while not finished(adapter, len(pdfs)):
            time.sleep(0.01)
        seconds = time.monotonic() - started
        daemon.stop()
    return seconds


def warm_up(adapter: Adapter, folder: Path, pdf: Path) -> None:
    """Start the signing processes before the clock, as a daemon that has been up for a second has."""

    def one(number: int) -> None:
        target = folder / f"warm-{number}.pdf"
        order = SigningOrder(connection="seal", source=pdf, target=target, at=datetime.now(UTC), summary="warm-up")
        adapter.signing.sign(order)
        target.unlink()

    with ThreadPoolExecutor(PROCESSES) as threads:
        list(threads.map(one, range(PROCESSES * 4)))


def submit_all(adapter: Adapter, pdfs: list[Path]) -> None:
    """What POST /v1/documents does for each document."""
    for number, pdf in enumerate(pdfs, start=1):
        file = FileSource(role=PartRole.MAIN, name=pdf.name, media_type="application/pdf", save=partial(_copy_to, pdf))
        origin = intake.Origin(connection="office", source_id=f"bench-{number}", actor="bench")
        row = intake.submit(adapter, origin, letter(number), (file,))
        if row.state != "cleared":
            raise SystemExit(f"refused: {row.reason_text}")


def _copy_to(pdf: Path, sink: BinaryIO) -> None:
    with pdf.open("rb") as source:
        shutil.copyfileobj(source, sink, 256 * 1024)


def letters_on_disk(folder: Path, size: int, count: int) -> list[Path]:
    """``count`` PDFs of ``size`` bytes, no two alike (a comment after the end differs)."""
    folder.mkdir()
    original = folder / "original.pdf"
    blank_pdf(original, size)
    pdfs = [folder / f"{number}.pdf" for number in range(1, count + 1)]
    for number, pdf in enumerate(pdfs):
        shutil.copyfile(original, pdf)
        with pdf.open("ab") as end:
            end.write(f"%{number}\n".encode())
    return pdfs


def finished(adapter: Adapter, count: int) -> bool:
    with adapter.store.read() as reader:
        return reader.counts().get(("delivery", "axis", "", "delivered"), 0) == count


def run_script(folder: Path, member: Member, endpoint: str, pki: TestPki, pdfs: list[Path], processes: int) -> float:
    file = write_adapter(folder, member, endpoint, pki)
    context = multiprocessing.get_context("spawn")
    with context.Pool(processes, initializer=_script_begin, initargs=(file,)) as pool:
        pool.map(_script_send, [(pdfs[0], folder, -n) for n in range(1, processes * 4)], chunksize=1)
        started = time.monotonic()
        pool.map(_script_send, [(pdf, folder, n) for n, pdf in enumerate(pdfs, start=1)], chunksize=1)
        return time.monotonic() - started


_signer: OpenConnection
_axis: OpenConnection


def _script_begin(file: Path) -> None:
    global _signer, _axis
    config = load(file)
    plugins = discover(frozenset({"pkcs12", "vxp"}))
    _signer, _axis = (
        open_connection(config, name, plugins, file.parent, lambda: datetime.now(UTC)) for name in ("seal", "axis")
    )


def _script_send(work: tuple[Path, Path, int]) -> None:
    pdf, folder, number = work
    signed, packet = folder / f"{number}.pdf", folder / f"{number}.edxml"
    credential = _signer.call("credential").result()

    def ask(request: SignRequest) -> Signature:
        return _signer.call("sign", request=request).result()

    pades.sign_pdf(pdf, signed, credential=credential, sign=ask, at=datetime.now(UTC))
    document = with_part(letter(number), signed.read_bytes())
    with packet.open("wb") as sink:
        write_packet(document, lambda part: signed.open("rb"), sink)
    file = PacketFile(path=packet, size=packet.stat().st_size, sha256=hashlib.sha256(packet.read_bytes()).hexdigest())
    delivery = Delivery(
        key=str(number),
        message_id=str(number),
        message=document,
        recipient=RECEIVER.code,
        open_part=lambda part: io.BytesIO(),
        packet=file,
    )
    _axis.call("deliver", delivery=delivery).result()


def letter(number: int) -> Document:
    day = date(2026, 11, 20)
    return Document(
        sender=SENDER,
        recipients=(RECEIVER,),
        document_id=document_id(SENDER.code, day, f"{number}/UBND-VX"),
        number=str(number),
        notation="UBND-VX",
        promulgated=day,
        subject=f"V/v báo cáo số {number}",
    )


def with_part(document: Document, content: bytes) -> Document:
    part = Part(
        role=PartRole.MAIN,
        name=f"{document.number}.pdf",
        media_type="application/pdf",
        size=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
    )
    return replace(document, parts=(part,), trace=(TraceHop(organ=SENDER.code, at=datetime.now(UTC)),))


if __name__ == "__main__":
    main()
