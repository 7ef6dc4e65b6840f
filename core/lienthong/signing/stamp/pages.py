"""The pages of a document and the signature fields on them, as signing sees them (pyHanko)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from pyhanko.pdf_utils.form_tools import get_single_field_annot
from pyhanko.pdf_utils.generic import Dereferenceable, DictionaryObject, IndirectObject
from pyhanko.pdf_utils.misc import FormFillingError
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.fields import enumerate_sig_fields

from lienthong.errors import ContentError
from lienthong.signing.pdf import document_errors, reader_of, seconds_for, within
from lienthong.signing.stamp.placing import Box, Sheet

_DEEPEST_TREE = 100
_NO_ROTATE = 1 << 4
_NOT_SHOWN = 1 << 1 | 1 << 5
"""Hidden, and not for the screen (ISO 32000-1, 12.5.3)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Widget:
    """Where a signature field is shown: page (from 0) and box on the page. ``turns``: it follows the page's rotation.

    ``filled``: it holds a signature.
    """

    field_name: str
    page: int
    box: Box
    filled: bool
    turns: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Pages:
    """All pages, and the signature fields that can be seen, in the form's order."""

    sheets: tuple[Sheet, ...]
    widgets: tuple[Widget, ...]


def read_pages(path: Path) -> Pages:
    """The pages of a PDF.

    :raises ContentError: it is not a PDF, is encrypted or damaged, has no page, or takes unreasonably long
    :raises SigningError: the file cannot be read from disk
    """
    with document_errors(path), path.open("rb") as stream:
        return within(seconds_for(path.stat().st_size), lambda: _read(stream, path.name))


def _read(stream: BinaryIO, name: str) -> Pages:
    reader = reader_of(stream, name)
    leaves = list(_leaves(reader.root["/Pages"], {}, 0))
    if not leaves:
        raise ContentError("sign.pdf-damaged", where=name, reason="no pages")
    widgets = _widgets(reader, [page for page, _ in leaves])
    return Pages(sheets=tuple(_sheet(inherited) for _, inherited in leaves), widgets=tuple(widgets))


def _leaves(
    node: DictionaryObject, inherited: dict[str, Any], depth: int
) -> Iterator[tuple[DictionaryObject, dict[str, Any]]]:
    """The pages with the attributes that they have or inherit (ISO 32000-1, 7.7.3.4)."""
    if depth > _DEEPEST_TREE:
        raise ValueError("the page tree is too deep")
    known = {**inherited, **{key: node[key] for key in ("/MediaBox", "/CropBox", "/Rotate") if key in node}}
    if "/Kids" not in node:
        yield node, known
        return
    for kid in node["/Kids"]:
        yield from _leaves(kid.get_object(), known, depth + 1)


def _sheet(attributes: dict[str, Any]) -> Sheet:
    media = _box(attributes["/MediaBox"])
    crop = _box(attributes.get("/CropBox", attributes["/MediaBox"]))
    seen = Box(
        left=max(media.left, crop.left),
        bottom=max(media.bottom, crop.bottom),
        right=min(media.right, crop.right),
        top=min(media.top, crop.top),
    )
    rotation = int(attributes.get("/Rotate", 0)) % 360
    return Sheet(crop=seen if seen.width > 0 and seen.height > 0 else media, rotation=rotation // 90 * 90)


def _widgets(reader: PdfFileReader, pages: list[DictionaryObject]) -> Iterator[Widget]:
    for name, value, field in enumerate_sig_fields(reader):
        try:
            shown = get_single_field_annot(field.get_object())
        except FormFillingError:
            continue  # no widget, or several: nothing says which one would show the signature
        page, flags = _page_of(shown, pages), int(shown.get("/F", 0))
        box = _box(shown["/Rect"]) if "/Rect" in shown else None
        if page is None or box is None or box.width < 1 or box.height < 1 or flags & _NOT_SHOWN:
            continue
        yield Widget(field_name=str(name), page=page, box=box, filled=bool(value), turns=not flags & _NO_ROTATE)


def _page_of(shown: DictionaryObject, pages: list[DictionaryObject]) -> int | None:
    """``/P`` is optional; without it the page is the one that lists the widget."""
    own = shown.raw_get("/P") if "/P" in shown else None
    for index, page in enumerate(pages):
        if isinstance(own, IndirectObject) and own.reference == page.container_ref:
            return index
    return next((index for index, page in enumerate(pages) if _lists(page, shown.container_ref)), None)


def _lists(page: DictionaryObject, widget: Dereferenceable | None) -> bool:
    entries = page.get("/Annots", ())
    return any(isinstance(entry, IndirectObject) and entry.reference == widget for entry in entries)


def _box(values: Any) -> Box:
    first, second, third, fourth = (float(value) for value in values)
    return Box(left=min(first, third), bottom=min(second, fourth), right=max(first, third), top=max(second, fourth))
