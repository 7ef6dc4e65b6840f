"""The font of signature texts: found, measured, cut down to the letters that are used, and put into a PDF.

Decree 30/2020 Appendix I asks for Times New Roman. Where it is not installed, Liberation Serif, which is as wide
letter by letter and is carried along, takes its place. The same text in the same font gives the same bytes.
"""

# parts of pyHanko have no type annotations:
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from pyhanko.pdf_utils.generic import (
    ArrayObject,
    DictionaryObject,
    IndirectObject,
    NameObject,
    NumberObject,
    PdfObject,
    StreamObject,
    pdf_name,
    pdf_string,
)
from pyhanko.pdf_utils.writer import BasePdfFileWriter

from lienthong.errors import SigningError

_CARRIED = Path(__file__).with_name("fonts") / "LiberationSerif-Regular.ttf"
_TIMES_NEW_ROMAN = (
    Path(r"C:\Windows\Fonts\times.ttf"),
    Path("/System/Library/Fonts/Supplemental/Times New Roman.ttf"),
    Path("/Library/Fonts/Times New Roman.ttf"),
    Path("/usr/share/fonts/truetype/msttcorefonts/Times_New_Roman.ttf"),
)
_LARGEST_FILE = 32 * 1024 * 1024
_PROGRAM_TABLES = frozenset({"head", "hhea", "maxp", "hmtx", "loca", "glyf", "cvt ", "fpgm", "prep"})
"""What a TrueType font embedded as CIDFontType2 needs (ISO 32000-1, 9.9)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Typeface:
    """A TrueType font. Measures are in thousandths of the font size."""

    file: Path
    name: str
    ascent: float
    descent: float
    cap_height: float
    bounds: tuple[int, ...]
    widths: dict[str, float] = field(repr=False)

    def width(self, text: str) -> float:
        """How long a line is.

        :raises SigningError: the font lacks a letter
        """
        missing = sorted({letter for letter in text if letter not in self.widths})
        if missing:
            raise SigningError("sign.font-lacks-letters", where=str(self.file), letters=" ".join(missing))
        return sum(self.widths[letter] for letter in text)


def find_typeface(configured: Path | None) -> Typeface:
    """The configured font, else Times New Roman if it is installed, else the one that is carried along.

    :raises SigningError: the file cannot be read or is not TrueType
    """
    file = configured or next((path for path in _TIMES_NEW_ROMAN if path.is_file()), _CARRIED)
    try:
        state = file.stat()
        if state.st_size > _LARGEST_FILE:
            raise SigningError("sign.font-unusable", where=str(file), reason=f"{state.st_size} bytes")
        return _typeface(file, state.st_mtime_ns)
    except OSError as problem:
        raise SigningError("sign.font-unusable", where=str(file), reason=problem.strerror) from problem


@lru_cache(maxsize=8)
def _typeface(file: Path, _changed: int) -> Typeface:
    with _opened(file) as font:
        head, lines, outlines = font["head"], font["hhea"], font["glyf"]
        scale = 1000 / head.unitsPerEm
        return Typeface(
            file=file,
            name="".join(filter(str.isalnum, font["name"].getDebugName(6) or file.stem)),
            ascent=lines.ascent * scale,
            descent=lines.descent * scale,
            cap_height=(getattr(font["OS/2"], "sCapHeight", 0) or lines.ascent) * scale,
            bounds=tuple(round(value * scale) for value in (head.xMin, head.yMin, head.xMax, head.yMax)),
            widths={
                chr(code): font["hmtx"][glyph][0] * scale
                for code, glyph in font.getBestCmap().items()
                if glyph in outlines
            },
        )


def add_font(writer: BasePdfFileWriter, face: Typeface, text: str) -> tuple[IndirectObject, dict[str, bytes]]:
    """Put the letters of ``text`` into the file that is being written: the font, and the code (hex) of each letter.

    The font is a composite one whose codes are its glyph numbers, with a map back to letters (ISO 32000-1, 9.7, 9.10).
    """
    program, glyphs = _cut(face, "".join(sorted(set(text))))
    # Six letters tell one subset from another (ISO 32000-1, 9.6.4).
    tag = "".join(chr(ord("A") + value % 26) for value in hashlib.sha256(program).digest()[:6])
    name = pdf_name(f"/{tag}+{face.name}")
    widths = (value for letter, glyph in glyphs.items() for value in (glyph, [round(face.widths[letter])]))
    descendant: dict[str, PdfObject] = {
        "/Type": pdf_name("/Font"),
        "/Subtype": pdf_name("/CIDFontType2"),
        "/BaseFont": name,
        "/CIDSystemInfo": _dictionary(
            {"/Registry": pdf_string("Adobe"), "/Ordering": pdf_string("Identity"), "/Supplement": NumberObject(0)}
        ),
        "/CIDToGIDMap": pdf_name("/Identity"),
        "/FontDescriptor": writer.add_object(_descriptor(writer, face, name, program)),
        "/W": _array(widths),
    }
    font: dict[str, PdfObject] = {
        "/Type": pdf_name("/Font"),
        "/Subtype": pdf_name("/Type0"),
        "/BaseFont": name,
        "/Encoding": pdf_name("/Identity-H"),
        "/DescendantFonts": ArrayObject([writer.add_object(_dictionary(descendant))]),
        "/ToUnicode": writer.add_object(_compressed(_to_unicode(glyphs), {})),
    }
    return writer.add_object(_dictionary(font)), {letter: b"%04x" % glyph for letter, glyph in glyphs.items()}


@lru_cache(maxsize=64)
def _cut(face: Typeface, letters: str) -> tuple[bytes, dict[str, int]]:
    """The font program with these letters only, and the glyph number of each."""
    from fontTools import subset  # type: ignore[import-untyped]

    options = subset.Options(layout_closure=False, hinting=False, notdef_outline=True, glyph_names=False)
    with _opened(face.file) as font:
        for table in set(font.keys()) - _PROGRAM_TABLES - {"cmap", "GlyphOrder"}:
            del font[table]
        names = {letter: font.getBestCmap()[ord(letter)] for letter in letters}
        cutter = subset.Subsetter(options=options)
        cutter.populate(unicodes=[ord(letter) for letter in letters])
        cutter.subset(font)
        glyphs = {letter: font.getGlyphID(name) for letter, name in names.items()}
        del font["cmap"]
        program = io.BytesIO()
        font.save(program)
    return program.getvalue(), dict(sorted(glyphs.items(), key=lambda item: item[1]))


@contextmanager
def _opened(file: Path) -> Iterator[Any]:
    # Imported here: only signatures that show text need the library, and it is a large one.
    from fontTools import ttLib

    try:
        # With a time of saving inside, no two runs would give the same bytes.
        with ttLib.TTFont(io.BytesIO(file.read_bytes()), recalcTimestamp=False, lazy=True) as font:
            yield font
    except OSError:
        raise
    except Exception as problem:
        # The parser has no one error for a damaged font: struct.error, KeyError and others come out of it.
        raise SigningError("sign.font-unusable", where=str(file), reason=repr(problem)[:200]) from problem


def _descriptor(writer: BasePdfFileWriter, face: Typeface, name: NameObject, program: bytes) -> DictionaryObject:
    serif_and_symbolic = 0b110
    return _dictionary(
        {
            "/Type": pdf_name("/FontDescriptor"),
            "/FontName": name,
            "/Flags": NumberObject(serif_and_symbolic),
            "/FontBBox": _array(face.bounds),
            "/ItalicAngle": NumberObject(0),
            "/Ascent": NumberObject(round(face.ascent)),
            "/Descent": NumberObject(round(face.descent)),
            "/CapHeight": NumberObject(round(face.cap_height)),
            "/StemV": NumberObject(80),
            "/FontFile2": writer.add_object(_compressed(program, {"/Length1": NumberObject(len(program))})),
        }
    )


def _to_unicode(glyphs: dict[str, int]) -> bytes:
    """The map from glyph numbers to letters, in the form that ISO 32000-1, 9.10.3 shows; at most 100 to a block."""
    entries = [f"<{glyph:04x}> <{letter.encode('utf-16-be').hex()}>" for letter, glyph in glyphs.items()]
    blocks = [entries[start : start + 100] for start in range(0, len(entries), 100)]
    lines = [
        "/CIDInit /ProcSet findresource begin 12 dict begin begincmap",
        "/CIDSystemInfo << /Registry (Adobe) /Ordering (UCS) /Supplement 0 >> def",
        "/CMapName /Adobe-Identity-UCS def /CMapType 2 def",
        "1 begincodespacerange <0000> <ffff> endcodespacerange",
        *(line for block in blocks for line in (f"{len(block)} beginbfchar", *block, "endbfchar")),
        "endcmap CMapName currentdict /CMap defineresource pop end end",
    ]
    return "\n".join(lines).encode("ascii")


def _compressed(data: bytes, entries: Mapping[str, PdfObject]) -> StreamObject:
    stream = StreamObject(_dictionary(entries), stream_data=data)
    stream.compress()
    return stream


def _dictionary(entries: Mapping[str, PdfObject]) -> DictionaryObject:
    return DictionaryObject({pdf_name(key): value for key, value in entries.items()})


def _array(values: Iterable[int | list[int]]) -> ArrayObject:
    return ArrayObject([_array(value) if isinstance(value, list) else NumberObject(value) for value in values])
