"""What users and machines do wrong, at the command line: a telling exit code, one clear paragraph, nothing lost."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lienthong_conformance.pki import KeyFile

from .children import Ended, Nursery
from .town import TODAY, A, B, Town, letter

REFUSED, CONFIGURATION, PEER, STORE = 1, 3, 4, 5


def said(nursery: Nursery, town: Town, *argv: str, code: int) -> dict[str, str]:
    """What a command that must fail says in each language; always one paragraph, never a trace."""
    texts = {}
    for language in ("vi", "en"):
        ended = nursery.command(*argv, "-c", town.a.config, "--lang", language)
        texts[language] = one_paragraph(ended, code)
    assert texts["vi"] != texts["en"]
    return texts


def one_paragraph(ended: Ended, code: int) -> str:
    assert ended.code == code, (ended.out, ended.err)
    text = ended.err.strip()
    assert text.startswith("lienthong: ")
    assert "Traceback" not in text
    assert "\n\n" not in text
    assert " → " in text, "it says what to do next"
    return text


def send_arguments(file: Path, to: str = B.code, number: str = "12") -> list[str]:
    values = {"--to": to, "--number": number, "--notation": "UBND-VX", "--subject": "V/v họp"}
    return ["send", str(file), *(piece for pair in values.items() for piece in pair)]


def run_once(nursery: Nursery, town: Town, code: int = 0) -> Ended:
    ended = nursery.command("run", "--once", "-c", town.a.config)
    assert ended.code == code, ended.err
    assert "Traceback" not in ended.err
    return ended


def story(nursery: Nursery, town: Town, language: str) -> str:
    return nursery.command("trace", "12/UBND-VX", "-c", town.a.config, "--lang", language).out


@pytest.fixture
def pdf(tmp_path: Path) -> Path:
    file = tmp_path / "cv.pdf"
    file.write_bytes(letter("hello"))
    return file


def test_broken_toml_names_file_and_line(town: Town, nursery: Nursery) -> None:
    town.a.config.write_text('[adapter]\ndata = "data"\nworkers = = 2\n', "utf-8")
    for text in said(nursery, town, "list", code=CONFIGURATION).values():
        assert str(town.a.config) in text
        assert re.search(r"line 3|:3\b", text)


def test_an_unknown_key_names_its_line_and_the_nearest_key(town: Town, nursery: Nursery) -> None:
    text = town.a.config.read_text("utf-8").replace("[adapter]\n", "[adapter]\nworkerz = 3\n")
    town.a.config.write_text(text, "utf-8")
    line = text[: text.index("workerz")].count("\n") + 1
    for message in said(nursery, town, "list", code=CONFIGURATION).values():
        assert f"lienthong.toml:{line}: adapter.workerz" in message
        assert "workers" in message


def test_no_configuration_at_all(town: Town, nursery: Nursery) -> None:
    town.a.config.unlink()
    assert str(town.a.config) in said(nursery, town, "list", code=CONFIGURATION)["vi"]


def test_an_unknown_recipient(town: Town, nursery: Nursery, pdf: Path) -> None:
    texts = said(nursery, town, *send_arguments(pdf, to="000.99.99.H99"), code=REFUSED)
    assert "Trục liên thông không có cơ quan mã 000.99.99.H99" in texts["vi"]
    assert "The axis knows no agency 000.99.99.H99" in texts["en"]
    assert town.axis.records("sent") == []


def test_a_file_that_is_not_a_pdf(town: Town, nursery: Nursery, pdf: Path) -> None:
    pdf.write_bytes(b"PK\x03\x04 a spreadsheet")
    texts = said(nursery, town, *send_arguments(pdf), code=REFUSED)
    assert "không phải PDF" in texts["vi"]
    assert "is not a PDF" in texts["en"]


def test_a_file_that_is_not_there(town: Town, nursery: Nursery, tmp_path: Path) -> None:
    texts = said(nursery, town, *send_arguments(tmp_path / "nowhere.pdf"), code=REFUSED)
    assert all("nowhere.pdf" in text for text in texts.values())


def test_a_damaged_pdf_is_given_back_with_the_reason_and_its_bytes(town: Town, nursery: Nursery) -> None:
    damaged = letter("damaged")[:400] + b"\x00" * 200
    town.a.drop("12", files={"cv.pdf": damaged})
    run_once(nursery, town)
    (kept,) = (town.a.folder / "rejected").glob("*/cv.pdf")
    assert kept.read_bytes() == damaged
    assert "cv.pdf" in town.a.rejected()
    assert town.axis.records("sent") == []
    assert story(nursery, town, "vi") != story(nursery, town, "en")


def test_a_file_without_metadata_is_given_back(town: Town, nursery: Nursery) -> None:
    outbox = town.a.folder / "outbox"
    outbox.mkdir(parents=True)
    (outbox / "cv.pdf").write_bytes(letter("alone"))
    run_once(nursery, town)
    (kept,) = (town.a.folder / "rejected").glob("*/cv.pdf")
    assert kept.read_bytes() == letter("alone")
    assert "→" in town.a.rejected()


def test_metadata_that_names_a_missing_file_is_given_back(town: Town, nursery: Nursery) -> None:
    drop = town.a.drop("12", files={"cv.pdf": letter("gone")})
    (drop.parent / "cv.pdf").unlink()
    run_once(nursery, town)
    assert list((town.a.folder / "rejected").glob("*/vb-12.json"))
    assert "cv.pdf" in town.a.rejected()


def keys(town: Town) -> dict[str, KeyFile]:
    good = town.pki.agencies[A.code]
    return {
        "expired": town.pki.expired,
        "wrong PIN": replace(good, password="sai-mat-khau"),
        "missing file": replace(good, path=good.path.with_name("nowhere.p12")),
    }


@pytest.mark.parametrize(
    ("wrong", "vi", "en"),
    [
        ("expired", "hết hạn|hiệu lực", "expired|not valid"),
        ("wrong PIN", "Mật khẩu không mở được", "password does not open"),
        ("missing file", "nowhere.p12", "nowhere.p12"),
    ],
)
def test_a_key_that_cannot_sign_keeps_the_document_until_it_can(
    town: Town, nursery: Nursery, wrong: str, vi: str, en: str
) -> None:
    town.configure(town.a, key=keys(town)[wrong])
    town.a.drop("12")
    run_once(nursery, town)
    assert re.search(vi, story(nursery, town, "vi"))
    assert re.search(en, story(nursery, town, "en"))
    assert town.axis.records("sent") == []
    town.configure(town.a)
    town.run()
    assert town.on_the_axis("12") == (1, 1)


def test_send_while_the_axis_is_down_is_accepted_and_goes_out_later(town: Town, nursery: Nursery, pdf: Path) -> None:
    run_once(nursery, town)
    town.axis.stop()
    ended = nursery.command(*send_arguments(pdf), "-c", town.a.config)
    assert (ended.code, ended.err) == (0, "")
    run_once(nursery, town)
    town.restart_axis()
    town.run()
    assert town.on_the_axis("12") == (1, 1)


def test_send_before_the_axis_was_ever_reached_is_refused_and_nothing_is_kept(
    town: Town, nursery: Nursery, pdf: Path
) -> None:
    town.axis.stop()
    said(nursery, town, *send_arguments(pdf), code=PEER)
    assert json.loads(nursery.command("list", "--json", "-c", town.a.config).out) == []


def test_a_port_in_use(town: Town, nursery: Nursery) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        town.configure(town.a, listen=listen, adapter={"signing_processes": 0})
        for language in ("vi", "en"):
            ended = nursery.command("run", "-c", town.a.config, environment={"LIENTHONG_LANG": language})
            assert listen in one_paragraph(ended, CONFIGURATION).replace("\n", " ")


def test_a_second_daemon(town: Town, nursery: Nursery) -> None:
    from lienthong.daemon import sole_daemon

    with sole_daemon(town.a.config.parent / "data"):
        ended = nursery.command("run", "--once", "-c", town.a.config)
    assert str(os.getpid()) in one_paragraph(ended, CONFIGURATION)


@pytest.fixture
def small_disk(town: Town) -> Iterator[Path]:
    """A's data folder on a file system of four megabytes."""
    data = town.a.config.parent / "data"
    data.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", data]).returncode:
        pytest.skip("a small file system needs root and `mount`: run these tests as root to try a full disk")
    yield data
    town.a.close()
    subprocess.run(["umount", data], check=True)


def fill(disk: Path, leave: int) -> Path:
    filler = disk / "filler"
    free = os.statvfs(disk)
    filler.write_bytes(b"x" * (free.f_bavail * free.f_frsize - leave))
    return filler


def test_a_full_disk_accepts_nothing_and_says_so(town: Town, nursery: Nursery, small_disk: Path, pdf: Path) -> None:
    run_once(nursery, town)
    filler = fill(small_disk, leave=200 * 1024)
    pdf.write_bytes(letter("large") + os.urandom(400 * 1024))
    said(nursery, town, *send_arguments(pdf), code=STORE)
    assert json.loads(nursery.command("list", "--json", "-c", town.a.config).out) == []
    assert list((small_disk / "blobs" / "tmp").iterdir()) == []
    filler.unlink()
    assert nursery.command(*send_arguments(pdf), "-c", town.a.config).code == 0


def test_a_disk_that_fills_up_under_way_loses_nothing(
    town: Town, nursery: Nursery, small_disk: Path, pdf: Path
) -> None:
    run_once(nursery, town)
    assert nursery.command(*send_arguments(pdf), "-c", town.a.config).code == 0
    filler = fill(small_disk, leave=0)
    ended = nursery.command("run", "--once", "-c", town.a.config)
    assert "Traceback" not in ended.err
    assert ended.code in (0, STORE)
    filler.unlink()
    town.run()
    assert town.on_the_axis("12") == (1, 1)
    assert town.a.ledger_is_whole()


def test_a_date_that_is_none(town: Town, nursery: Nursery, pdf: Path) -> None:
    texts = said(nursery, town, *send_arguments(pdf), "--date", f"{TODAY:%d/%m/%Y}", code=REFUSED)
    assert "YYYY-MM-DD" in texts["en"]
