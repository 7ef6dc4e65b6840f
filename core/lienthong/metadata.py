"""A document's metadata in the words that offices use: the drop folder's JSON file, the API's part ``metadata``.

One model for both, so that an office can move from one to the other without changing its words. Unknown keys are
refused by name: a misspelt key must never silently drop out of a document.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from lienthong.model import (
    Business,
    Change,
    Document,
    DocumentReference,
    Organization,
    Priority,
    Replacement,
    Signer,
    document_id,
)

PRIORITY_NAMES = {
    Priority.NORMAL: "thuong",
    Priority.URGENT: "khan",
    Priority.VERY_URGENT: "thuong-khan",
    Priority.FLASH: "hoa-toc",
    Priority.FLASH_TIMED: "hoa-toc-hen-gio",
}
PRIORITIES = {name: priority for priority, name in PRIORITY_NAMES.items()}

AgencyCode = Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z.]{1,35}$")]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SignerMetadata(Strict):
    """Who signed the document, as its last page says."""

    name: str = ""
    position: str = ""
    competence: str = Field("", description="TM., KT., TL., TUQ. ...")


class ReferenceMetadata(Strict):
    """A document that this one answers."""

    organ: AgencyCode
    code: str = Field("", description="number/notation")
    promulgated: date | None = Field(None, alias="date", description="date of issue")
    document_id: str = ""


class DocumentMetadata(Strict):
    """One document. ``main`` and ``attachments`` name the files that come with it."""

    sender: str = Field("", alias="from", description="agency code; may be left out when only one agency is served")
    to: tuple[AgencyCode, ...] = Field(description="agency codes of the recipients")
    number: str = Field(description="số")
    notation: str = Field(description="ký hiệu")
    promulgated: date = Field(alias="date", description="ngày ban hành, yyyy-MM-dd")
    type: str = Field("Công văn", description="loại văn bản")
    subject: str = Field(description="trích yếu")
    content: str = ""
    place: str = Field("", description="địa danh")
    signer: SignerMetadata = SignerMetadata()
    priority: Literal["thuong", "khan", "thuong-khan", "hoa-toc", "hoa-toc-hen-gio"] = "thuong"
    secrecy: str = Field("", description="mật, tối mật, tuyệt mật: such a document is refused and not kept")
    due: date | None = None
    pages: int | None = Field(None, ge=0)
    copies: int | None = Field(None, ge=0)
    paper: bool = Field(False, description="whether paper follows")
    sphere: str = Field("", description="lĩnh vực")
    appendixes: tuple[str, ...] = ()
    responds_to: tuple[ReferenceMetadata, ...] = ()
    to_places: tuple[str, ...] = Field((), description="nơi nhận, as printed")
    main: str = Field("", description="file name of the main file")
    attachments: tuple[str, ...] = Field((), description="file names of the attachments, in order")
    document_id: str = Field("", description="mã định danh; default: from,yyyy/MM/dd,number/notation")
    business: Literal["new", "recall", "update", "replace"] = "new"
    reason: str = Field("", description="why it is recalled, updated or replaced")
    concerns: str = Field("", description="document_id of the document that is recalled, updated or replaced")


def as_document(values: DocumentMetadata, sender: Organization) -> Document:
    """The document that the metadata describe; its parts are added as their bytes arrive."""
    own_id = document_id(sender.code, values.promulgated, f"{values.number}/{values.notation}")
    signer = values.signer
    return Document(
        sender=sender,
        recipients=tuple(Organization(code=code) for code in values.to),
        document_id=values.document_id or own_id,
        number=values.number,
        notation=values.notation,
        promulgated=values.promulgated,
        type_name=values.type,
        subject=values.subject,
        content=values.content,
        place=values.place,
        signer=Signer(full_name=signer.name, position=signer.position, competence=signer.competence),
        priority=PRIORITIES[values.priority],
        secrecy=values.secrecy,
        due=values.due,
        pages=values.pages,
        copies=values.copies,
        paper=values.paper,
        sphere=values.sphere,
        appendixes=values.appendixes,
        responds_to=tuple(_as_reference(each) for each in values.responds_to),
        to_places=values.to_places,
        change=_as_change(values),
    )


def _as_change(values: DocumentMetadata) -> Change:
    kind = Business[values.business.upper()]
    replacement = Replacement(document_id=values.concerns, organs=values.to)
    return Change(
        kind=kind,
        reason=values.reason,
        document_id=values.concerns if kind in (Business.RECALL, Business.UPDATE) else "",
        content_changed=kind is Business.UPDATE,
        replaces=(replacement,) if kind is Business.REPLACE and values.concerns else (),
    )


def _as_reference(values: ReferenceMetadata) -> DocumentReference:
    return DocumentReference(
        organ=values.organ, code=values.code, promulgated=values.promulgated, document_id=values.document_id
    )
