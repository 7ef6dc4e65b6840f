"""The press: text, rules and grids in one family of fonts, and the PDF that they become."""

# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape
from zlib import crc32

from reportlab.lib.colors import black
from reportlab.lib.enums import TA_CENTER
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus.doctemplate import BaseDocTemplate, LayoutError, PageTemplate
from reportlab.platypus.flowables import HRFlowable
from reportlab.platypus.frames import Frame
from reportlab.platypus.paragraph import Paragraph
from reportlab.platypus.tables import Table

from lienthong.errors import ConfigError, ContentError
from lienthong_conformance.letters.fonts import Fonts

TEXT_WIDTH = 160 * mm
ALL_CELLS = (0, 0), (-1, -1)
NATIONAL_TITLE = "CỘNG HÒA XÃ HỘI CHỦ NGHĨA VIỆT NAM"
_NATIONAL_TITLE_WIDTH = 92 * mm

Flowables = list[Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Press:
    """The faces by their registered names. ``where`` names the letter in errors.

    Sizes are in points of Times New Roman; ``scale`` brings a wider family down to its width.
    """

    where: str
    regular: str
    bold: str
    italic: str
    bold_italic: str
    scale: float

    def width(self, text: str, face: str, size: float) -> float:
        """How wide a line is, in points."""
        return float(pdfmetrics.stringWidth(text, face, size * self.scale))

    def line(self, text: str, face: str, size: float, *, lead: str = "", **style: Any) -> Paragraph:
        """A paragraph, centred unless ``style`` says otherwise. ``lead`` is printed bold before the text.

        :raises ContentError: the face lacks one of the letters
        """
        self._refuse_missing(lead, self.bold)
        self._refuse_missing(text, face)
        markup = (f'<font name="{self.bold}">{escape(lead)}</font>' if lead else "") + escape(text)
        size *= self.scale
        settings = {"alignment": TA_CENTER, "leading": size * 1.22, **style}
        return Paragraph(markup, ParagraphStyle(face, fontName=face, fontSize=size, **settings))

    def balanced(self, text: str, face: str, size: float) -> Paragraph:
        """Centred lines of about one length, so that no single word stands alone."""
        whole = self.width(text, face, size)
        lines = max(1, math.ceil(whole / (TEXT_WIDTH - 20 * mm)))
        indent = max(0.0, (TEXT_WIDTH - whole / lines - 15 * mm) / 2)
        return self.line(text, face, size, leftIndent=indent, rightIndent=indent)

    def grid(
        self,
        rows: Sequence[Sequence[Any]],
        widths: Sequence[float],
        *look: tuple[Any, ...],
        heights: Sequence[float] | None = None,
    ) -> Table:
        """Cells without lines and padding, except what ``look`` (table style commands) adds. Sizes in points."""
        # Without a font of its own a table names Helvetica, which is not embedded.
        bare: list[tuple[Any, ...]] = [("FONTNAME", *ALL_CELLS, self.regular), ("VALIGN", *ALL_CELLS, "TOP")]
        bare += [(f"{side}PADDING", *ALL_CELLS, 0) for side in ("LEFT", "RIGHT", "TOP", "BOTTOM")]
        return Table(rows, colWidths=widths, rowHeights=heights, style=[*bare, *look])

    def print(self, story: Callable[[], Flowables], *, title: str, author: str) -> tuple[bytes, int]:
        """The finished PDF and its number of pages. The same story gives the same bytes.

        :raises ContentError: something does not fit on a page, or a letter is missing in the fonts
        """
        target = io.BytesIO()
        template = BaseDocTemplate(
            target,
            pagesize=A4,
            pageTemplates=[self._sheet()],
            title=title,
            author=author,
            creator="lienthong",
            lang="vi-VN",
            invariant=1,
            initialFontName=self.regular,
        )
        try:
            template.build(story(), canvasmaker=partial(Canvas, pdfVersion=(1, 7)))
        except (LayoutError, ValueError) as problem:
            raise ContentError("letters.no-room", where=self.where, title=title) from problem
        return target.getvalue(), int(template.page)

    def _refuse_missing(self, text: str, face: str) -> None:
        glyphs = pdfmetrics.getFont(face).face.charToGlyph
        missing = sorted({letter for letter in text if not letter.isspace() and not glyphs.get(ord(letter))})
        if missing:
            raise ContentError("letters.no-glyph", where=self.where, font=face, missing=" ".join(missing))

    def _sheet(self) -> PageTemplate:
        frame = Frame(30 * mm, 20 * mm, TEXT_WIDTH, A4[1] - 40 * mm, 0, 0, 0, 0)
        return PageTemplate(frames=[frame], onPage=self._number_page)

    def _number_page(self, canvas: Canvas, template: BaseDocTemplate) -> None:
        """The number stands centred in the upper margin, from the second page on."""
        if template.page > 1:
            canvas.setFont(self.regular, 13 * self.scale)
            canvas.drawCentredString(A4[0] / 2, A4[1] - 13 * mm, str(template.page))


def press_for(fonts: Fonts, where: str) -> Press:
    """The press that prints in ``fonts``.

    :raises ConfigError: one of the font files cannot be used
    """
    bold = _register(fonts.bold)
    return Press(
        where=where,
        regular=_register(fonts.regular),
        bold=bold,
        italic=_register(fonts.italic),
        bold_italic=_register(fonts.bold_italic),
        scale=min(1.0, _NATIONAL_TITLE_WIDTH / pdfmetrics.stringWidth(NATIONAL_TITLE, bold, 12)),
    )


def _register(path: Path) -> str:
    # Two folders may hold different files of one name, and the registry of fonts is global to the process. The name
    # follows the content, not the place: it decides the order of fonts in the PDF, which must be the same everywhere.
    name = f"{path.stem}-{_content_crc(path):08x}"
    if name not in pdfmetrics.getRegisteredFontNames():
        try:
            pdfmetrics.registerFont(TTFont(name, str(path)))
        except Exception as problem:
            # The parser has no one error for a damaged file: struct.error, KeyError and others come out of it.
            raise ConfigError("letters.font-unreadable", where=str(path), reason=problem) from problem
    return name


@cache
def _content_crc(path: Path) -> int:
    try:
        return crc32(path.read_bytes())
    except OSError as problem:
        raise ConfigError("letters.font-unreadable", where=str(path), reason=problem) from problem


def rule(width: float) -> HRFlowable:
    """A thin line, ``width`` points long."""
    return HRFlowable(width=width, thickness=0.6, color=black, spaceBefore=4, spaceAfter=5)
