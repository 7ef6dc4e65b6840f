"""What a signature shows on the page (Decree 30/2020 Appendix I)."""

from __future__ import annotations

from dataclasses import dataclass

from pyhanko.stamp import BaseStampStyle


@dataclass(frozen=True, kw_only=True)
class Stamp:
    """A visible signature, laid out. ``page`` counts from 0; ``box`` is left, bottom, right, top in the page's points.

    With ``field_name`` the place is that of the empty signature field of this name, and ``box`` its rectangle.
    """

    page: int
    box: tuple[int, int, int, int]
    style: BaseStampStyle
    field_name: str = ""
