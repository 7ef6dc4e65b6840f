"""What the agency's signature shows on each file of a document (Decree 30/2020 Appendix I). Nothing here acts."""

from __future__ import annotations

import unicodedata

from lienthong.config import AgencySettings, Config
from lienthong.model import Document, Part, PartRole
from lienthong.signing.stamp.appearance import Appearance, AppearanceKind, CopyForm


def appearance_of(part: Part, document: Document, agency: AgencySettings, config: Config) -> Appearance | None:
    """None: the signature is invisible. An annex inside the main file has no signature of its own (II.8b).

    A copy never shows the seal: where copies are not shown, the signature of one is invisible.
    """
    shown, form = agency.appearance, copy_form(document.type_name)
    font = config.path(shown.font) if shown.font else None
    if part.role is PartRole.ATTACHMENT:
        number = Appearance(kind=AppearanceKind.ATTACHMENT, texts=(document.code,), font=font)
        return number if shown.attachments else None
    if form is not None:
        copied = Appearance(kind=AppearanceKind.COPY, texts=(form.value, agency.name), font=font)
        return copied if shown.copies else None
    if not shown.main or shown.seal is None:
        return None
    return Appearance(
        kind=AppearanceKind.AGENCY,
        image=config.path(shown.seal),
        seal_mm=shown.seal_mm,
        signer_name=document.signer.full_name,
        signer_title=document.signer.position,
    )


def copy_form(type_name: str) -> CopyForm | None:
    """The form of copy that a document's type names (``Bản sao y``, ``Sao lục``, ``TRÍCH SAO``); None for none."""
    words = f" {' '.join(unicodedata.normalize('NFC', type_name).upper().split())} "
    return next((form for form in CopyForm if f" {form.value} " in words), None)
