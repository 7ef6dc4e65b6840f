from __future__ import annotations

import pickle
import re
import unicodedata
from io import BytesIO
from pathlib import Path

import pytest
from asn1crypto import pem, x509
from PIL import Image, ImageChops, ImageFilter
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.pdf_utils.writer import copy_into_new_writer
from pyhanko.sign.fields import SigFieldSpec, append_signature_field
from pyhanko.sign.validation import validate_pdf_signature
from pyhanko_certvalidator import ValidationContext

from lienthong.errors import ContentError, SigningError
from lienthong.signing.pades import sign_pdf
from lienthong.signing.stamp.appearance import Appearance, AppearanceKind, CopyForm, lay_out, preview
from lienthong.signing.stamp.placing import POINTS_PER_MM, Anchor, Field, Spot
from lienthong_conformance.letters import letter_of, render

from .stationery import (
    NAME,
    draw_handwriting,
    draw_seal,
    in_mm,
    ink_of,
    near,
    needs_poppler,
    number,
    page_with,
    person,
    said_by,
    seal,
)
from .workshop import NOW, asker, code_of, credential_of, updating

SIGNER = "BT /F 13 Tf 380 350 Td (PHO GIAM DOC) Tj ET BT /F 13 Tf 390 250 Td (Nguyen Van A) Tj ET"
ASCII = {"signer_name": "Nguyễn Văn A".translate(str.maketrans("ễă", "ea")), "signer_title": "Pho Giam doc"}


@pytest.fixture(scope="session")
def office_letter(tmp_path_factory) -> Path:
    return render(letter_of("de-nghi-bao-cao"), tmp_path_factory.mktemp("letters")).main


@pytest.fixture(scope="session")
def hand(tmp_path_factory) -> Path:
    return draw_handwriting(tmp_path_factory.mktemp("images") / "hand.png")


@pytest.fixture(scope="session")
def stamp(tmp_path_factory) -> Path:
    return draw_seal(tmp_path_factory.mktemp("images") / "seal.png")


@pytest.fixture(scope="session")
def show():
    """Signs a file with a key and an appearance."""

    def signed(source, target, key, appearance, at, **options):
        look = lay_out(source, appearance, at=at)
        credential = credential_of(key, at)
        assert (
            sign_pdf(source, target, credential=credential, sign=asker(key, at), at=at, stamp=look, **options) is None
        )
        return target

    return signed


@pytest.fixture(scope="session")
def by_person(office_letter, hand, authorities, show, tmp_path_factory) -> Path:
    target = tmp_path_factory.mktemp("signed") / "person.pdf"
    key = authorities.key("person")
    return show(office_letter, target, key, person(hand), authorities.now, field_name="Person")


@pytest.fixture(scope="session")
def by_both(by_person, stamp, authorities, show, tmp_path_factory) -> Path:
    target = tmp_path_factory.mktemp("signed") / "both.pdf"
    return show(by_person, target, authorities.key("agency"), seal(stamp), authorities.now)


def widgets_of(path: Path) -> dict[str, tuple[float, ...]]:
    with path.open("rb") as stream:
        fields = PdfFileReader(stream).root["/AcroForm"]["/Fields"]
        return {str(field["/T"]): tuple(float(side) for side in field["/Rect"]) for field in map(_object, fields)}


def _object(reference):
    return reference.get_object()


# Person and agency


def test_the_person_stands_centred_between_title_and_name(office_letter, hand):
    found = lay_out(office_letter, person(hand), at=NOW)
    assert found.page == 0
    assert near(found.box, (354, 270, 497, 342))
    assert in_mm(found.box) == pytest.approx((50, 25), abs=0.75)


def test_the_agencys_seal_covers_a_third_of_what_the_person_shows(by_both):
    boxes = widgets_of(by_both)
    (left, bottom, right, top), mark = boxes["Person"], boxes["LienthongAgency"]
    assert mark[2] - left == pytest.approx((right - left) / 3, abs=1.5)
    assert mark[0] < left
    assert (mark[1] + mark[3]) / 2 == pytest.approx((bottom + top) / 2, abs=1.5)
    assert in_mm(mark) == pytest.approx((36, 36), abs=0.75)


def test_a_seal_without_a_visible_person_stands_at_the_name(office_letter, stamp):
    names = {"signer_name": NAME, "signer_title": "phó giám đốc"}
    found = lay_out(office_letter, seal(stamp, seal_mm=30, **names), at=NOW)
    assert in_mm(found.box) == pytest.approx((30, 30), abs=0.75)
    assert found.box[0] < 380 < found.box[2] < 425


def test_an_earlier_agencys_signature_is_not_taken_for_the_persons(office_letter, stamp, authorities, show, tmp_path):
    top_left = Spot(page=1, x=10, y=250)
    other = show(
        office_letter, tmp_path / "a.pdf", authorities.key("agency"), seal(stamp, place=top_left), authorities.now
    )
    assert code_of(ContentError, lambda: lay_out(other, seal(stamp), at=NOW)) == "sign.place-unknown"


def test_nothing_says_where_the_seal_goes(office_letter, stamp):
    assert code_of(ContentError, lambda: lay_out(office_letter, seal(stamp), at=NOW)) == "sign.place-unknown"


@needs_poppler
def test_both_signatures_stay_valid(by_both, authorities):
    report = said_by("pdfsig", "-nocert", by_both)
    assert report.count("Signature is Valid") == 2
    assert "not been" not in report.replace("has not been verified", "")
    roots = [*_certificates(authorities.roots)]
    context = ValidationContext(trust_roots=roots, moment=authorities.now, allow_fetching=False)
    with by_both.open("rb") as stream:
        statuses = [
            validate_pdf_signature(one, context, skip_diff=False) for one in PdfFileReader(stream).embedded_signatures
        ]
    assert [status.bottom_line for status in statuses] == [True, True]
    assert len({status.modification_level for status in statuses}) == 2, "the first one was followed by the second"


def _certificates(path: Path):
    return (x509.Certificate.load(der) for _, _, der in pem.unarmor(path.read_bytes(), multiple=True))


def test_the_page_shows_red_over_blue(by_person, by_both, stamp):
    picture = preview(by_person, seal(stamp), at=NOW, dpi=72)
    red, blue = ink_of(picture, "red"), ink_of(picture, "blue")
    covered = (red[2] - blue[0]) / (blue[2] - blue[0])
    assert red[0] < blue[0] < red[2] < blue[2]
    assert covered == pytest.approx(1 / 3, abs=0.06)
    assert red[3] - red[1] == pytest.approx(36 * POINTS_PER_MM, abs=3)


def test_a_preview_changes_nothing(office_letter, hand):
    before = office_letter.read_bytes()
    picture = preview(office_letter, person(hand), at=NOW)
    assert picture.startswith(b"\x89PNG")
    assert office_letter.read_bytes() == before


# Attachments and copies


@needs_poppler
@pytest.mark.parametrize(
    ("appearance", "lines"),
    [
        (number(), ["Số: 15/UBND-VP"]),
        (
            Appearance(kind=AppearanceKind.COPY, texts=(CopyForm.WHOLE, "Ủy ban nhân dân xã Suối Vàng")),
            ["SAO Y", "Ủy ban nhân dân xã Suối Vàng"],
        ),
    ],
    ids=["attachment", "copy"],
)
def test_text_with_the_time_stands_top_right(office_letter, agency, show, tmp_path, appearance, lines):
    signed = show(office_letter, tmp_path / "signed.pdf", agency, appearance, NOW)
    corner = ["-x", "350", "-y", "0", "-W", "245", "-H", "57", "-r", "72"]
    text = said_by("pdftotext", *corner, "-layout", signed, "-").splitlines()
    assert [line.strip() for line in text if line.strip()] == [*lines, "Thời gian ký: 02/03/2026 09:30:00 +07:00"]


@needs_poppler
def test_its_font_is_embedded_as_a_subset_in_size_ten_and_black(letter, agency, show, tmp_path):
    signed = show(letter, tmp_path / "signed.pdf", agency, number(), NOW)
    row = next(line for line in said_by("pdffonts", signed).splitlines() if "Serif" in line and "CID" in line)
    assert re.search(r"^[A-Z]{6}\+\S+ +CID TrueType +Identity-H +yes yes yes", row)
    content, resources = shown_by(signed)
    assert b" 10 Tf" in content
    assert b"0 g" in content
    assert "/XObject" not in resources, "no image (Appendix I, II.8b)"


def shown_by(path: Path, name: str = "LienthongAgency") -> tuple[bytes, dict]:
    with path.open("rb") as stream:
        fields = map(_object, PdfFileReader(stream).root["/AcroForm"]["/Fields"])
        form = next(field for field in fields if field["/T"] == name)["/AP"]["/N"]
        return form.data, dict(form["/Resources"])


def test_a_second_copy_goes_below_the_first(letter, agency, show, tmp_path):
    copy = Appearance(kind=AppearanceKind.COPY, texts=("SAO LỤC", "Sở Nội vụ"))
    once = show(letter, tmp_path / "once.pdf", agency, number(), NOW)
    second = lay_out(once, copy, at=NOW)
    assert second.box[3] < widgets_of(once)["LienthongAgency"][1]


def test_a_long_name_is_broken_into_lines(letter):
    long_name = "Ban Quản lý dự án đầu tư xây dựng các công trình giao thông và nông nghiệp tỉnh Lạc Hồng"
    copy = Appearance(kind=AppearanceKind.COPY, texts=("TRÍCH SAO", long_name))
    found = lay_out(letter, copy, at=NOW)
    assert in_mm(found.box)[0] <= 91
    assert found.box[3] - found.box[1] == pytest.approx(4 * 11.5, abs=1.5)


def test_the_same_signature_shows_the_same_bytes(letter, agency, show, tmp_path):
    def objects(path):
        with path.open("rb") as stream:
            fields = map(_object, PdfFileReader(stream).root["/AcroForm"]["/Fields"])
            form = next(field for field in fields if field["/T"] == "LienthongAgency")["/AP"]["/N"]
            font = form["/Resources"]["/Font"]["/Text"]
            inner = font["/DescendantFonts"][0]
            return (
                form.data,
                str(font["/BaseFont"]),
                inner["/FontDescriptor"]["/FontFile2"].data,
                font["/ToUnicode"].data,
            )

    first, second = (show(letter, tmp_path / f"{turn}.pdf", agency, number(), NOW) for turn in "ab")
    assert objects(first) == objects(second)


# Finding a text


def test_the_text_may_be_split_composed_and_spaced_in_any_way(tmp_path, hand):
    pieces = "BT /F 13 Tf 390 250 Td (Ngu) Tj (yen) Tj 44 0 Td (VAN) Tj 30 0 Td (A) Tj ET"
    path = page_with(tmp_path / "split.pdf", pieces)
    found = lay_out(path, person(hand, **ASCII), at=NOW)
    assert (found.box[0] + found.box[2]) / 2 == pytest.approx((390 + 474) / 2, abs=4)


def test_marks_may_be_letters_of_their_own(office_letter, hand):
    decomposed = unicodedata.normalize("NFD", NAME)
    assert decomposed != NAME
    assert lay_out(office_letter, person(hand, signer_name=decomposed), at=NOW) == lay_out(
        office_letter, person(hand), at=NOW
    )


def test_the_last_page_and_the_lowest_place_count(tmp_path, hand):
    twice = "BT /F 13 Tf 100 700 Td (Nguyen Van A) Tj ET " + SIGNER
    path = page_with(tmp_path / "long.pdf", SIGNER, twice, "BT /F 13 Tf 90 700 Td (Phu luc) Tj ET")
    found = lay_out(path, person(hand, **ASCII), at=NOW)
    assert found.page == 1
    assert found.box[1] > 250
    assert found.box[3] < 352


def test_an_annex_that_names_the_signer_again_is_passed_over(tmp_path, hand):
    path = page_with(tmp_path / "annex.pdf", SIGNER, "BT /F 13 Tf 90 700 Td (1. Nguyen Van A, To truong) Tj ET")
    assert lay_out(path, person(hand, **ASCII), at=NOW).page == 0
    assert lay_out(path, person(hand, **{**ASCII, "signer_title": ""}), at=NOW).page == 1
    assert lay_out(path, person(hand, **{**ASCII, "signer_title": "Chu tich"}), at=NOW).page == 1


def test_a_name_within_a_word_is_not_that_name(tmp_path, hand):
    path = page_with(tmp_path / "within.pdf", "BT /F 13 Tf 390 250 Td (Lan Anh) Tj ET")
    assert (
        code_of(ContentError, lambda: lay_out(path, person(hand, signer_name="An"), at=NOW)) == "sign.place-not-found"
    )


def test_a_text_that_is_nowhere_is_named(office_letter, hand):
    with pytest.raises(ContentError) as caught:
        lay_out(office_letter, person(hand, place=Anchor(text="Trần Văn B")), at=NOW)
    assert caught.value.code == "sign.place-not-found"
    assert "Trần Văn B" in caught.value.text("vi")


def test_text_can_stand_above_an_anchor(tmp_path):
    path = page_with(tmp_path / "anchor.pdf", SIGNER)
    found = lay_out(path, number(place=Anchor(text="nguyen van a")), at=NOW)
    assert (found.box[0] + found.box[2]) / 2 == pytest.approx(428, abs=4)
    assert 262 < found.box[1] < 270


# Pages that are cut and turned

TURNS = {0: "1 0 0 1 0 0", 90: "0 1 -1 0 595 0", 180: "-1 0 0 -1 595 842", 270: "0 -1 1 0 0 842"}
CUT = "/MediaBox [-100 -50 700 900] /CropBox [0 0 595 842]"


@pytest.mark.parametrize(
    ("kind", "rotation"),
    [("person", 90), ("person", 180), ("person", 270), ("seal", -90), ("number", 90), ("number", 270)],
)
def test_a_turned_and_cut_page_looks_like_an_upright_one(tmp_path, hand, stamp, rotation, kind):
    wanted = {"person": person(hand, **ASCII), "seal": seal(stamp, **ASCII), "number": number()}[kind]
    turn = rotation % 360
    words = "BT /F 13 Tf 200 350 Td (PHO GIAM DOC) Tj ET BT /F 13 Tf 210 250 Td (Nguyen Van A) Tj ET"
    wide = turn % 180 == 90
    upright = page_with(
        tmp_path / "upright.pdf", words, attributes=f"/MediaBox [0 0 {'842 595' if wide else '595 842'}]"
    )
    turned = page_with(tmp_path / "turned.pdf", f"{TURNS[turn]} cm {words}", attributes=f"{CUT} /Rotate {rotation}")
    colour = {"person": "blue", "seal": "red"}.get(kind)
    before, after = (preview(path, wanted, at=NOW, dpi=72) for path in (upright, turned))
    assert _size(before) == _size(after)
    if colour:
        assert near(ink_of(after, colour), ink_of(before, colour), by=2)
    else:
        assert _alike(before, after) > 0.97


def _size(picture: bytes):
    return Image.open(BytesIO(picture)).size


def _alike(one: bytes, other: bytes) -> float:
    """Share of the dark pixels in the upper right corner that are dark in both."""
    images = [Image.open(BytesIO(picture)).convert("L") for picture in (one, other)]
    width, height = images[0].size
    corners = [
        image.crop((width // 2, 0, width, height // 8)).point(lambda level: 255 * (level < 128)) for image in images
    ]
    blurred = corners[1].filter(ImageFilter.MaxFilter(3))
    dark = corners[0].histogram()[255]
    assert dark > 50
    return ImageChops.darker(corners[0], blurred).histogram()[255] / dark


# Fields and coordinates


@pytest.fixture
def with_field(letter, tmp_path) -> Path:
    target = tmp_path / "field.pdf"
    with updating(letter, target) as writer:
        append_signature_field(writer, SigFieldSpec(sig_field_name="Leader", box=(300, 100, 420, 160)))
    return target


def test_a_named_field_is_filled(with_field, hand, agency, show, tmp_path):
    appearance = person(hand, place=Field(name="Leader"))
    found = lay_out(with_field, appearance, at=NOW)
    assert (found.field_name, found.box) == ("Leader", (300, 100, 420, 160))
    signed = show(with_field, tmp_path / "signed.pdf", agency, appearance, NOW)
    assert widgets_of(signed) == {"Leader": (300, 100, 420, 160)}
    assert b"/Image Do" in shown_by(signed, "Leader")[0]
    assert code_of(ContentError, lambda: lay_out(signed, appearance, at=NOW)) == "sign.field-missing"


def test_a_field_that_is_not_there_is_named(letter, hand):
    wanted = person(hand, place=Field(name="Nowhere"))
    assert code_of(ContentError, lambda: lay_out(letter, wanted, at=NOW)) == "sign.field-missing"


@pytest.mark.parametrize("kind", ["seal", "number"])
def test_a_field_too_small_for_the_real_size_is_refused(with_field, stamp, kind):
    narrow = with_field.with_name("narrow.pdf")
    with updating(with_field, narrow) as writer:
        append_signature_field(writer, SigFieldSpec(sig_field_name="Small", box=(300, 300, 340, 320)))
    place = Field(name="Small")
    small = seal(stamp, place=place) if kind == "seal" else number(place=place)
    assert code_of(ContentError, lambda: lay_out(narrow, small, at=NOW)) == "sign.place-too-small"


FIELD = "<< /FT /Sig /T (Leader) /Type /Annot /Subtype /Widget /F {flags} /Rect [420 160 300 100] >>"


@pytest.mark.parametrize("flags", [2, 32])
def test_a_field_that_nobody_sees_is_no_place(tmp_path, hand, flags):
    path = page_with(tmp_path / "hidden.pdf", "BT ET", more=FIELD.format(flags=flags))
    wanted = person(hand, place=Field(name="Leader"))
    assert code_of(ContentError, lambda: lay_out(path, wanted, at=NOW)) == "sign.field-missing"


def test_a_field_that_does_not_turn_with_its_page_shows_upright_content(tmp_path, hand):
    attributes = "/MediaBox [0 0 595 842] /Rotate 90"
    path = page_with(tmp_path / "still.pdf", "BT ET", more=FIELD.format(flags=16 + 4), attributes=attributes)
    picture = preview(path, person(hand, place=Field(name="Leader")), at=NOW, dpi=72)
    left, top, right, bottom = ink_of(picture, "blue")
    assert right - left > 1.5 * (bottom - top), "as wide as it was drawn"


def test_a_field_without_its_page_is_found_among_the_pages(tmp_path, hand):
    field = FIELD.format(flags=4)
    path = page_with(tmp_path / "field.pdf", "BT ET", more=field)
    found = lay_out(path, person(hand, place=Field(name="Leader")), at=NOW)
    assert (found.page, found.box) == (0, (300, 100, 420, 160))


def test_a_spot_is_measured_in_millimetres_from_the_lower_left(letter, hand):
    found = lay_out(letter, person(hand, place=Spot(page=-1, x=100, y=50, width=60)), at=NOW)
    assert near(found.box, tuple(value * POINTS_PER_MM for value in (100, 50, 160, 80)))


def test_a_spot_beyond_the_edge_is_moved_onto_the_page(letter, stamp):
    found = lay_out(letter, seal(stamp, place=Spot(page=1, x=200, y=-5)), at=NOW)
    assert found.box[0] >= 0
    assert found.box[1] == 0
    assert found.box[2] <= 596
    assert in_mm(found.box) == pytest.approx((36, 36), abs=0.75)


def test_a_spot_on_a_page_that_is_not_there_is_refused(letter, hand):
    wanted = person(hand, place=Spot(page=2, x=1, y=1))
    assert code_of(ContentError, lambda: lay_out(letter, wanted, at=NOW)) == "sign.page-missing"


# Input that cannot be used


@pytest.mark.parametrize(
    "lacking",
    [
        Appearance(kind=AppearanceKind.PERSON),
        Appearance(kind=AppearanceKind.AGENCY),
        Appearance(kind=AppearanceKind.ATTACHMENT, texts=(" ",)),
        Appearance(kind=AppearanceKind.COPY, texts=("SAO Y", "")),
    ],
    ids=lambda appearance: appearance.kind,
)
def test_an_appearance_that_lacks_something_is_refused(letter, lacking):
    assert code_of(SigningError, lambda: lay_out(letter, lacking, at=NOW)) == "sign.appearance-incomplete"


@pytest.mark.parametrize(
    "content",
    [
        b"%PDF-1.7\n" + b"garbage " * 50,
        b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog /Pages 1 0 R /Kids [1 0 R] >>\nendobj\n"
        b"xref\n0 2\n0000000000 65535 f \n0000000009 00000 n \n"
        b"trailer\n<< /Size 2 /Root 1 0 R >>\nstartxref\n74\n%%EOF",
    ],
    ids=["garbage", "endless-tree"],
)
def test_a_hostile_document_is_an_error_of_content(tmp_path, hand, content):
    path = tmp_path / "hostile.pdf"
    path.write_bytes(content)
    for appearance in (number(), person(hand, **ASCII)):
        assert code_of(ContentError, lambda wanted=appearance: lay_out(path, wanted, at=NOW)) == "sign.pdf-damaged"


def test_what_is_no_pdf_is_called_so(tmp_path):
    (tmp_path / "text.pdf").write_text("Kính gửi")
    assert code_of(ContentError, lambda: lay_out(tmp_path / "text.pdf", number(), at=NOW)) == "sign.not-a-pdf"


def test_a_file_that_is_missing_is_the_disks_trouble(tmp_path):
    assert code_of(SigningError, lambda: lay_out(tmp_path / "none.pdf", number(), at=NOW)) == "sign.file"


def test_a_page_of_enormous_size_can_be_previewed(tmp_path):
    path = page_with(tmp_path / "huge.pdf", "BT ET", attributes="/MediaBox [0 0 14400 14400]")
    assert max(_size(preview(path, number(), at=NOW, dpi=300))) <= 3600


def test_an_appearance_crosses_processes(hand):
    appearance = person(hand, place=Spot(page=1, x=1, y=2))
    assert pickle.loads(pickle.dumps(appearance)) == appearance


def test_an_encrypted_document_is_refused(letter, tmp_path):
    with letter.open("rb") as stream, (tmp_path / "locked.pdf").open("wb") as output:
        writer = copy_into_new_writer(PdfFileReader(stream))
        writer.encrypt("owner", "user")
        writer.write(output)
    assert code_of(ContentError, lambda: lay_out(tmp_path / "locked.pdf", number(), at=NOW)) == "sign.pdf-encrypted"


def test_the_preview_shows_a_field_where_it_is(with_field, hand):
    picture = preview(with_field, person(hand, place=Field(name="Leader")), at=NOW, dpi=72)
    left, top, right, bottom = ink_of(picture, "blue")
    assert 300 <= left < right <= 420
    assert 842 - 160 <= top < bottom <= 842 - 100
