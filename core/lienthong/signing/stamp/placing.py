"""Where a signature stands on the page: geometry after Decree 30/2020 Appendix I, and the words for other places.

Two systems of coordinates, both in points with the origin below left. *On the page*: the PDF's user space, in which
annotations are written. *As seen*: the page as a reader shows it, cut to its crop box and turned by ``/Rotate``. All
deciding happens as seen.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from lienthong.errors import ConfigError, ContentError

POINTS_PER_MM = 72 / 25.4
_COVERED = 1 / 3
"""How much of the person's image the seal covers (Decree 30/2020 Appendix I, II.8a)."""
_PERSON_HEIGHTS = (12 * POINTS_PER_MM, 25 * POINTS_PER_MM)
_PERSON_WIDEST = 55 * POINTS_PER_MM
_PERSON_GAP = 26 * POINTS_PER_MM
"""What a letter usually leaves between title and name; taken when the title is not on the page."""
_AIR = 1 * POINTS_PER_MM
_CORNER_RIGHT = 15 * POINTS_PER_MM
"""The narrowest right margin that Appendix I allows."""
_CORNER_TOP = 7 * POINTS_PER_MM
"""The text stays in the upper margin (20-25 mm), above what a scanned document has there."""
_CORNER_WIDEST = 90 * POINTS_PER_MM


@dataclass(frozen=True, kw_only=True, slots=True)
class Box:
    left: float
    bottom: float
    right: float
    top: float

    @property
    def width(self) -> float:
        return self.right - self.left

    @property
    def height(self) -> float:
        return self.top - self.bottom

    @property
    def centre(self) -> tuple[float, float]:
        return (self.left + self.right) / 2, (self.bottom + self.top) / 2

    def overlaps(self, other: Box) -> bool:
        across = self.left < other.right and other.left < self.right
        return across and self.bottom < other.top and other.bottom < self.top


def centred(x: float, y: float, width: float, height: float) -> Box:
    return Box(left=x - width / 2, bottom=y - height / 2, right=x + width / 2, top=y + height / 2)


@dataclass(frozen=True, kw_only=True, slots=True)
class Sheet:
    """A page: its crop box on the page, and the clockwise turn by which it is shown (0, 90, 180 or 270)."""

    crop: Box
    rotation: int = 0

    @property
    def size(self) -> tuple[float, float]:
        """Width and height as seen."""
        upright = self.crop.width, self.crop.height
        return upright if self.rotation % 180 == 0 else upright[::-1]

    def as_seen(self, box: Box) -> Box:
        corners = [self._point_as_seen(x - self.crop.left, y - self.crop.bottom) for x, y in _corners(box)]
        return _around(corners)

    def on_page(self, box: Box) -> Box:
        corners = [self._point_on_page(x, y) for x, y in _corners(box)]
        return _around([(x + self.crop.left, y + self.crop.bottom) for x, y in corners])

    def kept_inside(self, box: Box) -> Box:
        """A box as seen, moved onto the page; cut where it is larger than the page."""
        width, height = self.size
        left = max(0.0, min(box.left, width - box.width))
        bottom = max(0.0, min(box.bottom, height - box.height))
        return Box(left=left, bottom=bottom, right=min(width, left + box.width), top=min(height, bottom + box.height))

    def _point_as_seen(self, x: float, y: float) -> tuple[float, float]:
        turned = {
            0: (x, y),
            90: (y, self.crop.width - x),
            180: (self.crop.width - x, self.crop.height - y),
            270: (self.crop.height - y, x),
        }
        return turned[self.rotation]

    def _point_on_page(self, x: float, y: float) -> tuple[float, float]:
        turned = {
            0: (x, y),
            90: (self.crop.width - y, x),
            180: (self.crop.width - x, self.crop.height - y),
            270: (y, self.crop.height - x),
        }
        return turned[self.rotation]


def _corners(box: Box) -> tuple[tuple[float, float], tuple[float, float]]:
    return (box.left, box.bottom), (box.right, box.top)


def _around(points: Sequence[tuple[float, float]]) -> Box:
    across, up = [x for x, _ in points], [y for _, y in points]
    return Box(left=min(across), bottom=min(up), right=max(across), top=max(up))


def whole_points(box: Box) -> tuple[int, int, int, int]:
    """The smallest box of whole points around ``box``: left, bottom, right, top."""
    # A hair of rounding must not add a point.
    low, high = (math.floor(box.left + 1e-6), math.floor(box.bottom + 1e-6)), (box.right - 1e-6, box.top - 1e-6)
    return *low, math.ceil(high[0]), math.ceil(high[1])


# --- places that somebody asks for ----------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Anchor:
    """Above the last occurrence of a text, as a signature stands above its signer's name."""

    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Field:
    """The empty signature field of this full name; what is shown fills its rectangle."""

    name: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Spot:
    """The lower left corner in millimetres from the left and the lower edge of the page as seen.

    ``page`` counts from 1; a negative one counts from the end (-1 is the last). ``width`` in millimetres; 0: as wide
    as the kind of signature asks.
    """

    page: int
    x: float
    y: float
    width: float = 0.0


Place = Anchor | Field | Spot
_SPOT_KEYS = frozenset({"page", "x", "y", "width"})
_NUMBER = re.compile(r"-?[0-9]{1,4}(\.[0-9]{1,3})?")


def parse_place(text: str) -> Place:
    """Read ``anchor:TEXT``, ``field:NAME`` or ``page=1,x=120,y=40,width=50`` (millimetres; page may be ``last``).

    :raises ConfigError: it is none of these
    """
    kind, colon, rest = text.partition(":")
    rest = " ".join(rest.split())
    if colon and rest and kind.strip() == "anchor":
        return Anchor(text=rest)
    if colon and rest and kind.strip() == "field":
        return Field(name=rest)
    pairs = [part.partition("=") for part in text.split(",")]
    values = {name.strip(): value.strip() for name, _, value in pairs}
    if values.get("page") == "last":
        values["page"] = "-1"
    complete = len(values) == len(pairs) and {"page", "x", "y"} <= values.keys() <= _SPOT_KEYS
    if not complete or not all(_NUMBER.fullmatch(value) for value in values.values()):
        raise ConfigError("sign.place-unclear", given=text)
    numbers = {name: float(value) for name, value in values.items()}
    page, width = numbers["page"], numbers.get("width", 0.0)
    if page != int(page) or page == 0 or width < 0 or ("width" in numbers and width == 0):
        raise ConfigError("sign.place-unclear", given=text)
    return Spot(page=int(page), x=numbers["x"], y=numbers["y"], width=width)


def page_index(spot: Spot, pages: int, where: str) -> int:
    """The page of a spot, counted from 0.

    :raises ContentError: the document ``where``, of so many pages, has no such page
    """
    index = spot.page - 1 if spot.page > 0 else pages + spot.page
    if not 0 <= index < pages:
        raise ContentError("sign.page-missing", where=where, page=spot.page, pages=pages)
    return index


# --- places that the decree gives: boxes as seen --------------------------------------------------------------------


def between(title: Box | None, name: Box, aspect: float) -> Box:
    """A person's image: centred between title and name (Appendix I, II.7d). ``aspect``: width by height.

    Without a title it stands where letters usually leave room for it: right above the name.
    """
    gap = title.bottom - name.top if title else _PERSON_GAP
    least, most = _PERSON_HEIGHTS
    height = min(max(least, gap - 2 * _AIR), most, _PERSON_WIDEST / aspect)
    return centred(name.centre[0], name.top + gap / 2, height * aspect, height)


def nearest_above(boxes: Sequence[Box], name: Box) -> Box | None:
    """Of the places where a title stands, the one that belongs to the name: next above it."""
    above = [box for box in boxes if box.bottom > name.top and box.left < name.right and name.left < box.right]
    return min(above, key=lambda box: box.bottom, default=None)


def last_of(boxes: Sequence[Box]) -> Box:
    """The lowest box, and the rightmost of those at one height: signatures stand at the end."""
    return min(boxes, key=lambda box: (round(box.bottom), -box.left))


def over_the_left_of(person: Box, width: float, height: float) -> Box:
    """A seal of this size: over a third of the person's image, on its left (Appendix I, II.8a)."""
    right = person.left + person.width * _COVERED
    return centred(right - width / 2, person.centre[1], width, height)


def above(text: Box, width: float, height: float) -> Box:
    """A box of this size, centred right above a text."""
    return centred(text.centre[0], text.top + _AIR + height / 2, width, height)


def top_right(sheet: Sheet, width: float, height: float, taken: Sequence[Box]) -> Box:
    """The corner for text (Appendix I, II.8b and III.1d), below the signatures that are there already."""
    seen_width, seen_height = sheet.size
    right, top = seen_width - _CORNER_RIGHT, seen_height - _CORNER_TOP
    box = Box(left=right - width, bottom=top - height, right=right, top=top)
    for other in sorted(taken, key=lambda one: -one.top):
        if box.overlaps(other):
            box = replace(box, top=other.bottom - _AIR, bottom=other.bottom - _AIR - height)
    return box


def widest_text(sheet: Sheet) -> float:
    """How long a line in the top right corner may get."""
    return min(_CORNER_WIDEST, sheet.size[0] - 2 * _CORNER_RIGHT)
