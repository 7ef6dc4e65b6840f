"""What a signature shows on the page, and where (Decree 30/2020 Appendix I).

- a person: the handwriting, blue, between title and name (II.7d);
- the agency on the main document: its seal, red, in its real size, over a third of the person's image, to the left
  (II.8a);
- the agency on an attachment in a file of its own, and on a copy (SAO Y, SAO LỤC, TRÍCH SAO): no image, but text in
  the top right corner of the first page, with the time of signing (II.8b, III.1d; Part II, I.3).

An ``Appearance`` says what is wanted, ``lay_out`` finds its place in one document. The place is found anew for every
document, so the same appearance serves all of an agency's letters.
"""

# parts of pyHanko have no type annotations:
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import shutil
import tempfile
import unicodedata
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from pyhanko.pdf_utils.form_tools import get_single_field_annot
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.sign.fields import SigFieldSpec
from pyhanko.sign.signers.cms_embedder import PdfCMSEmbedder, SigAppearanceSetup
from pyhanko.stamp import BaseStampStyle

from lienthong.errors import ContentError, SigningError
from lienthong.model import VIETNAM, Party
from lienthong.signing.pdf import document_errors, reader_of, seconds_for, within
from lienthong.signing.stamp.drawing import Drawing, Image, Lines, set_lines
from lienthong.signing.stamp.pages import Pages, Widget, read_pages
from lienthong.signing.stamp.pdfium import last_page_with, picture_of
from lienthong.signing.stamp.picture import load_picture
from lienthong.signing.stamp.placing import (
    POINTS_PER_MM,
    Anchor,
    Box,
    Field,
    Place,
    Sheet,
    Spot,
    above,
    between,
    last_of,
    nearest_above,
    over_the_left_of,
    page_index,
    top_right,
    whole_points,
    widest_text,
)
from lienthong.signing.stamp.typeface import find_typeface
from lienthong.signing.verification.parties import signed_parties

SEAL_MM = 36.0
"""A usual diameter of agencies' seals; it depends on the kind of agency, so it is to be measured and configured."""
_PERSON_MM = 40.0
_ROUNDING = 0.5
_PREVIEW_FIELD = "LienthongPreview"


class AppearanceKind(StrEnum):
    PERSON = "person"
    AGENCY = "agency"
    ATTACHMENT = "attachment"
    COPY = "copy"


class CopyForm(StrEnum):
    """The forms of copies (Decree 30/2020 Art. 25)."""

    WHOLE = "SAO Y"
    AGAIN = "SAO LỤC"
    EXTRACT = "TRÍCH SAO"


@dataclass(frozen=True, kw_only=True)
class Appearance:
    """What a signature is to show. It can be pickled, and used for many documents.

    ``image``: a transparent PNG, for a person and for the agency. ``seal_mm``: the real width of the seal.
    ``texts``: number and notation of the main document, for an attachment; form and the copying agency's name, for a
    copy. The time of signing is added. ``font``: a TrueType file for them; None looks for Times New Roman.
    ``place`` None: where the decree wants it. For a person and for the agency that is found by ``signer_name`` and
    ``signer_title``, as they are printed on the page; the agency needs neither when the person's signature is shown.
    """

    kind: AppearanceKind
    image: Path | None = None
    seal_mm: float = SEAL_MM
    texts: tuple[str, ...] = ()
    signer_name: str = ""
    signer_title: str = ""
    place: Place | None = None
    font: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Stamp:
    """A visible signature, laid out. ``page`` counts from 0; ``box`` is left, bottom, right, top in the page's points.

    With ``field_name`` the place is that of the empty signature field of this name, and ``box`` its rectangle.
    """

    page: int
    box: tuple[int, int, int, int]
    style: BaseStampStyle
    field_name: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Spread:
    """Content and its box as seen, on one page."""

    page: int
    sheet: Sheet
    box: Box
    content: Lines | Image
    field_name: str = ""


def lay_out(source: Path, appearance: Appearance, *, at: datetime) -> Stamp:
    """Find the place of a signature in a document, and draw what it shows. ``at`` is the time of signing.

    :raises ContentError: the place is not in the document or is too small, or the document cannot be read
    :raises SigningError: the image or the font cannot be used, or something that the appearance needs is missing
    :raises StoreError: the file cannot be read from disk
    :raises ConfigError: a text must be found, and this platform cannot limit a process
    """
    _require_complete(appearance)
    pages = read_pages(source)
    if isinstance(appearance.place, Field):
        spread = _in_field(source.name, pages, appearance, appearance.place, at)
    elif isinstance(appearance.place, Spot):
        spread = _at_spot(source.name, pages, appearance, appearance.place, at)
    elif appearance.kind in (AppearanceKind.PERSON, AppearanceKind.AGENCY):
        spread = _at_signature(source, pages, appearance)
    elif appearance.place is not None:
        spread = _above_anchor(source, pages, appearance, appearance.place, at)
    else:
        spread = _in_corner(pages, appearance, at)
    box = spread.sheet.kept_inside(spread.box)
    _require_room(source.name, spread.content, box)
    return Stamp(
        page=spread.page,
        box=whole_points(spread.sheet.on_page(box)),
        style=Drawing(content=spread.content, rotation=spread.sheet.rotation),
        field_name=spread.field_name,
    )


def preview(source: Path, appearance: Appearance, *, at: datetime, dpi: int = 100) -> bytes:
    """The page on which a signature would be shown, with it, as PNG. Nothing is signed; ``source`` stays as it is.

    :raises ContentError: as ``lay_out``; also when the page takes unreasonable memory or time to paint
    :raises SigningError: as ``lay_out``
    :raises StoreError: as ``lay_out``
    :raises ConfigError: as ``lay_out``, for any place
    """
    stamp = lay_out(source, appearance, at=at)
    with document_errors(source), tempfile.TemporaryDirectory(prefix="lienthong-") as folder:
        stamped = Path(folder) / source.name
        shutil.copyfile(source, stamped)
        within(seconds_for(source.stat().st_size), lambda: _show(stamped, stamp, at))
        return picture_of(stamped, stamp.page, dpi)


def colour_doubt(appearance: Appearance) -> SigningError | None:
    """Why the image may not be as the decree asks (a person's is blue, a seal is red); to be shown, not raised.

    :raises SigningError: the image cannot be used at all
    """
    if appearance.image is None:
        return None
    colour = load_picture(appearance.image).colour
    if appearance.kind is AppearanceKind.PERSON and colour != "blue":
        return SigningError("sign.image-not-blue", where=str(appearance.image))
    if appearance.kind is AppearanceKind.AGENCY and colour != "red":
        return SigningError("sign.image-not-red", where=str(appearance.image))
    return None


def _require_complete(appearance: Appearance) -> None:
    shows_image = appearance.kind in (AppearanceKind.PERSON, AppearanceKind.AGENCY)
    if shows_image and appearance.image is None:
        raise SigningError("sign.appearance-incomplete", kind=appearance.kind, missing="image")
    wanted = {AppearanceKind.ATTACHMENT: 1, AppearanceKind.COPY: 2}.get(appearance.kind, 0)
    if len([text for text in appearance.texts if text.strip()]) < wanted:
        raise SigningError("sign.appearance-incomplete", kind=appearance.kind, missing="texts")


def _require_room(name: str, content: Lines | Image, box: Box) -> None:
    if content.width > box.width + _ROUNDING or content.height > box.height + _ROUNDING:
        sizes = [f"{w / POINTS_PER_MM:.0f} x {h / POINTS_PER_MM:.0f}" for w, h in (_size(content), _size(box))]
        raise ContentError("sign.place-too-small", where=name, needed=sizes[0], found=sizes[1])


def _size(thing: Lines | Image | Box) -> tuple[float, float]:
    return thing.width, thing.height


# --- the four kinds, where the decree wants them --------------------------------------------------------------------


def _at_signature(source: Path, pages: Pages, appearance: Appearance) -> _Spread:
    """A person's image at title and name; the seal beside the person's image, or beside where that would stand."""
    picture = load_picture(_image_file(appearance))
    if appearance.kind is AppearanceKind.PERSON:
        page, box = _person_place(source, pages, appearance, picture.aspect)
        content = Image(picture=picture, width=box.width, height=box.height)
        return _Spread(page=page, sheet=pages.sheets[page], box=box, content=content)
    shown = None if appearance.place else _person_shown(source, pages)
    if shown is not None:
        page, person = shown.page, pages.sheets[shown.page].as_seen(shown.box)
    else:
        page, person = _person_place(source, pages, appearance, aspect=2.0)
    seal = _sealed(appearance, appearance.seal_mm)
    box = over_the_left_of(person, seal.width, seal.height)
    return _Spread(page=page, sheet=pages.sheets[page], box=box, content=seal)


def _person_shown(source: Path, pages: Pages) -> Widget | None:
    """Where the last person's signature is shown; the leader signs after those who initialled the draft."""
    filled = {widget.field_name: widget for widget in pages.widgets if widget.filled}
    if not filled:
        return None
    signed = [one.field_name for one in signed_parties(source) if one.party is not Party.ORGANIZATION]
    return next((filled[name] for name in reversed(signed) if name in filled), None)


def _person_place(source: Path, pages: Pages, appearance: Appearance, aspect: float) -> tuple[int, Box]:
    anchored = appearance.place.text if isinstance(appearance.place, Anchor) else ""
    name = anchored or appearance.signer_name
    if not name.strip():
        raise ContentError("sign.place-unknown", where=source.name)
    page, names, titles = _found(source, pages, name, appearance.signer_title)
    last = last_of(names)
    return page, between(nearest_above(titles, last), last, aspect)


def _in_corner(pages: Pages, appearance: Appearance, at: datetime) -> _Spread:
    sheet = pages.sheets[0]
    content = _text(appearance, at, widest_text(sheet))
    taken = [sheet.as_seen(widget.box) for widget in pages.widgets if widget.page == 0 and widget.filled]
    box = top_right(sheet, content.width, content.height, taken)
    return _Spread(page=0, sheet=sheet, box=box, content=content)


# --- places that somebody asked for ---------------------------------------------------------------------------------


def _above_anchor(source: Path, pages: Pages, appearance: Appearance, place: Anchor, at: datetime) -> _Spread:
    page, boxes, _ = _found(source, pages, place.text, "")
    sheet = pages.sheets[page]
    content = _text(appearance, at, widest_text(sheet))
    return _Spread(page=page, sheet=sheet, box=above(last_of(boxes), content.width, content.height), content=content)


def _in_field(name: str, pages: Pages, appearance: Appearance, place: Field, at: datetime) -> _Spread:
    widget = next((one for one in pages.widgets if one.field_name == place.name and not one.filled), None)
    if widget is None:
        raise ContentError("sign.field-missing", where=name, field=place.name)
    sheet = pages.sheets[widget.page]
    if not widget.turns:
        sheet = replace(sheet, rotation=0)
    box = sheet.as_seen(widget.box)
    content: Lines | Image
    if appearance.kind is AppearanceKind.PERSON:
        picture = load_picture(_image_file(appearance))
        width = min(box.width, box.height * picture.aspect)
        content = Image(picture=picture, width=width, height=width / picture.aspect)
    elif appearance.kind is AppearanceKind.AGENCY:
        content = _sealed(appearance, appearance.seal_mm)
    else:
        content = _text(appearance, at, box.width)
    return _Spread(page=widget.page, sheet=sheet, box=box, content=content, field_name=place.name)


def _at_spot(name: str, pages: Pages, appearance: Appearance, place: Spot, at: datetime) -> _Spread:
    page = page_index(place, len(pages.sheets), name)
    sheet = pages.sheets[page]
    content: Lines | Image
    if appearance.kind in (AppearanceKind.PERSON, AppearanceKind.AGENCY):
        usual = _PERSON_MM if appearance.kind is AppearanceKind.PERSON else appearance.seal_mm
        content = _sealed(appearance, place.width or usual)
    else:
        content = _text(appearance, at, place.width * POINTS_PER_MM or widest_text(sheet))
    left, bottom = place.x * POINTS_PER_MM, place.y * POINTS_PER_MM
    box = Box(left=left, bottom=bottom, right=left + content.width, top=bottom + content.height)
    return _Spread(page=page, sheet=sheet, box=box, content=content)


# --- what all of them need ------------------------------------------------------------------------------------------


def _found(source: Path, pages: Pages, text: str, other: str) -> tuple[int, list[Box], list[Box]]:
    """The page of ``text`` (``last_page_with``); the boxes there, as seen, of it and of the ``other`` text."""
    hits = last_page_with(source, text, other)
    if hits is None or hits.page >= len(pages.sheets):
        raise ContentError("sign.place-not-found", where=source.name, text=text)
    sheet = pages.sheets[hits.page]
    return hits.page, [sheet.as_seen(box) for box in hits.texts], [sheet.as_seen(box) for box in hits.beside]


def _image_file(appearance: Appearance) -> Path:
    assert appearance.image is not None, "a complete appearance of this kind has one"
    return appearance.image


def _sealed(appearance: Appearance, width_mm: float) -> Image:
    picture = load_picture(_image_file(appearance))
    width = width_mm * POINTS_PER_MM
    return Image(picture=picture, width=width, height=width / picture.aspect)


def _text(appearance: Appearance, at: datetime, widest: float) -> Lines:
    texts = [unicodedata.normalize("NFC", text) for text in appearance.texts]
    if appearance.kind is AppearanceKind.ATTACHMENT:
        texts[0] = f"Số: {texts[0]}"
    # Date, time to the second and the zone as ISO 8601 writes it (Appendix I, II.8b).
    signed = f"Thời gian ký: {at.astimezone(VIETNAM):%d/%m/%Y %H:%M:%S} +07:00"
    return set_lines((*texts, signed), find_typeface(appearance.font), widest)


def _show(path: Path, stamp: Stamp, at: datetime) -> None:
    """Add the signature's field with its appearance, but no signature, to the file itself."""
    with path.open("r+b") as stream:
        writer = IncrementalPdfFileWriter(stream, prev=reader_of(stream, path.name))
        name = stamp.field_name or _PREVIEW_FIELD
        spec = SigFieldSpec(sig_field_name=name, on_page=stamp.page, box=stamp.box)
        field = next(PdfCMSEmbedder(spec).write_cms(name, writer)).get_object()
        setup = SigAppearanceSetup(style=stamp.style, timestamp=at, name=None)
        setup.apply(get_single_field_annot(field), writer)
        writer.write_in_place()
