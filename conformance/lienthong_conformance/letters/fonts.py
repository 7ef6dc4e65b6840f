"""Which font the letters are printed in. Decree 30/2020, Phụ lục I asks for Times New Roman.

The order of search, first hit wins:

1. the folder that the environment variable ``LIENTHONG_FONTS`` names;
2. the font folders of the system (Linux, macOS, Windows);
3. the data folder of matplotlib, which carries DejaVu Serif.

In each of the three: Times New Roman, Liberation Serif and Tinos (both as wide as Times New Roman, letter by letter),
DejaVu Serif (wider: pages are then set smaller). A file that lacks a Vietnamese letter is passed over; Liberation Serif
before version 2 is such a one. A family needs its regular face; the nearest one stands in for a missing bold or italic.
"""

# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from reportlab.pdfbase.ttfonts import TTFontFile

from lienthong.errors import ConfigError

FONTS_VARIABLE = "LIENTHONG_FONTS"

_FAMILIES = (
    ("Times New Roman", ("timesnewroman", "times")),
    ("Liberation Serif", ("liberationserif",)),
    ("Tinos", ("tinos",)),
    ("DejaVu Serif", ("dejavuserif",)),
)
_REGULAR, _BOLD, _ITALIC, _BOLD_ITALIC = ("", "regular"), ("bold", "bd"), ("italic", "i"), ("bolditalic", "bi")
_LETTERS = "aàáảãạăằắẳẵặâầấẩẫậbcdđeèéẻẽẹêềếểễệghiìíỉĩịklmnoòóỏõọôồốổỗộơờớởỡợpqrstuùúủũụưừứửữựvxyỳýỷỹỵ"
_NEEDED = frozenset(_LETTERS + _LETTERS.upper() + "fjwzFJWZ0123456789.,;:/-–()“”<>%")


_Files = Mapping[str, list[Path]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Fonts:
    """The four faces of one family, as TrueType files. Two faces may be the same file."""

    family: str
    regular: Path
    bold: Path
    italic: Path
    bold_italic: Path


def find_fonts(places: Iterable[Iterable[Path]] | None = None) -> Fonts:
    """The first usable family. ``places`` replaces the three places of the module's text.

    :raises ConfigError: no family can print Vietnamese, DejaVu Serif included
    """
    searched = tuple(tuple(folders) for folders in (font_places() if places is None else places))
    for fonts in available_fonts(searched):
        return fonts
    named = ", ".join(str(folder) for folders in searched for folder in folders)
    raise ConfigError("letters.no-font", where=FONTS_VARIABLE, searched=named)


def available_fonts(places: Iterable[Iterable[Path]] | None = None) -> Iterator[Fonts]:
    """Every usable family, best first. A family that stands in two places comes twice."""
    for folders in font_places() if places is None else places:
        files = _font_files(folders)
        for family, stems in _FAMILIES:
            regular = _face(files, stems, _REGULAR)
            if regular:
                yield _family(family, files, stems, regular)


def font_places() -> tuple[tuple[Path, ...], ...]:
    """The three places of the module's text, in order; a place may hold several folders."""
    wanted = os.environ.get(FONTS_VARIABLE)
    return (Path(wanted),) if wanted else (), _system_folders(), _matplotlib_folders()


def _family(family: str, files: _Files, stems: tuple[str, ...], regular: Path) -> Fonts:
    bold = _face(files, stems, _BOLD) or regular
    italic = _face(files, stems, _ITALIC) or regular
    slanted = _face(files, stems, _BOLD_ITALIC) or (italic if bold is regular else bold)
    return Fonts(family=family, regular=regular, bold=bold, italic=italic, bold_italic=slanted)


def _face(files: _Files, stems: tuple[str, ...], endings: tuple[str, ...]) -> Path | None:
    named = (path for stem in stems for ending in endings for path in files.get(stem + ending, ()))
    return next((path for path in named if _prints_vietnamese(path)), None)


def _font_files(folders: Iterable[Path]) -> dict[str, list[Path]]:
    """TrueType files by their bare name: ``Times_New_Roman_Bold.ttf`` is ``timesnewromanbold``."""
    found: dict[str, list[Path]] = {}
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.suffix.lower() == ".ttf":
                found.setdefault("".join(filter(str.isalnum, path.stem.lower())), []).append(path)
    return found


@cache
def _prints_vietnamese(path: Path) -> bool:
    try:
        glyphs = TTFontFile(str(path)).charToGlyph
    except Exception:
        # The parser has no one error for a damaged file: struct.error, KeyError, IndexError and others come out of it.
        return False
    return all(glyphs.get(ord(letter)) for letter in _NEEDED)


def _system_folders() -> tuple[Path, ...]:
    home = Path.home()
    if sys.platform == "darwin":
        system = Path("/System/Library/Fonts/Supplemental")
        return (system, Path("/Library/Fonts"), home / "Library" / "Fonts")
    if sys.platform == "win32":
        own = home / "AppData" / "Local" / "Microsoft" / "Windows" / "Fonts"
        return (Path(os.environ.get("WINDIR", r"C:\Windows")) / "Fonts", own)
    own = home / ".local" / "share" / "fonts"
    return (Path("/usr/share/fonts"), Path("/usr/local/share/fonts"), own, home / ".fonts")


def _matplotlib_folders() -> tuple[Path, ...]:
    # Looked up, not imported: importing matplotlib takes a second and makes a cache folder.
    spec = find_spec("matplotlib")
    roots = (spec.submodule_search_locations if spec else None) or ()
    return tuple(Path(root) / "mpl-data" / "fonts" / "ttf" for root in roots)
