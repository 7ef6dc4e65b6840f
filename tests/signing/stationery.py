"""What the tests of visible signatures use: a handwriting, a seal, pages of every kind, and a look at the result."""

from __future__ import annotations

import math
import shutil
import subprocess
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from lienthong.signing.stamp.appearance import Appearance, AppearanceKind
from lienthong.signing.stamp.placing import POINTS_PER_MM, Box

from .workshop import pdf_of

BLUE, RED = (20, 50, 190), (215, 20, 30)
NAME, TITLE = "Bế Thị Hoài An", "Phó Giám đốc"
needs_poppler = pytest.mark.skipif(
    shutil.which("pdftotext") is None, reason="needs pdftotext, pdffonts and pdfsig: apt-get install poppler-utils"
)


def draw_handwriting(path: Path, colour: tuple[int, int, int] = BLUE) -> Path:
    """Twice as wide as high, within a transparent margin that differs on each side."""
    image = Image.new("RGBA", (700, 460), (0, 0, 0, 0))
    brush = ImageDraw.Draw(image)
    points = [(70 + step * 5.6, 190 + 90 * math.sin(step / 6) * math.exp(-step / 90)) for step in range(100)]
    brush.line(points, fill=(*colour, 255), width=8, joint="curve")
    brush.line([(50, 40), (50, 339), (649, 339), (649, 40), (50, 40)], fill=(*colour, 255), width=1)
    image.save(path)
    return path


def draw_seal(path: Path, colour: tuple[int, int, int] = RED, size: int = 400) -> Path:
    image = Image.new("RGBA", (size, size), (0, 0, 0, 0))
    brush = ImageDraw.Draw(image)
    brush.ellipse((0, 0, size - 1, size - 1), outline=(*colour, 230), width=10)
    brush.ellipse((120, 120, 280, 280), fill=(*colour, 230))
    image.save(path)
    return path


def person(image: Path, **more: object) -> Appearance:
    names = {"signer_name": NAME, "signer_title": TITLE, **more}
    return Appearance(kind=AppearanceKind.PERSON, image=image, **names)


def seal(image: Path, **more: object) -> Appearance:
    return Appearance(kind=AppearanceKind.AGENCY, image=image, **more)


def number(**more: object) -> Appearance:
    return Appearance(kind=AppearanceKind.ATTACHMENT, texts=("15/UBND-VP",), **more)


def page_with(path: Path, *contents: str, attributes: str = "/MediaBox [0 0 595 842]", more: str = "") -> Path:
    """Pages in Times, each with one content stream; ``attributes`` of all pages; ``more`` bodies of objects, by ``|``.

    Objects: 1 catalog, 2 page tree, 3 font, then page and content by turns, then ``more``.
    """
    extra = [body.encode() for body in more.split("|") if body]
    kids = " ".join(f"{4 + 2 * index} 0 R" for index in range(len(contents)))
    first = 4 + 2 * len(contents)
    form = f"/AcroForm << /Fields [{first} 0 R] >>" if extra else ""
    objects = [
        f"<< /Type /Catalog /Pages 2 0 R {form} >>".encode(),
        f"<< /Type /Pages /Kids [{kids}] /Count {len(contents)} {attributes} >>".encode(),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Times-Roman >>",
    ]
    for index, content in enumerate(contents):
        annotations = f"/Annots [{first} 0 R]" if extra else ""
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /Contents {5 + 2 * index} 0 R {annotations}"
            " /Resources << /Font << /F 3 0 R >> >> >>".encode()
        )
        objects.append(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content.encode()))
    path.write_bytes(pdf_of([*objects, *extra]))
    return path


def near(box: tuple[int, int, int, int], expected: tuple[float, float, float, float], by: float = 1.5) -> bool:
    return all(abs(found - wanted) <= by for found, wanted in zip(box, expected, strict=True))


def in_mm(box: Box | tuple[int, int, int, int]) -> tuple[float, float]:
    """Width and height."""
    left, bottom, right, top = (box.left, box.bottom, box.right, box.top) if isinstance(box, Box) else box
    return (right - left) / POINTS_PER_MM, (top - bottom) / POINTS_PER_MM


def ink_of(picture: bytes, colour: str) -> tuple[int, int, int, int]:
    """Where the pixels of one colour are: left, top, right, bottom."""
    image = Image.open(BytesIO(picture)).convert("RGB")
    red, green, blue = image.split()
    strong, weak = (red, blue) if colour == "red" else (blue, red)
    lit = strong.point([255 * (level > 140) for level in range(256)])
    dark = Image.eval(weak, lambda level: 255 * (level < 110))
    dark_green = Image.eval(green, lambda level: 255 * (level < 130))
    both = Image.composite(
        Image.composite(lit, Image.new("L", image.size), dark), Image.new("L", image.size), dark_green
    )
    found = both.getbbox()
    assert found is not None, f"nothing {colour} on the page"
    return found


def said_by(*command: object) -> str:
    result = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=True)
    return result.stdout
