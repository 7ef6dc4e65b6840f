"""Letters of a fictional province: what the demo and the benchmarks send.

``letters()`` are the letters, ``as_document`` and ``as_metadata`` are their forms in the model and in an office's drop
folder, ``render`` makes their PDFs, ``blank_pdf`` makes PDFs of a wanted size.
"""

from lienthong.errors import ConfigError

try:
    from lienthong_conformance.letters.blank import blank_pdf
    from lienthong_conformance.letters.fonts import Fonts, available_fonts, find_fonts
    from lienthong_conformance.letters.letter import (
        Agency,
        Attachment,
        Letter,
        agencies,
        as_document,
        as_metadata,
        letter_of,
        letters,
    )
    from lienthong_conformance.letters.page import RenderedLetter, render
except ModuleNotFoundError as problem:
    raise ConfigError("letters.extra-missing", module=problem.name) from problem

__all__ = [
    "Agency",
    "Attachment",
    "Fonts",
    "Letter",
    "RenderedLetter",
    "agencies",
    "as_document",
    "as_metadata",
    "available_fonts",
    "blank_pdf",
    "find_fonts",
    "letter_of",
    "letters",
    "render",
]
