"""How the demo's letters print, which fonts they find, and the PDFs of a wanted size."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import io
import itertools
import re
import shutil
import subprocess
import sys
import tracemalloc
import zlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.pdf_utils.reader import PdfFileReader
from reportlab.pdfbase.ttfonts import TTFontFile

from lienthong.errors import ConfigError, ContentError
from lienthong.model import Priority
from lienthong_conformance.letters import (
    Attachment,
    agencies,
    as_metadata,
    available_fonts,
    blank_pdf,
    find_fonts,
    letter_of,
    letters,
    render,
)
from lienthong_conformance.letters.fonts import font_places

LETTERS = list(letters().values())
FAMILIES = {fonts.family: fonts for fonts in reversed(list(available_fonts()))}
MATPLOTLIB = font_places()[-1][0]
ROLES = {role: agency.organization for role, agency in agencies().items()}

every_letter = pytest.mark.parametrize("letter", LETTERS, ids=lambda letter: letter.key)
every_family = pytest.mark.parametrize("family", FAMILIES)
needs_pdftotext = pytest.mark.skipif(
    not shutil.which("pdftotext"), reason="needs pdftotext: apt-get install poppler-utils"
)
quick = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def squeezed(text: str) -> str:
    return "".join(text.split())


def extracted(path: Path, *options: str) -> str:
    done = subprocess.run(["pdftotext", *options, path, "-"], capture_output=True, check=True)
    return squeezed(done.stdout.decode())


def printed_texts(letter) -> list[str]:
    body = [re.sub("^[#=>] ", "", text) for text in letter.body]
    signer = [letter.signer.competence, letter.signer.position, letter.signer.full_name]
    return [letter.code, letter.subject, *letter.salutation, *body, *letter.to_places, *signer]


@contextlib.contextmanager
def opened(path: Path):
    """The pages of a PDF, read strictly, while the file is open."""
    with path.open("rb") as file:
        reader = PdfFileReader(file, strict=True)
        yield [page.get_object() for page in reader.root["/Pages"]["/Kids"]]


def page_count(path: Path) -> int:
    with opened(path) as pages:
        return len(pages)


# --- how they print -----------------------------------------------------------------------------------------


@needs_pdftotext
@every_family
@every_letter
def test_every_word_can_be_read_from_the_page(letter, family, tmp_path):
    text = extracted(render(letter, tmp_path, fonts=FAMILIES[family]).main, "-layout")
    plain = extracted(tmp_path / letter.main_name)
    national = "CỘNG HÒA XÃ HỘI CHỦ NGHĨA VIỆT NAM"
    assert squeezed(national) in text
    for wanted in printed_texts(letter):
        assert squeezed(wanted) in text or squeezed(wanted) in plain, wanted


@every_family
@every_letter
def test_the_fonts_hold_every_letter(letter, family):
    fonts = FAMILIES[family]
    used = {char for text in printed_texts(letter) for char in text.upper() + text if not char.isspace()}
    for path in {fonts.regular, fonts.bold, fonts.italic, fonts.bold_italic}:
        glyphs = TTFontFile(str(path)).charToGlyph
        assert not {char for char in used if not glyphs.get(ord(char))}


@every_family
@every_letter
def test_a_letter_is_one_small_sound_a4_page_with_embedded_fonts(letter, family, tmp_path):
    rendered = render(letter, tmp_path, fonts=FAMILIES[family])
    for path in (rendered.main, *rendered.attachments):
        assert path.stat().st_size < 200_000
    assert rendered.main.read_bytes().startswith(b"%PDF-1.7")
    with opened(rendered.main) as (page, *more):
        assert not more
        assert [round(float(number)) for number in page["/MediaBox"]] == [0, 0, 595, 842]
        fonts = page["/Resources"]["/Font"]
        assert fonts
        assert all("/FontFile2" in fonts[name]["/FontDescriptor"] for name in fonts)


def test_the_files_have_the_names_that_the_metadata_gives(tmp_path):
    letter = letter_of("ke-hoach-ky-so-cap-xa")
    rendered, metadata = render(letter, tmp_path), as_metadata(letter, ROLES)
    assert rendered.main == tmp_path / metadata["main"]
    assert [path.name for path in rendered.attachments] == metadata["attachments"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([metadata["main"], *metadata["attachments"]])


def test_the_same_letter_gives_the_same_bytes(tmp_path):
    letter = letter_of("ke-hoach-ky-so-cap-xa")
    first = render(letter, tmp_path / "1")
    render(letter_of("cong-dien-bao"), tmp_path / "other")
    again = render(letter, tmp_path / "2")
    for one, two in zip((first.main, *first.attachments), (again.main, *again.attachments), strict=True):
        assert one.read_bytes() == two.read_bytes()


def test_another_process_and_another_font_folder_give_the_same_bytes(tmp_path):
    letter, fonts = letter_of("cong-dien-bao"), find_fonts()
    shutil.copytree(fonts.regular.parent, tmp_path / "fonts")
    code = (
        "from pathlib import Path; from lienthong_conformance.letters import *;"
        f"print(render(letter_of('{letter.key}'), Path('there')).main)"
    )
    environment = {"LIENTHONG_FONTS": str(tmp_path / "fonts"), "PYTHONHASHSEED": "7"}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True)
    here = render(letter, tmp_path / "here", fonts=fonts).main
    assert (tmp_path / "there" / letter.main_name).read_bytes() == here.read_bytes()


@needs_pdftotext
@pytest.mark.parametrize(
    ("key", "stamp"),
    [
        ("gian-doan-he-thong", "\nKHẨN\n"),
        ("bao-cao-nhanh-bao", "THƯỢNG KHẨN"),
        ("cong-dien-bao", "HỎA TỐC"),
        ("dien-tap-khu-vuc", "\nMẬT\n"),
    ],
)
def test_urgent_and_secret_letters_bear_their_stamp_and_others_do_not(key, stamp, tmp_path):
    main = render(letter_of(key), tmp_path).main
    done = subprocess.run(["pdftotext", main, "-"], capture_output=True, check=True)
    assert stamp in done.stdout.decode()
    plain = dataclasses.replace(letter_of(key), priority=Priority.NORMAL, secrecy="")
    done = subprocess.run(["pdftotext", render(plain, tmp_path).main, "-"], capture_output=True, check=True)
    assert stamp not in done.stdout.decode()


@needs_pdftotext
def test_a_long_letter_numbers_its_second_page_and_keeps_the_signature_with_the_text(tmp_path):
    letter = letter_of("ra-soat-van-ban")
    long = dataclasses.replace(letter, body=letter.body[:-1] * 4 + letter.body[-1:])
    main = render(long, tmp_path).main
    last_page = extracted(main, "-f", "2")
    assert page_count(main) == 2
    assert last_page.startswith("2")
    assert squeezed(letter.body[-1]) in last_page
    assert squeezed(letter.signer.full_name) in last_page


@needs_pdftotext
def test_text_that_looks_like_markup_is_printed_as_it_is(tmp_path):
    body = ("Nhập <b>mật khẩu</b> & mã OTP < 30 giây.", "Điều 2. Giá trị “x > y” &amp; hết./.")
    main = render(dataclasses.replace(letter_of("ra-soat-van-ban"), body=body), tmp_path).main
    assert all(squeezed(text) in extracted(main) for text in body)


def test_a_letter_without_body_and_recipients_still_renders(tmp_path):
    bare = dataclasses.replace(letter_of("ra-soat-van-ban"), body=(), to_places=(), salutation=())
    assert page_count(render(bare, tmp_path).main) == 1


@needs_pdftotext
def test_the_annex_names_its_letter_and_leaves_the_corner_for_the_agency_signature(tmp_path):
    letter = letter_of("ke-hoach-ky-so-cap-xa")
    annex = render(letter, tmp_path).attachments[0]
    assert squeezed("Kèm theo Kế hoạch số 87/KH-UBND ngày 16 tháng 3 năm 2026") in extracted(annex)
    corner = extracted(annex, "-x", "300", "-y", "0", "-W", "295", "-H", "90")
    assert corner == ""


def test_csv_opens_in_a_spreadsheet_with_its_own_rows(tmp_path):
    letter = letter_of("bao-cao-chu-ky-so")
    content = render(letter, tmp_path).attachments[0].read_bytes()
    assert content.startswith(b"\xef\xbb\xbf")
    rows = list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), delimiter=";"))
    assert [tuple(row) for row in rows] == [letter.attachments[0].columns, *letter.attachments[0].rows]


@quick
@given(st.lists(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\r\0")), min_size=2, max_size=2)))
def test_csv_keeps_any_cell(tmp_path, rows):
    table = Attachment(name="t.csv", kind="csv", title="", columns=("a", "b"), rows=tuple(map(tuple, rows)))
    letter = dataclasses.replace(letter_of("giay-moi-gui-nham"), attachments=(table,))
    content = render(letter, tmp_path).attachments[0].read_bytes().decode("utf-8-sig")
    assert list(csv.reader(io.StringIO(content, newline=""), delimiter=";")) == [["a", "b"], *rows]


def test_text_attachment_is_utf8_lines(tmp_path):
    letter = letter_of("giay-moi-tap-huan")
    lines = render(letter, tmp_path).attachments[0].read_bytes().decode().splitlines()
    assert lines == [letter.attachments[0].title, "", *letter.attachments[0].lines]


def test_a_letter_that_the_font_lacks_is_an_error_that_shows_it(tmp_path):
    foreign = dataclasses.replace(letter_of("ra-soat-van-ban"), subject="V/v 漢")
    with pytest.raises(ContentError, match=r"漢.*\[ra-soat-van-ban\]"):
        render(foreign, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"rows": (("x", "dài " * 5000),)}, "“Bảng” cannot be set"),
        ({"rows": (("x", "y", "z"),)}, "do not match its head"),
        ({"widths": (1.0,)}, "do not match its head"),
    ],
    ids=["endless cell", "ragged row", "too few widths"],
)
def test_a_table_that_cannot_be_set_is_an_error(more, message, tmp_path):
    table = Attachment(name="t.pdf", kind="pdf", title="Bảng", columns=("a", "b"), **more)
    with pytest.raises(ContentError, match=message):
        render(dataclasses.replace(letter_of("ra-soat-van-ban"), attachments=(table,)), tmp_path)


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigError, match="could not be written"):
        render(letter_of("ra-soat-van-ban"), tmp_path / "file")


def test_a_given_font_that_is_not_there_is_an_error(tmp_path):
    fonts = dataclasses.replace(find_fonts(), regular=tmp_path / "none.ttf")
    with pytest.raises(ConfigError, match=r"cannot be used.*none\.ttf"):
        render(letter_of("ra-soat-van-ban"), tmp_path, fonts=fonts)


# --- fonts --------------------------------------------------------------------------------------------------


def placed(folder: Path, **named: str) -> Path:
    """Copies of matplotlib's fonts under other names; matplotlib is an optional part of the installation."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, source in named.items():
        shutil.copy(MATPLOTLIB / f"{source}.ttf", folder / f"{name.replace('_', '-')}.ttf")
    return folder


def test_dejavu_is_always_among_the_available_families():
    assert "DejaVu Serif" in FAMILIES


def test_the_named_folder_comes_before_the_system_and_matplotlib_comes_last(tmp_path, monkeypatch):
    placed(tmp_path, Tinos_Regular="DejaVuSerif", Tinos_Bold="DejaVuSerif-Bold")
    monkeypatch.setenv("LIENTHONG_FONTS", str(tmp_path))
    assert find_fonts().regular == tmp_path / "Tinos-Regular.ttf"
    assert font_places()[0] == (tmp_path,)
    assert font_places()[-1][0].parts[-3:] == ("mpl-data", "fonts", "ttf")


def test_without_the_variable_only_system_and_matplotlib_are_searched(monkeypatch):
    monkeypatch.delenv("LIENTHONG_FONTS", raising=False)
    assert font_places()[0] == ()
    assert find_fonts().regular.is_file()


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("times", "Times New Roman"),
        ("Times New Roman", "Times New Roman"),
        ("Times_New_Roman", "Times New Roman"),
        ("LiberationSerif-Regular", "Liberation Serif"),
        ("Tinos-Regular", "Tinos"),
        ("DejaVuSerif", "DejaVu Serif"),
    ],
)
def test_file_names_of_every_system_are_recognised(name, family, tmp_path):
    shutil.copy(MATPLOTLIB / "DejaVuSerif.ttf", tmp_path / f"{name}.TTF")
    assert find_fonts([[tmp_path]]).family == family


def test_times_is_preferred_within_a_place(tmp_path):
    placed(tmp_path, DejaVuSerif="DejaVuSerif", Tinos_Regular="DejaVuSerif", timesbd="DejaVuSerif-Bold")
    placed(tmp_path / "deep", times="DejaVuSerif")
    fonts = find_fonts([[tmp_path]])
    assert (fonts.family, fonts.bold.name) == ("Times New Roman", "timesbd.ttf")
    assert [one.family for one in available_fonts([[tmp_path]])] == ["Times New Roman", "Tinos", "DejaVu Serif"]


def test_missing_faces_are_replaced_by_the_nearest(tmp_path):
    placed(tmp_path, Tinos_Regular="DejaVuSerif", Tinos_Italic="DejaVuSerif-Italic")
    fonts = find_fonts([[tmp_path]])
    assert fonts.bold == fonts.regular
    assert fonts.bold_italic == fonts.italic == tmp_path / "Tinos-Italic.ttf"


def test_a_font_without_vietnamese_is_passed_over_for_its_better_version(tmp_path):
    placed(tmp_path / "1", LiberationSerif_Regular="cmr10")
    placed(tmp_path / "2", LiberationSerif_Regular="DejaVuSerif")
    assert find_fonts([[tmp_path]]).regular.parent.name == "2"


def test_no_usable_font_is_an_error_that_says_where_was_searched(tmp_path):
    placed(tmp_path, times="cmr10")
    with pytest.raises(ConfigError) as caught:
        find_fonts([[tmp_path, tmp_path / "missing"]])
    assert str(tmp_path / "missing") in str(caught.value)
    assert "LIENTHONG_FONTS" in caught.value.text("vi")


damage_number = itertools.count()


@quick
@given(st.integers(0, 2000), st.binary(max_size=600))
def test_damaged_font_files_are_passed_over(tmp_path, kept, junk):
    folder = tmp_path / str(next(damage_number))
    folder.mkdir()
    (folder / "times.ttf").write_bytes((MATPLOTLIB / "DejaVuSerif.ttf").read_bytes()[:kept] + junk)
    with pytest.raises(ConfigError):
        find_fonts([[folder]])


# --- PDFs of a wanted size ----------------------------------------------------------------------------------


@quick
@given(st.integers(2_000, 300_000))
def test_a_blank_pdf_has_exactly_the_wanted_size_and_one_page(tmp_path, size):
    path = tmp_path / "blank.pdf"
    blank_pdf(path, size)
    assert path.stat().st_size == size
    with opened(path) as (page,):
        picture = page["/Resources"]["/XObject"]["/Noise"]
        assert len(picture.encoded_data) == picture["/Width"] * picture["/Height"]


def test_a_blank_pdf_does_not_compress_and_is_the_same_each_time(tmp_path):
    blank_pdf(tmp_path / "1.pdf", 100 * 1024)
    blank_pdf(tmp_path / "2.pdf", 100 * 1024)
    content = (tmp_path / "1.pdf").read_bytes()
    assert content == (tmp_path / "2.pdf").read_bytes()
    assert len(zlib.compress(content, 9)) > 0.98 * len(content)


def test_a_blank_pdf_can_be_added_to_as_a_signer_does(tmp_path):
    blank_pdf(tmp_path / "blank.pdf", 2 * 1024 * 1024)
    with (tmp_path / "blank.pdf").open("rb+") as file:
        writer = IncrementalPdfFileWriter(file)
        writer.update_root()
        writer.write_in_place()
    assert page_count(tmp_path / "blank.pdf") == 1


def test_memory_does_not_grow_with_the_size(tmp_path):
    tracemalloc.start()
    try:
        blank_pdf(tmp_path / "blank.pdf", 20 * 1024 * 1024)
        assert tracemalloc.get_traced_memory()[1] < 1024 * 1024
    finally:
        tracemalloc.stop()


def test_sizes_that_cannot_be_made_are_errors_that_say_the_limit(tmp_path):
    with pytest.raises(ContentError, match="at least") as small:
        blank_pdf(tmp_path / "blank.pdf", 500)
    with pytest.raises(ContentError, match="at most"):
        blank_pdf(tmp_path / "blank.pdf", 10**10)
    blank_pdf(tmp_path / "blank.pdf", small.value.facts["smallest"])
    with pytest.raises(ConfigError, match="could not be written"):
        blank_pdf(tmp_path / "missing" / "blank.pdf", 100_000)
