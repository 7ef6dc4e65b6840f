"""The image of a signature or a seal: a transparent PNG (Decree 30/2020 Appendix I, II.7d and II.8a).

It is cut to what is drawn on it, so that sizes and places are those of the ink and not of an empty margin, and packed
once for all the documents that show it.
"""

# parts of pyHanko have no type annotations:
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Literal

from PIL import Image, ImageChops
from pyhanko.pdf_utils.generic import IndirectObject, NumberObject, StreamObject, pdf_name
from pyhanko.pdf_utils.writer import BasePdfFileWriter

from lienthong.errors import SigningError

Colour = Literal["red", "blue", "other"]

_LARGEST_FILE = 4 * 1024 * 1024
_MOST_PIXELS = 4_000_000
"""A seal of 40 mm at 1200 dots per inch; whatever is larger only makes every signed file heavier."""
_VISIBLE = 64
_COLOURED = 60
_HUES: dict[Colour, tuple[range, ...]] = {
    # Of 256 steps around the circle of hues.
    "red": (range(0, 15), range(240, 256)),
    "blue": (range(135, 195),),
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Picture:
    """Pixels of ink and their opacity, deflated. ``colour`` is the one that most of the ink has."""

    width: int
    height: int
    pixels: bytes = field(repr=False)
    opacity: bytes = field(repr=False)
    colour: Colour

    @property
    def aspect(self) -> float:
        """Width by height."""
        return self.width / self.height


def load_picture(file: Path) -> Picture:
    """The image in ``file``.

    :raises SigningError: it cannot be read, is not a PNG, is too large, not transparent, or shows nothing
    """
    try:
        state = file.stat()
        if state.st_size > _LARGEST_FILE:
            raise SigningError("sign.image-too-large", where=str(file), limit=_limit())
        return _loaded(file, state.st_mtime_ns)
    except OSError as problem:
        raise SigningError("sign.image-unreadable", where=str(file), reason=problem.strerror) from problem


@lru_cache(maxsize=32)
def _loaded(file: Path, _changed: int) -> Picture:
    image = _decoded(file, file.read_bytes())
    opacity = image.getchannel("A")
    if not any(opacity.histogram()[:_VISIBLE]):
        raise SigningError("sign.image-opaque", where=str(file))
    ink = opacity.getbbox()
    if ink is None:
        raise SigningError("sign.image-empty", where=str(file))
    image = image.crop(ink)
    return Picture(
        width=image.width,
        height=image.height,
        pixels=zlib.compress(image.convert("RGB").tobytes()),
        opacity=zlib.compress(image.getchannel("A").tobytes()),
        colour=_colour(image),
    )


def _decoded(file: Path, content: bytes) -> Image.Image:
    try:
        with Image.open(BytesIO(content), formats=["PNG"]) as image:
            # The size stands in the header; nothing is unpacked before this line.
            if image.width * image.height > _MOST_PIXELS:
                raise SigningError("sign.image-too-large", where=str(file), limit=_limit())
            return image.convert("RGBA")
    except SigningError:
        raise
    except Exception as problem:
        # The decoder has no one error for a damaged file: OSError, SyntaxError, ValueError and others come out of it.
        raise SigningError("sign.image-not-png", where=str(file)) from problem


def _colour(image: Image.Image) -> Colour:
    """The colour of more than half of the ink; black and grey are no colour."""
    small = image.copy()
    small.thumbnail((200, 200))
    hue, saturation, _ = small.convert("RGB").convert("HSV").split()
    visible = small.getchannel("A").point(_above(_VISIBLE))
    coloured = ImageChops.darker(visible, saturation.point(_above(_COLOURED)))
    ink, steps = visible.histogram()[255], hue.histogram(coloured)
    for colour, ranges in _HUES.items():
        if 2 * sum(steps[step] for some in ranges for step in some) > ink:
            return colour
    return "other"


def _above(limit: int) -> list[int]:
    """A table for ``Image.point``: white for levels above ``limit``, black for the others."""
    return [255 * (level > limit) for level in range(256)]


def _limit() -> str:
    return f"{_LARGEST_FILE // 1024 // 1024} MB, {_MOST_PIXELS // 1_000_000} million pixels"


def add_picture(writer: BasePdfFileWriter, picture: Picture) -> IndirectObject:
    """Put the image into the file that is being written, its opacity as a soft mask (ISO 32000-1, 11.6.5.3)."""
    mask = writer.add_object(_image(picture, "/DeviceGray", picture.opacity))
    image = _image(picture, "/DeviceRGB", picture.pixels)
    image[pdf_name("/SMask")] = mask
    return writer.add_object(image)


def _image(picture: Picture, colours: str, packed: bytes) -> StreamObject:
    entries = {
        pdf_name("/Type"): pdf_name("/XObject"),
        pdf_name("/Subtype"): pdf_name("/Image"),
        pdf_name("/Width"): NumberObject(picture.width),
        pdf_name("/Height"): NumberObject(picture.height),
        pdf_name("/ColorSpace"): pdf_name(colours),
        pdf_name("/BitsPerComponent"): NumberObject(8),
        pdf_name("/Filter"): pdf_name("/FlateDecode"),
    }
    return StreamObject(entries, encoded_data=packed)
