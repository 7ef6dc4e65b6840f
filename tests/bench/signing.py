"""Signatures per second (PAdES B-B, RSA-2048, file to file), beside pyHanko's SimpleSigner and beside raw RSA, in one
run.

SimpleSigner signs as pyHanko's documentation does it: key loaded once, one call per file. Raw RSA is the key alone, in
``cryptography``: no signature can be made faster. The floor copies the file, hashes the copy and uses the key once:
less cannot be done for a file. Ours stands here twice: in the calling thread, and through the pool of two processes
that the daemon uses, orders and answers crossing the border and all.

The small PDF has 30 pages of text; the larger ones have a picture of noise. Each measurement is a process of its own;
rounds are interleaved and every ratio is taken round by round. Nothing is fsynced; the files lie in the system's
temporary directory and are in the page cache. At the end, a large PDF is signed once for its peak memory (VmHWM of the
whole process, interpreter included).

    python tests/bench/signing.py [--rounds 5] [--seconds 2] [--large 250m]
"""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import multiprocessing.connection
import re
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

from lienthong import Organization

MB = 1000 * 1000
SMALL, MIDDLE, BIG = 66_000, 2 * MB, 20 * MB
PROCESSES = 2
RAW, FLOOR, SIMPLE = "raw RSA-2048", "copy + SHA-256 + RSA", "pyHanko SimpleSigner"
OURS, POOL = "lienthong, 1 process", "lienthong, pool of 2"
AGENCY = Organization(code="000.00.01.H99", name="Ủy ban nhân dân tỉnh Lạc Hồng")


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory(prefix="lienthong-bench-") as name:
        work = Work.prepare(Path(name), options.large, options.seconds)
        print(f"{options.rounds} rounds, {options.seconds:.0f} s for each measurement")
        for size in (SMALL, MIDDLE, BIG):
            _print_table(size, [_round(work, size) for _ in range(options.rounds)])
        measure = _measured(OURS, work, options.large)
        print(f"\n{options.large / MB:.0f} MB: signed in {measure.took:.1f} s, peak memory {measure.peak:.0f} MB")


def _options() -> argparse.Namespace:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--seconds", type=float, default=2.0, help="length of one measurement")
    arguments.add_argument("--large", type=_bytes, default=250 * MB, help="PDF for the memory, such as 250m or 1g")
    return arguments.parse_args()


def _bytes(text: str) -> int:
    factors = {"k": 1000, "m": MB, "g": 1000 * MB}
    unit = text[-1:].lower()
    return int(text[:-1]) * factors[unit] if unit in factors else int(text)


# --- what is measured ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Work:
    """The files that all contenders share, and for how long each works."""

    folder: Path
    key: Path
    password: str
    seconds: float

    @classmethod
    def prepare(cls, folder: Path, large: int, seconds: float) -> Work:
        from lienthong_conformance.letters import blank_pdf
        from lienthong_conformance.pki import make_pki

        key = make_pki(folder / "pki", (AGENCY,), now=datetime.now(UTC)).agencies[AGENCY.code]
        work = cls(folder, key.path, key.password, seconds)
        _write_letter(work.pdf(SMALL), SMALL)
        for size in (MIDDLE, BIG, large):
            blank_pdf(work.pdf(size), size)
        return work

    def pdf(self, size: int) -> Path:
        return self.folder / f"{size}.pdf"

    def targets(self) -> Iterator[Path]:
        """A new file for each signature; writing over an old one would be slower."""
        return (self.folder / f"signed-{number}.pdf" for number in count())


def _write_letter(path: Path, size: int) -> None:
    """30 pages of text, about ``size`` bytes."""
    from reportlab.pdfgen.canvas import Canvas

    canvas = Canvas(str(path), invariant=True, pageCompression=0)
    for page in range(30):
        written, line = 0, 0
        while written < size // 30 - 350:
            text = f"{page + 1}.{line}. Uy ban nhan dan tinh Lac Hong bao cao tinh hinh kinh te - xa hoi"
            canvas.drawString(60, 800 - 14 * line, text)
            written, line = written + len(text) + 40, line + 1
        canvas.showPage()
    canvas.save()


Signer = Callable[[Path, Path], object]


@contextmanager
def raw_rsa(work: Work) -> Iterator[Signer]:
    sign = _bare_key(work)
    yield lambda source, target: sign(bytes(32))


@contextmanager
def floor(work: Work) -> Iterator[Signer]:
    sign = _bare_key(work)

    def sign_copy(source: Path, target: Path) -> None:
        shutil.copyfile(source, target)
        with target.open("rb") as copy:
            sign(hashlib.file_digest(copy, "sha256").digest())

    yield sign_copy


def _bare_key(work: Work) -> Callable[[bytes], bytes]:
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization.pkcs12 import load_pkcs12

    key = load_pkcs12(work.key.read_bytes(), work.password.encode()).key
    assert isinstance(key, RSAPrivateKey)
    return lambda digest: key.sign(digest, PKCS1v15(), Prehashed(SHA256()))


@contextmanager
def simple_signer(work: Work) -> Iterator[Signer]:
    from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
    from pyhanko.sign import fields, signers

    signer = signers.SimpleSigner.load_pkcs12(str(work.key), passphrase=work.password.encode())
    wanted = signers.PdfSignatureMetadata(field_name="Signature1", subfilter=fields.SigSeedSubFilter.PADES)

    def sign(source: Path, target: Path) -> None:
        with source.open("rb") as opened, target.open("w+b") as output:
            signers.sign_pdf(IncrementalPdfFileWriter(opened), wanted, signer=signer, output=output)

    yield sign


@contextmanager
def ours(work: Work) -> Iterator[Signer]:
    from lienthong.hookspecs import Connection
    from lienthong.signing import pades
    from lienthong.signing.keys import pkcs12

    config = pkcs12.Pkcs12Config(file=work.key, password=work.password)  # type: ignore[arg-type]
    connection = Connection(
        name="seal",
        agencies=(),
        config=config,
        http=None,  # type: ignore[arg-type]
        folder=work.folder,
        now=lambda: datetime.now(UTC),
    )
    credential = pkcs12.credential(connection)
    yield lambda source, target: pades.sign_pdf(
        source,
        target,
        credential=credential,
        sign=lambda request: pkcs12.sign(connection, request),
        at=datetime.now(UTC),
    )


@contextmanager
def ours_pool(work: Work) -> Iterator[Signer]:
    from lienthong.config import load
    from lienthong.pipeline.signing import LaneSigning, SigningOrder
    from lienthong.registry import discover, open_connection

    config = load(_configuration(work))
    plugins = discover(frozenset({"pkcs12"}))
    opened = {"seal": open_connection(config, "seal", plugins, work.folder, lambda: datetime.now(UTC))}
    signing = LaneSigning(config.file, work.folder, opened, PROCESSES)
    yield lambda source, target: signing.sign(
        SigningOrder(connection="seal", source=source, target=target, at=datetime.now(UTC), summary=source.name)
    )
    signing.close()
    opened["seal"].close()


def _configuration(work: Work) -> Path:
    secret, file = work.folder / "password", work.folder / "lienthong.toml"
    secret.touch(mode=0o600)
    secret.write_text(work.password)
    file.write_text(
        f'[[agency]]\ncode = "{AGENCY.code}"\nname = "{AGENCY.name}"\noffice = "o"\naxis = "a"\nsigner = "seal"\n'
        f'[connection.o]\nplugin = "folder"\n[connection.a]\nplugin = "folder"\n'
        f'[connection.seal]\nplugin = "pkcs12"\nfile = "{work.key}"\npassword = "file:{secret}"\n',
        "utf-8",
    )
    return file


CONTENDERS = {
    RAW: (raw_rsa, 1),
    FLOOR: (floor, 1),
    SIMPLE: (simple_signer, 1),
    OURS: (ours, 1),
    POOL: (ours_pool, 2 * PROCESSES),
}
"""Each with the number of threads that hand in work."""


# --- measuring ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Measure:
    """Signatures per second, seconds for one, and the peak memory in MB."""

    speed: float
    took: float
    peak: float


Round = dict[str, Measure]


def _round(work: Work, size: int) -> Round:
    return {name: _measured(name, work, size) for name in CONTENDERS}


def _measured(name: str, work: Work, size: int) -> Measure:
    context = multiprocessing.get_context("spawn")
    receiving, sending = context.Pipe(duplex=False)
    process = context.Process(target=_run, args=(name, work, size, sending))
    process.start()
    sending.close()
    try:
        measure: Measure = receiving.recv()
    except EOFError:
        raise SystemExit(f"{name} died") from None
    finally:
        process.join()
    return measure


def _run(name: str, work: Work, size: int, answer: multiprocessing.connection.Connection) -> None:
    begin, threads = CONTENDERS[name]
    with begin(work) as sign:
        _repeated(sign, work, SMALL, threads, timedelta(seconds=0.3))  # nobody pays for a cold start
        made, seconds = _repeated(sign, work, size, threads, timedelta(seconds=work.seconds))
    answer.send(Measure(made / seconds, seconds / made, _peak()))


def _repeated(sign: Signer, work: Work, size: int, threads: int, length: timedelta) -> tuple[int, float]:
    """How many signatures, in how many seconds: at least one per thread, and no new one after ``length``."""
    source, targets, made, lock = work.pdf(size), work.targets(), count(), threading.Lock()
    started = time.perf_counter()

    def work_on() -> None:
        while True:
            with lock:
                target = next(targets)
            sign(source, target)
            target.unlink(missing_ok=True)
            next(made)
            if time.perf_counter() - started >= length.total_seconds():
                return

    crew = [threading.Thread(target=work_on) for _ in range(threads)]
    for thread in crew:
        thread.start()
    for thread in crew:
        thread.join()
    return next(made), time.perf_counter() - started


def _peak() -> float:
    """MB. Unlike getrusage, this forgets what the process was before exec."""
    status = Path("/proc/self/status").read_text("ascii")
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) * 1024 / MB  # type: ignore[index]


# --- telling ------------------------------------------------------------------------------------------------------


def _print_table(size: int, rounds: list[Round]) -> None:
    shown = f"{size / MB:.0f} MB" if size >= MB else f"{size // 1000} KB"
    print(f"\n{shown:<24}{'signatures/s':>13}{'x SimpleSigner':>16}{'x 1 process':>13}{'of floor':>12}   (medians)")
    for name in CONTENDERS:
        speed = statistics.median(each[name].speed for each in rounds)
        print(
            f"{name:<24}{speed:13.1f}{_ratio(name, SIMPLE, rounds):16.1f}{_ratio(name, OURS, rounds):13.2f}"
            f"{_ratio(name, FLOOR, rounds):12.2f}"
        )
    sys.stdout.flush()


def _ratio(name: str, base: str, rounds: list[Round]) -> float:
    return statistics.median(each[name].speed / each[base].speed for each in rounds)


if __name__ == "__main__":
    main()
