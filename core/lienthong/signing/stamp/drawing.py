"""What a signature shows, as a PDF form: an image or lines of text, upright on a page that is shown turned."""

from __future__ import annotations

from dataclasses import dataclass

from pyhanko.pdf_utils.content import ResourceType
from pyhanko.pdf_utils.generic import pdf_name
from pyhanko.pdf_utils.layout import BoxConstraints
from pyhanko.pdf_utils.writer import BasePdfFileWriter
from pyhanko.stamp import BaseStamp, BaseStampStyle

from lienthong.errors import SigningError
from lienthong.signing.stamp.picture import Picture, add_picture
from lienthong.signing.stamp.typeface import Typeface, add_font

TEXT_SIZE = 10
"""Points (Decree 30/2020 Appendix I, II.8b)."""
_LINE = 1.15 * TEXT_SIZE
_MOST_LINES = 12


@dataclass(frozen=True, kw_only=True)
class Lines:
    """Text that is set already, line by line, in black. ``width`` and ``height`` in points."""

    lines: tuple[str, ...]
    face: Typeface
    width: float

    @property
    def height(self) -> float:
        return _LINE * len(self.lines)


@dataclass(frozen=True, kw_only=True)
class Image:
    """A picture, ``width`` and ``height`` points large."""

    picture: Picture
    width: float
    height: float


@dataclass(frozen=True, kw_only=True)
class Drawing(BaseStampStyle):
    """Content in the middle of its box, turned against the page's clockwise ``rotation``; no frame, no background."""

    content: Lines | Image
    rotation: int = 0

    def create_stamp(self, writer: BasePdfFileWriter, box: BoxConstraints, text_params: dict[str, str]) -> _Form:
        return _Form(writer, box, self)


class _Form(BaseStamp):
    def __init__(self, writer: BasePdfFileWriter, box: BoxConstraints, drawing: Drawing) -> None:
        super().__init__(writer, drawing, box)
        self._writer = writer
        self._drawing = drawing

    def render(self) -> bytes:
        width, height = float(self.box.width), float(self.box.height)
        turned, seen = _turn(self._drawing.rotation, width, height)
        content = self._drawing.content
        left, bottom = (seen[0] - content.width) / 2, (seen[1] - content.height) / 2
        drawn = self._image(content) if isinstance(content, Image) else self._text(content)
        return b"q %s 1 0 0 1 %.3f %.3f cm %s Q" % (turned, left, bottom, drawn)

    def _image(self, content: Image) -> bytes:
        self.set_resource(ResourceType.XOBJECT, pdf_name("/Image"), add_picture(self._writer, content.picture))
        return b"%.3f 0 0 %.3f 0 0 cm /Image Do" % (content.width, content.height)

    def _text(self, content: Lines) -> bytes:
        font, codes = add_font(self._writer, content.face, "".join(content.lines))
        self.set_resource(ResourceType.FONT, pdf_name("/Text"), font)
        # The letters, marks above capitals included, stand in the middle of the line.
        above = (_LINE - (content.face.ascent - content.face.descent) / 1000 * TEXT_SIZE) / 2
        first = content.height - above - content.face.ascent / 1000 * TEXT_SIZE
        shown = b" ".join(b"<%s> Tj T*" % b"".join(codes[letter] for letter in line) for line in content.lines)
        return b"BT 0 g /Text %d Tf %.3f TL 0 %.3f Td %s ET" % (TEXT_SIZE, _LINE, first, shown)


def _turn(rotation: int, width: float, height: float) -> tuple[bytes, tuple[float, float]]:
    """The matrix that sets content upright in a box of the page, and the size of that box as seen."""
    turns = {
        0: (b"", (width, height)),
        90: (b"0 1 -1 0 %.3f 0 cm" % width, (height, width)),
        180: (b"-1 0 0 -1 %.3f %.3f cm" % (width, height), (width, height)),
        270: (b"0 -1 1 0 0 %.3f cm" % height, (height, width)),
    }
    return turns[rotation]


def set_lines(texts: tuple[str, ...], face: Typeface, widest: float) -> Lines:
    """Break texts into lines of at most ``widest`` points; a word that is longer has a line of its own.

    :raises SigningError: the font lacks a letter, or the text is too long for the corner of a page
    """
    lines = [line for text in texts for line in _broken(text.split(), face, widest)]
    if len(lines) > _MOST_LINES:
        raise SigningError("sign.text-too-long", lines=len(lines), limit=_MOST_LINES)
    width = max((_length(line, face) for line in lines), default=0.0)
    return Lines(lines=tuple(lines), face=face, width=width)


def _broken(words: list[str], face: Typeface, widest: float) -> list[str]:
    lines: list[str] = []
    for word in words:
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and _length(longer, face) <= widest:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _length(text: str, face: Typeface) -> float:
    return face.width(text) / 1000 * TEXT_SIZE
