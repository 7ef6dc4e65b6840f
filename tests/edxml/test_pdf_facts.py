"""Pages and first-page text of PDFs, good and hostile; the reading happens in a process of its own."""

from __future__ import annotations

import io
import unicodedata
import zlib
from datetime import UTC, datetime
from pathlib import Path

import pypdfium2
import pytest
from reportlab.pdfgen.canvas import Canvas

from lienthong.edxml import open_packet
from lienthong.edxml.profile import load_profile
from lienthong.edxml.rules import Judged, check_packet
from lienthong.edxml.rules.pdf_facts import PdfFacts, look_inside, main_pdf_facts, pdf_facts
from lienthong_conformance.letters import letters, render

from .builders import Attached, Raw


def printed(path: Path, *pages: str) -> Path:
    canvas = Canvas(str(path), invariant=1)
    for text in pages:
        canvas.drawString(72, 720, text)
        canvas.showPage()
    canvas.save()
    return path


def raw_pdf(path: Path, *objects: bytes) -> Path:
    """A PDF without a table of its objects: readers search for them."""
    body = b"".join(b"%d 0 obj\n%b\nendobj\n" % (number, content) for number, content in enumerate(objects, 1))
    path.write_bytes(b"%PDF-1.7\n" + body + b"trailer << /Root 1 0 R >>\n%%EOF\n")
    return path


def with_content(path: Path, content: bytes) -> Path:
    return raw_pdf(
        path,
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R >>",
        content,
    )


# --- good ones --------------------------------------------------------------------------------------------------------


def test_pages_are_counted_and_the_first_is_read(tmp_path):
    assert pdf_facts(printed(tmp_path / "a.pdf", "12/SXD-VP", "two", "three")) == PdfFacts(pages=3, text="12/SXD-VP")


def test_a_page_without_text_has_none(tmp_path):
    assert pdf_facts(printed(tmp_path / "a.pdf", "")) == PdfFacts(pages=1, text="")


def test_vietnamese_is_read_composed(tmp_path):
    letter = next(iter(letters().values()))
    found = pdf_facts(render(letter, tmp_path).main)
    assert found is not None
    assert f"Số: {letter.code}" in found.text
    assert unicodedata.is_normalized("NFC", found.text)


@pytest.mark.parametrize("key", list(letters())[:3])
def test_the_letters_of_the_demo_say_on_their_page_what_their_packet_says(tmp_path, key):
    letter = letters()[key]
    main = render(letter, tmp_path / "print").main
    day = f"{letter.promulgated:%Y/%m/%d}"
    packet = Raw(
        code=f"<edXML:Code><edXML:CodeNumber>{letter.number}</edXML:CodeNumber>"
        f"<edXML:CodeNotation>{letter.notation}</edXML:CodeNotation></edXML:Code>",
        promulgated=f"<edXML:PromulgationInfo><edXML:PromulgationDate>{day}</edXML:PromulgationDate>"
        "</edXML:PromulgationInfo>",
        attached=(Attached(content=main.read_bytes()),),
    ).packet()
    opened = open_packet(io.BytesIO(packet), tmp_path)
    now = datetime(2026, 12, 31, tzinfo=UTC)
    judged = Judged(now=now, profile=load_profile("qcvn102"), main_pdf=main_pdf_facts(opened))
    assert judged.main_pdf is not None
    assert [problem for problem in check_packet(opened, judged) if problem.rule in ("SIG-18", "ENV-14")] == []


# --- which file of a packet -------------------------------------------------------------------------------------------


def opened_with(tmp_path: Path, *attached: Attached):
    return open_packet(io.BytesIO(Raw(attached=attached).packet()), tmp_path)


def test_the_main_file_is_looked_at_and_no_other(tmp_path):
    main = printed(tmp_path / "main.pdf", "main", "main").read_bytes()
    annex = printed(tmp_path / "annex.pdf", "annex").read_bytes()
    second = Attached(content=annex, content_id="cid:2", listed_id="cid:2")
    assert main_pdf_facts(opened_with(tmp_path, Attached(content=main), second)) == PdfFacts(pages=2, text="main")


@pytest.mark.parametrize("content", [b"text", b"PK\x03\x04", "no base64!"])
def test_a_main_file_that_is_no_whole_pdf_has_no_facts(tmp_path, content):
    assert main_pdf_facts(opened_with(tmp_path, Attached(content=content))) is None


def test_a_packet_without_files_has_no_facts(tmp_path):
    assert main_pdf_facts(opened_with(tmp_path)) is None


# --- bad ones ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [b"", b"%PDF-1.7\n", b"%PDF-1.7\n% a letter\n%%EOF\n", b"<html/>", b"\0" * 5000, b"%PDF-" + b"<<" * 20_000],
)
def test_what_is_no_pdf_has_no_facts(tmp_path, content):
    path = tmp_path / "a.pdf"
    path.write_bytes(content)
    assert pdf_facts(path) is None


def test_a_file_that_is_not_there_has_no_facts(tmp_path):
    assert pdf_facts(tmp_path / "missing.pdf") is None


def test_a_pdf_cut_off_has_no_facts_or_those_that_are_left(tmp_path):
    whole = printed(tmp_path / "whole.pdf", "one", "two").read_bytes()
    path = tmp_path / "cut.pdf"
    path.write_bytes(whole[: len(whole) // 3])
    found = pdf_facts(path)
    assert found is None or found.pages <= 2


def test_a_pdf_behind_a_password_has_no_facts(tmp_path):
    path = tmp_path / "locked.pdf"
    canvas = Canvas(str(path), encrypt="secret")
    canvas.drawString(72, 720, "12/SXD-VP")
    canvas.save()
    assert pdf_facts(path) is None


def test_a_pdf_that_would_fill_the_memory_has_no_facts_or_no_text(tmp_path):
    # One page whose content unpacks to 640 MB: the second piece can be repeated, since every piece is flushed.
    packer = zlib.compressobj(9)
    pieces = [packer.compress(b"%" * 16 * 1024 * 1024) + packer.flush(zlib.Z_FULL_FLUSH) for _ in range(2)]
    packed = pieces[0] + pieces[1] * 39
    stream = b"<< /Length %d /Filter /FlateDecode >>\nstream\n%b\nendstream" % (len(packed), packed)
    found = pdf_facts(with_content(tmp_path / "bomb.pdf", stream))
    assert found is None or found.text == ""


def test_a_tree_of_pages_that_bites_its_tail_ends(tmp_path):
    path = raw_pdf(
        tmp_path / "loop.pdf",
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [2 0 R 2 0 R] /Count 2147483647 >>",
    )
    found = pdf_facts(path)
    assert found is None or found.text == ""


def test_the_child_says_what_the_library_says(tmp_path):
    path = printed(tmp_path / "a.pdf", "một", "hai")
    with pypdfium2.PdfDocument(path) as pdf:
        assert look_inside(str(path))["pages"] == len(pdf) == 2
