"""What PDFium sees in a document: where a text stands, and what a page looks like.

A PDF is a stranger's program for a large native library, so it is read in a child process of its own.
"""

from __future__ import annotations

import base64
import io
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lienthong.confined import run_confined
from lienthong.errors import ContentError
from lienthong.signing.stamp.placing import Box

_MEMORY_BYTES = 768 * 1024 * 1024
_SECONDS = 15.0
_MOST_LETTERS = 200_000
_MOST_HITS = 100
_MOST_PIXELS = 12_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Hits:
    """Where two texts stand on one page. ``page`` counts from 0; boxes are on the page."""

    page: int
    texts: tuple[Box, ...]
    beside: tuple[Box, ...]


def last_page_with(path: Path, text: str, beside: str = "") -> Hits | None:
    """The last page that has ``text`` and ``beside``, else the last that has ``text``; None if no page has it.

    An annex in the same file may name the signer again, but hardly with the title. Case, blanks, line breaks and the
    way in which letters are composed make no difference; words are whole.

    :raises ContentError: the file cannot be read, or takes unreasonable memory or time (a ``ConfinedFailure``)
    :raises ConfigError: this platform cannot limit a process
    """
    found = _confined("search", str(path), _plain(text), _plain(beside))
    if found is None:
        return None
    texts, others = (tuple(_box(values) for values in places) for places in found["places"])
    return Hits(page=int(found["page"]), texts=texts, beside=others)


def picture_of(path: Path, page: int, dpi: int) -> bytes:
    """One page (from 0) as PNG, annotations included. A huge page gets fewer dots per inch than asked for.

    :raises ContentError: as ``last_page_with``
    :raises ConfigError: as ``last_page_with``
    """
    return base64.b64decode(_confined("paint", str(path), page, dpi))


def _confined(function: str, *arguments: object) -> Any:
    return run_confined(f"{__name__}:{function}", *arguments, memory_bytes=_MEMORY_BYTES, seconds=_SECONDS)


def _box(values: Sequence[float]) -> Box:
    left, bottom, right, top = map(float, values)
    return Box(left=left, bottom=bottom, right=right, top=top)


def _plain(text: str) -> str:
    return "".join(letters for letters, _, _ in _clusters(text))


def _clusters(text: str) -> Iterator[tuple[str, int, int]]:
    """Letters with their marks, composed and without case; each with its start and end in ``text``. No blanks."""
    start = 0
    while start < len(text):
        end = start + 1
        while end < len(text) and unicodedata.combining(text[end]):
            end += 1
        if not _is_blank(text[start]):
            yield unicodedata.normalize("NFC", text[start:end]).casefold(), start, end
        start = end


def _is_blank(letter: str) -> bool:
    """Blanks, and what PDFium puts where a line ended within a word."""
    return letter.isspace() or unicodedata.category(letter) in ("Cc", "Cf", "Cn")


# --- the child's side -----------------------------------------------------------------------------------------------


def search(path: str, text: str, beside: str) -> dict[str, object] | None:
    """The child's side of ``last_page_with``."""
    second_best = None
    with _opened(path) as pdf:
        for index in range(len(pdf) - 1, -1, -1):
            page = pdf[index]
            letters = page.get_textpage()
            places = _places(letters, [text, beside])
            found = {"page": index, "places": places} if places[0] else None
            if found and (places[1] or not beside):
                return found
            second_best = second_best or found
            letters.close()
            page.close()
    return second_best


def paint(path: str, page: int, dpi: int) -> str:
    """The child's side of ``picture_of``: PNG in base64."""
    with _opened(path) as pdf:
        pdf.init_forms()
        width, height = pdf[page].get_size()
        scale = min(dpi / 72, (_MOST_PIXELS / max(1.0, width * height)) ** 0.5)
        content = io.BytesIO()
        pdf[page].render(scale=scale).to_pil().save(content, "PNG")
    return base64.b64encode(content.getvalue()).decode("ascii")


@contextmanager
def _opened(path: str) -> Iterator[Any]:
    # Imported here: only the child needs the library.
    import pypdfium2  # type: ignore[import-untyped]

    try:
        with pypdfium2.PdfDocument(path) as pdf:
            yield pdf
    except (pypdfium2.PdfiumError, OSError) as problem:
        raise ContentError("sign.pdf-damaged", where=Path(path).name, reason=problem) from problem


def _places(letters: Any, texts: list[str]) -> list[list[tuple[float, ...]]]:
    from pypdfium2.raw import FPDFText_GetUnicode  # type: ignore[import-untyped]

    count = min(letters.count_chars(), _MOST_LETTERS)
    text = "".join(chr(FPDFText_GetUnicode(letters, index)) for index in range(count))
    clusters = [(letter, start, end) for whole, start, end in _clusters(text) for letter in whole]
    plain = "".join(letter for letter, _, _ in clusters)
    places = []
    for wanted in texts:
        spans = ((clusters[at][1], clusters[at + len(wanted) - 1][2]) for at in _occurrences(plain, wanted))
        whole = [span for span in spans if _is_whole(text, *span)]
        places.append([_around(letters, text, *span) for span in whole[-_MOST_HITS:]])
    return places


def _occurrences(plain: str, wanted: str) -> Iterator[int]:
    at = plain.find(wanted) if wanted else -1
    while at >= 0:
        yield at
        at = plain.find(wanted, at + 1)


def _is_whole(text: str, start: int, end: int) -> bool:
    """Whether no word goes on before or after: An is not in Lan."""
    return not text[start - 1 : start].isalnum() and not text[end : end + 1].isalnum()


def _around(letters: Any, text: str, start: int, end: int) -> tuple[float, ...]:
    visible = [index for index in range(start, end) if not _is_blank(text[index])]
    left, bottom, right, top = zip(*(letters.get_charbox(index, loose=True) for index in visible), strict=True)
    return min(left), min(bottom), max(right), max(top)
