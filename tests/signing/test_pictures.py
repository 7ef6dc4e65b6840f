from __future__ import annotations

import shutil
import struct
import zlib
from pathlib import Path

import pytest
from PIL import Image

from lienthong.errors import SigningError
from lienthong.signing.stamp.appearance import Appearance, AppearanceKind, colour_doubt, lay_out
from lienthong.signing.stamp.picture import load_picture
from lienthong.signing.stamp.typeface import find_typeface

from .stationery import draw_handwriting, draw_seal, number, person, seal
from .workshop import NOW, code_of

CARRIED = Path(find_typeface.__code__.co_filename).with_name("fonts") / "LiberationSerif-Regular.ttf"
VIETNAMESE = "aàáảãạăằắẳẵặâầấẩẫậđeèéẻẽẹêềếểễệiìíỉĩịoòóỏõọôồốổỗộơờớởỡợuùúủũụưừứửữựyỳýỷỹỵ"


def refusal_of(image: Path) -> str:
    return code_of(SigningError, lambda: load_picture(image))


def test_an_image_is_cut_to_its_ink(tmp_path):
    picture = load_picture(draw_handwriting(tmp_path / "hand.png"))
    assert (picture.width, picture.height) == (600, 300)
    assert len(zlib.decompress(picture.opacity)) * 3 == len(zlib.decompress(picture.pixels)) == 600 * 300 * 3


def test_an_image_that_was_replaced_is_read_again(tmp_path):
    path = draw_seal(tmp_path / "seal.png", size=400)
    assert load_picture(path).width == 400
    draw_seal(path, size=500)
    assert load_picture(path).width == 500


def test_a_palette_with_a_transparent_colour_is_transparency_too(tmp_path):
    image = Image.new("P", (20, 20), 0)
    image.putpalette([255, 255, 255, 200, 0, 0])
    image.paste(1, (5, 5, 15, 15))
    image.save(tmp_path / "palette.png", transparency=0)
    assert load_picture(tmp_path / "palette.png").colour == "red"


def test_a_missing_image_is_named(tmp_path):
    assert refusal_of(tmp_path / "none.png") == "sign.image-unreadable"


def test_an_opaque_image_is_refused(tmp_path):
    Image.new("RGB", (20, 20), "white").save(tmp_path / "opaque.png")
    assert refusal_of(tmp_path / "opaque.png") == "sign.image-opaque"


def test_an_image_without_ink_is_refused(tmp_path):
    Image.new("RGBA", (20, 20), (0, 0, 0, 0)).save(tmp_path / "empty.png")
    assert refusal_of(tmp_path / "empty.png") == "sign.image-empty"


@pytest.mark.parametrize("kind", ["JPEG", "GIF", "BMP"])
def test_other_formats_are_refused(tmp_path, kind):
    Image.new("RGB", (20, 20), "white").save(tmp_path / "image.png", format=kind)
    assert refusal_of(tmp_path / "image.png") == "sign.image-not-png"


def test_a_damaged_image_is_refused(tmp_path):
    path = draw_seal(tmp_path / "seal.png")
    path.write_bytes(path.read_bytes()[:200])
    assert refusal_of(path) == "sign.image-not-png"


def test_an_image_that_unpacks_to_gigabytes_is_refused_by_its_header(tmp_path):
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 6, 0, 0, 0)
    chunk = struct.pack(">I", len(header)) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk + b"\0" * 100)
    assert refusal_of(tmp_path / "bomb.png") in ("sign.image-too-large", "sign.image-not-png")


def test_too_many_pixels_and_too_many_bytes_are_refused(tmp_path):
    Image.new("RGBA", (2001, 2000), (0, 0, 0, 0)).save(tmp_path / "pixels.png")
    assert refusal_of(tmp_path / "pixels.png") == "sign.image-too-large"
    (tmp_path / "bytes.png").write_bytes(b"\0" * (4 * 1024 * 1024 + 1))
    assert refusal_of(tmp_path / "bytes.png") == "sign.image-too-large"


# Colours


@pytest.mark.parametrize(("colour", "is_doubted"), [((20, 50, 190), False), ((0, 0, 0), True), ((200, 0, 0), True)])
def test_a_handwriting_that_is_not_blue_is_doubted(tmp_path, colour, is_doubted):
    doubt = colour_doubt(person(draw_handwriting(tmp_path / "hand.png", colour)))
    assert (doubt.code if doubt else None) == ("sign.image-not-blue" if is_doubted else None)


@pytest.mark.parametrize(("colour", "is_doubted"), [((215, 20, 30), False), ((230, 40, 120), True), ((9, 9, 9), True)])
def test_a_seal_that_is_not_red_is_doubted(tmp_path, colour, is_doubted):
    doubt = colour_doubt(seal(draw_seal(tmp_path / "seal.png", colour)))
    assert (doubt.code if doubt else None) == ("sign.image-not-red" if is_doubted else None)


def test_text_has_no_colour_to_doubt():
    assert colour_doubt(number()) is None


# Fonts


def test_the_font_that_is_carried_has_all_vietnamese_letters():
    face = find_typeface(CARRIED)
    assert face.width(VIETNAMESE + VIETNAMESE.upper()) > 0
    # As wide as Times New Roman, whose digits are half as wide as high.
    assert face.width("0123456789") == 5000
    assert (CARRIED.parent / "LICENSE").read_text("utf-8").count("SIL OPEN FONT LICENSE") == 1


def test_a_configured_font_is_the_one_used(tmp_path):
    own = Path(shutil.copyfile(CARRIED, tmp_path / "own.ttf"))
    assert find_typeface(own).file == own


@pytest.mark.parametrize("content", [None, b"", b"no font", b"\0\1\0\0" + b"\xff" * 200])
def test_a_font_that_cannot_be_used_is_refused(tmp_path, content, letter):
    path = tmp_path / "font.ttf"
    if content is not None:
        path.write_bytes(content)
    assert code_of(SigningError, lambda: lay_out(letter, number(font=path), at=NOW)) == "sign.font-unusable"


def test_letters_that_the_font_lacks_are_named(letter):
    odd = Appearance(kind=AppearanceKind.ATTACHMENT, texts=("15/漢字",))
    with pytest.raises(SigningError) as caught:
        lay_out(letter, odd, at=NOW)
    assert caught.value.code == "sign.font-lacks-letters"
    assert caught.value.facts["letters"] == "字 漢"


def test_a_text_that_fills_the_page_is_refused(letter):
    endless = Appearance(kind=AppearanceKind.ATTACHMENT, texts=("dài " * 500,))
    assert code_of(SigningError, lambda: lay_out(letter, endless, at=NOW)) == "sign.text-too-long"
