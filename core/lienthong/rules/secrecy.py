"""State secrets have no place in this channel, in either direction (Decision 28 Art. 1.2)."""

from __future__ import annotations

import re
import unicodedata

from lienthong.model import Document

_MARK = re.compile(r"[(\[]\s*(tuyệt mật|tối mật|mật)\s*[)\]]", re.IGNORECASE)


def bears_mark(document: Document) -> bool:
    """Whether the office says so, or the subject bears a mark in brackets; packets have no element for it."""
    return bool(document.secrecy.strip() or _MARK.search(unicodedata.normalize("NFKC", document.subject)))
