"""What the rules need to know about the main PDF of a packet: how many pages, and what the first one says.

A PDF is a stranger's program for a large native library, so it is read in a child process of its own.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from pathlib import Path

from lienthong.confined import ConfinedFailure, run_confined
from lienthong.edxml.reader import Packet
from lienthong.model import PartRole

_MEMORY_BYTES = 512 * 1024 * 1024
_SECONDS = 10.0
_MOST_LETTERS = 100_000


@dataclass(frozen=True, kw_only=True, slots=True)
class PdfFacts:
    """``text`` of the first page, NFC, lines apart; empty when the page is only a picture."""

    pages: int
    text: str


def pdf_facts(path: Path) -> PdfFacts | None:
    """Look into a PDF, with at most 512 MB and 10 s.

    None when it is no PDF, broken, locked by a password, or takes more than that: then nothing can be said about it.

    :raises ConfigError: this platform cannot limit a process
    """
    try:
        found = run_confined(f"{__name__}:look_inside", str(path), memory_bytes=_MEMORY_BYTES, seconds=_SECONDS)
    except ConfinedFailure:
        return None
    return PdfFacts(pages=found["pages"], text=found["text"]) if found else None


def main_pdf_facts(packet: Packet) -> PdfFacts | None:
    """``pdf_facts`` of a packet's main file; None also when it has none, or one that is damaged or no PDF."""
    mains = (file for file in packet.files if file.part.role is PartRole.MAIN and file.fault is None)
    main = next(mains, None)
    return pdf_facts(main.path) if main is not None and main.part.media_type == "application/pdf" else None


def look_inside(path: str) -> dict[str, object] | None:
    """The child's side of ``pdf_facts``."""
    # Imported here: only the child needs the library.
    import pypdfium2  # type: ignore[import-untyped]

    try:
        with pypdfium2.PdfDocument(path) as pdf:
            text = pdf[0].get_textpage().get_text_bounded() if len(pdf) else ""
            return {"pages": len(pdf), "text": unicodedata.normalize("NFC", text[:_MOST_LETTERS])}
    except (pypdfium2.PdfiumError, OSError):
        return None
