"""How the letters look: the layout of Decree 30/2020, Phụ lục I, as PDF.

A4; margins 20 mm above, below and right, 30 mm left; sizes in points as the decree gives them. The same letter in the
same fonts gives the same bytes.
"""

# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

from reportlab.lib.colors import Color, black
from reportlab.lib.enums import TA_JUSTIFY, TA_LEFT
from reportlab.lib.units import mm
from reportlab.platypus.flowables import KeepTogether, Spacer
from reportlab.platypus.paragraph import Paragraph
from reportlab.platypus.tables import Table

from lienthong.errors import ConfigError, ContentError
from lienthong.model import Priority
from lienthong_conformance.letters.fonts import Fonts, find_fonts
from lienthong_conformance.letters.letter import Attachment, Letter, issuer_of
from lienthong_conformance.letters.press import ALL_CELLS, NATIONAL_TITLE, TEXT_WIDTH, Flowables, Press, press_for, rule

_LEFT_COLUMN = 66 * mm
_MOTTO = "Độc lập - Tự do - Hạnh phúc"
_SIGNATURE_SPACE = 28 * mm
_BODY_SIZES = (14, 13)
_RED = Color(0.85, 0.07, 0.07)
_URGENCY = {
    Priority.URGENT: "KHẨN",
    Priority.VERY_URGENT: "THƯỢNG KHẨN",
    Priority.FLASH: "HỎA TỐC",
    Priority.FLASH_TIMED: "HỎA TỐC",
}
_STAMP_WIDTHS = {"THƯỢNG KHẨN": 40 * mm, "HỎA TỐC": 30 * mm, "TỐI MẬT": 30 * mm, "TUYỆT MẬT": 40 * mm}
_ARTICLE = re.compile(r"Điều \d+\.|")


@dataclass(frozen=True, kw_only=True, slots=True)
class RenderedLetter:
    """The files of one letter; ``attachments`` are in the letter's order."""

    main: Path
    attachments: tuple[Path, ...]


def render(letter: Letter, folder: Path, *, fonts: Fonts | None = None) -> RenderedLetter:
    """Write the letter and its attachments into ``folder``, under the names that its metadata gives.

    :raises ContentError: the fonts lack a letter that the text uses, something does not fit on a page,
        or a table has rows of different lengths
    :raises ConfigError: no usable fonts, or the folder cannot be written
    """
    press = press_for(fonts or find_fonts(), letter.key)
    main = _written(folder / letter.main_name, _main(letter, press))
    attachments = tuple(_written(folder / one.name, _attachment(one, letter, press)) for one in letter.attachments)
    return RenderedLetter(main=main, attachments=attachments)


def _written(path: Path, content: bytes) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    except OSError as problem:
        raise ConfigError("letters.not-written", where=str(path), reason=problem) from problem
    return path


# --- the main document --------------------------------------------------------------------------------------


def _main(letter: Letter, press: Press) -> bytes:
    """The letter in the larger body size that gives one page; a long letter keeps the largest."""
    author = issuer_of(letter).organization.name
    drafts = []
    for size in _BODY_SIZES:
        content, pages = press.print(partial(_story, letter, press, size), title=letter.subject, author=author)
        if pages == 1:
            return content
        drafts.append(content)
    return drafts[0]


def _story(letter: Letter, press: Press, size: int) -> Flowables:
    body = [_paragraph(text, press, size) for text in letter.body]
    # The signature never stands alone on a page.
    closing = KeepTogether([*body[-1:], Spacer(0, 10), _closing(letter, press)])
    return [_heading(letter, press), *_title(letter, press), *_salutation(letter, press, size), *body[:-1], closing]


def _heading(letter: Letter, press: Press) -> Table:
    """Agency, number and stamps on the left; national title, place and date on the right."""
    issuer = issuer_of(letter)
    agency = [press.line(issuer.superior, press.regular, 12)] if issuer.superior else []
    agency += [press.line(text, press.bold, 12) for text in issuer.printed]
    motto_width = press.width(_MOTTO, press.bold, 13)
    state = [press.line(NATIONAL_TITLE, press.bold, 12), press.line(_MOTTO, press.bold, 13), rule(motto_width)]
    number = [press.line(f"Số: {letter.code}", press.regular, 13)]
    if letter.type_name == "Công văn":
        number.append(press.line(letter.subject, press.regular, 12))
    dated = press.line(f"{issuer.place}, {_dated(letter.promulgated)}", press.italic, 13)
    return press.grid(
        [[[*agency, rule(22 * mm)], state], [number + _stamps(letter, press), dated]],
        [_LEFT_COLUMN, TEXT_WIDTH - _LEFT_COLUMN],
        ("ALIGN", *ALL_CELLS, "CENTER"),
        ("TOPPADDING", (0, 1), (-1, 1), 3),
    )


def _dated(day: date) -> str:
    """Days below 10 and the months 1 and 2 get a zero in front (Phụ lục I, II.4)."""
    month = f"{day.month:02}" if day.month < 3 else str(day.month)
    return f"ngày {day.day:02} tháng {month} năm {day.year}"


def _stamps(letter: Letter, press: Press) -> Flowables:
    """The marks of secrecy and urgency, red and framed, below the number (Phụ lục I, fields 10a and 10b)."""
    drawn: Flowables = []
    for word in filter(None, (letter.secrecy.upper(), _URGENCY.get(letter.priority))):
        cell = press.line(word, press.bold, 13, textColor=_RED)
        look = ("BOX", *ALL_CELLS, 1.2, _RED), ("VALIGN", *ALL_CELLS, "MIDDLE")
        drawn += [Spacer(0, 6), press.grid([[cell]], [_STAMP_WIDTHS.get(word, 20 * mm)], *look, heights=[8 * mm])]
    return drawn


def _title(letter: Letter, press: Press) -> Flowables:
    """Type and subject, centred; a công văn has its subject below its number instead."""
    if letter.type_name == "Công văn":
        return [Spacer(0, 16)]
    kind = press.line(letter.type_name.upper(), press.bold, 14)
    return [Spacer(0, 16), kind, press.balanced(letter.subject, press.bold, 14), rule(40 * mm), Spacer(0, 8)]


def _salutation(letter: Letter, press: Press, size: int) -> Flowables:
    """ "Kính gửi:" and one name on one line, or each name on a line of its own after a dash."""
    if not letter.salutation:
        return []
    lead = f"{letter.greeting}:"
    if len(letter.salutation) == 1:
        return [press.line(f"{lead} {letter.salutation[0]}", press.regular, size), Spacer(0, 8)]
    names = [
        press.line(name, press.regular, size, alignment=TA_LEFT, leftIndent=30 * mm)
        for name in _listed(letter.salutation)
    ]
    return [press.line(lead, press.regular, size), *names, Spacer(0, 8)]


def _paragraph(text: str, press: Press, size: int) -> Paragraph:
    mark, marked = text[:2], text[2:]
    if mark == "= ":
        return press.line(marked, press.bold, size, spaceBefore=4, spaceAfter=6)
    style: dict[str, Any] = {"alignment": TA_JUSTIFY, "firstLineIndent": 10 * mm, "spaceAfter": 6}
    if mark == "# ":
        return press.line(marked, press.bold, size, keepWithNext=True, **style)
    if mark == "> ":
        return press.line(marked, press.italic, size, **style)
    article = _ARTICLE.match(text)
    lead = article[0] if article else ""
    return press.line(text[len(lead) :], press.regular, size, lead=lead, **style)


def _closing(letter: Letter, press: Press) -> Table:
    """Recipients on the left, signature block on the right; the signature's image goes above the name."""
    left = [press.line("Nơi nhận:", press.bold_italic, 12, alignment=TA_LEFT)]
    hanging: dict[str, Any] = {"alignment": TA_LEFT, "leftIndent": 4, "firstLineIndent": -4}
    left += [press.line(place, press.regular, 11, **hanging) for place in _listed(letter.to_places)]
    signer = letter.signer
    right: Flowables = [press.line(text, press.bold, 13) for text in (signer.competence, signer.position) if text]
    right += [Spacer(0, _SIGNATURE_SPACE), press.line(signer.full_name, press.bold, 13)]
    return press.grid([[left, right]], [TEXT_WIDTH / 2, TEXT_WIDTH / 2])


def _listed(items: Sequence[str]) -> list[str]:
    return [f"- {item};" for item in items[:-1]] + [f"- {item}." for item in items[-1:]]


# --- attachments --------------------------------------------------------------------------------------------


def _attachment(attachment: Attachment, letter: Letter, press: Press) -> bytes:
    if attachment.kind == "csv":
        return _csv(attachment)
    if attachment.kind == "txt":
        return "\r\n".join([attachment.title, "", *attachment.lines, ""]).encode()
    author = issuer_of(letter).organization.name
    return press.print(partial(_annex, attachment, letter, press), title=attachment.title, author=author)[0]


def _csv(attachment: Attachment) -> bytes:
    """As spreadsheet programs want it: a byte order mark, and no comma between cells (it is the decimal sign)."""
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=";").writerows([attachment.columns, *attachment.rows])
    return text.getvalue().encode("utf-8-sig")


def _annex(attachment: Attachment, letter: Letter, press: Press) -> Flowables:
    """Title and table. The top right corner stays free for the agency's signature (Phụ lục I, II.8b)."""
    issuer = issuer_of(letter).organization.name
    source = f"(Kèm theo {letter.type_name} số {letter.code} {_dated(letter.promulgated)} của {issuer})"
    head: Flowables = [press.line("Phụ lục", press.bold, 14), press.balanced(attachment.title, press.bold, 14)]
    head += [press.balanced(source, press.italic, 13), rule(40 * mm)]
    return [Spacer(0, 14 * mm), *head, Spacer(0, 10), _table(attachment, press)]


def _table(attachment: Attachment, press: Press) -> Table:
    shares = attachment.widths or (1.0,) * len(attachment.columns)
    if {len(shares), *map(len, attachment.rows)} != {len(attachment.columns)}:
        raise ContentError("letters.ragged-table", where=press.where, name=attachment.name)
    widths = [TEXT_WIDTH * share / sum(shares) for share in shares]
    rows = [[press.line(text, press.bold, 12) for text in attachment.columns]]
    rows += [[press.line(text, press.regular, 12, alignment=TA_LEFT) for text in row] for row in attachment.rows]
    padding = [(f"{side}PADDING", *ALL_CELLS, 3) for side in ("LEFT", "RIGHT", "TOP", "BOTTOM")]
    return press.grid(rows, widths, ("GRID", *ALL_CELLS, 0.5, black), ("VALIGN", *ALL_CELLS, "MIDDLE"), *padding)
