"""The rules that hold a packet against the first page of its main PDF, and its number against its type.

ENV-14, SIG-18, SIG-19. Without a text layer that can be read the page testifies to nothing: no problem then means no
verdict, not a pass.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from datetime import date

from lienthong.edxml.codes import parse_moment
from lienthong.edxml.rules.judging import Breach, Case, breach, is_placeholder, value
from lienthong.edxml.rules.spoilt_text import Damage, Spoilt, spoilt
from lienthong.edxml.tables import agency_levels, find_type
from lienthong.edxml.tree import Element

_LEAST_LETTERS = 20
_MOST_UNREADABLE = 0.05
_PARTY = "A"
"""Level-1 codes of the Party's agencies (A53); its documents are numbered by its own rules, not by the decree."""
_LETTER = "Công văn"
# The second and the last are what the PDF library gives for a hyphen at the end of a line.
_DASHES = re.compile("[\u00ad\u0002\u2010-\u2015\u2212\ufe58\ufe63\uff0d\ufffe]")
_INVISIBLE = re.compile("[\u200b-\u200f\u2060\ufeff]")
_LEADERS = re.compile(r"[.·_]{2,}|…+")
# Letters of other alphabets that print like Đ and đ.
_ALIKE = str.maketrans("\u00d0\u0189\u00f0\u0256", "ĐĐđđ")

_PRINTED_CODE = re.compile(r"\bsố ?: ?(?P<number>\d*) ?[/-] ?(?P<notation>[\w&]+(?: ?[-/.] ?[\w&]+)*)", re.IGNORECASE)
_PRINTED_DATE = re.compile(r"ngày ?(?P<day>\d{1,2})? ?tháng ?(?P<month>\d{1,2})? ?năm ?(?P<year>\d{4})?", re.IGNORECASE)
_SHORT_DATE = re.compile(r"(?<!\d)(?P<day>\d{1,2})[/.-](?P<month>\d{1,2})[/.-](?P<year>\d{4})(?!\d)")
_NUMBER = re.compile(r"\d{1,9}", re.ASCII)
# A law or a decree has its year between number and abbreviation: 30/2020/NĐ-CP.
_YEAR = re.compile(r"\d{4}/", re.ASCII)
_NOTATION = re.compile(r"[^\W_]+(?:[&./][^\W_]+)*(?:-[^\W_]+(?:[&./][^\W_]+)*)*")


def counts_its_pages(case: Case) -> Iterator[Breach]:
    """ENV-14: PageAmount is the number of pages of the main PDF."""
    for element in case.each("OtherInfo/PageAmount"):
        if not element.text:
            continue
        if not _NUMBER.fullmatch(element.text):
            yield breach("no-number", element, value=element.text)
        elif case.judged.main_pdf is not None and int(element.text) != case.judged.main_pdf.pages:
            yield breach("differs", element, value=element.text, pages=case.judged.main_pdf.pages)


def says_what_its_page_says(case: Case) -> Iterator[Breach]:
    """SIG-18: number, notation and date of the packet stand on the first page of the main PDF.

    A number or a day that the page leaves blank, to be stamped in, is no difference.
    """
    page = _page(case)
    if case.document is None or not page:
        return
    for code in case.document.all("Code"):
        number, notation = value(code, "CodeNumber"), value(code, "CodeNotation")
        stated = bool(number and notation) and not (is_placeholder(number) or is_placeholder(notation))
        if stated and not _has_code(page, number, notation):
            yield _other_code(code, page, f"{number}/{notation}")
    for element in case.each("PromulgationInfo/PromulgationDate"):
        moment = parse_moment(element.text)
        if moment is not None and not is_placeholder(element.text) and not _has_date(page, moment.date()):
            dates = ", ".join(dict.fromkeys(found[0] for found in _PRINTED_DATE.finditer(page)))
            yield breach("other-date" if dates else "no-date", element, value=element.text, printed=dates)


def _page(case: Case) -> str:
    """The text of the first page in one line, with one kind of dash and no dotted lines; empty when it cannot be read.

    A scan has no text; fonts without a table of their letters, and those from before Unicode, give another text than
    the page shows.
    """
    text = case.judged.main_pdf.text if case.judged.main_pdf is not None else ""
    letters = sum(letter.isalpha() for letter in text)
    unreadable = sum(letter == "\N{REPLACEMENT CHARACTER}" or unicodedata.category(letter) == "Co" for letter in text)
    found = (spoilt(line) for line in text.splitlines())
    if letters < _LEAST_LETTERS or unreadable > _MOST_UNREADABLE * letters or any(map(_is_misread, found)):
        return ""
    return " ".join(_LEADERS.sub(" ", _plain(text)).split())


def _is_misread(found: Spoilt | None) -> bool:
    return found is not None and found.damage is not Damage.REPLACED


def _plain(text: str) -> str:
    return _DASHES.sub("-", _INVISIBLE.sub("", unicodedata.normalize("NFC", text))).translate(_ALIKE)


def _has_code(page: str, number: str, notation: str) -> bool:
    first, then = (_with_blanks(text) for text in (number.lstrip("0") or number, notation))
    whole = re.compile(rf"(?<!\d)0*{first} ?[/-] ?{then}(?!\w|-\w)", re.IGNORECASE)
    if whole.search(page):
        return True
    wanted = "".join(_plain(notation).split()).casefold()
    blank = (found for found in _PRINTED_CODE.finditer(page) if not found["number"])
    return any("".join(found["notation"].split()).casefold().startswith(wanted) for found in blank)


def _with_blanks(text: str) -> str:
    """A pattern for a text as it is printed: a line may break anywhere in it."""
    return " ?".join(map(re.escape, "".join(_plain(text).split())))


def _other_code(code: Element, page: str, wanted: str) -> Breach:
    found = _PRINTED_CODE.search(page)
    if found is None:
        return breach("no-code", code, value=wanted)
    return breach("other-code", code, value=wanted, printed=f"{found['number']}/{found['notation']}")


def _has_date(page: str, day: date) -> bool:
    wanted = {"day": day.day, "month": day.month, "year": day.year}
    printed = (found.groupdict() for pattern in (_PRINTED_DATE, _SHORT_DATE) for found in pattern.finditer(page))
    return any(all(text is None or int(text) == wanted[name] for name, text in found.items()) for found in printed)


def numbers_by_the_decree(case: Case) -> Iterator[Breach]:
    """SIG-19: number in digits, below 10 with a zero; notation Type-Agency, of a letter (công văn) Agency-Unit."""
    if case.document is None or _is_of_the_party(case.document):
        return
    for element in case.each("Code/CodeNumber"):
        if not element.text or is_placeholder(element.text):
            continue
        if not (element.text.isascii() and element.text.isdigit()):
            yield breach("number", element, value=element.text)
        elif len(element.text) == 1:
            yield breach("unpadded", element, value=element.text)
    for element in case.each("Code/CodeNotation"):
        if element.text and not is_placeholder(element.text):
            yield from _notation(element, value(case.document, "DocumentType/TypeName"))


def _is_of_the_party(document: Element) -> bool:
    levels = agency_levels(value(document, "From/OrganId"))
    return bool(levels) and levels[0].startswith(_PARTY)


def _notation(element: Element, type_name: str) -> Iterator[Breach]:
    notation = _YEAR.sub("", element.text, count=1)
    known = find_type(type_name)
    marks = {each.abbreviation for each in known.types} - {""}
    if not _NOTATION.fullmatch(notation):
        yield breach("form", element, value=element.text)
    elif "-" not in notation and any(each.name == _LETTER for each in known.types):
        yield breach("no-unit", element, value=element.text)
    elif marks and notation.partition("-")[0].casefold() not in {mark.casefold() for mark in marks}:
        name = known.types[0].name
        yield breach("other-mark", element, value=element.text, name=name, mark=", ".join(sorted(marks)))
