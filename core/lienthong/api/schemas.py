"""What callers may send. Unknown keys are refused by name: a misspelt key must never silently drop out of a document.

The names of a document's metadata are those of the drop folder's metadata file, so that an office can move from one to
the other without changing its words.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Annotated, Any, Literal

from fastapi import Depends, Request
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from lienthong.model import (
    Business,
    Change,
    Document,
    DocumentReference,
    Organization,
    Replacement,
    Signer,
    Staff,
    document_id,
)
from lienthong.pipeline.adapter import Adapter
from lienthong.views import PRIORITY_NAMES

_PRIORITIES = {name: priority for priority, name in PRIORITY_NAMES.items()}

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
    """The part ``metadata`` of an upload. ``main`` and ``attachments`` name the file parts by their file names."""

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


class StaffMetadata(Strict):
    """Who did it, for the other side's clerk."""

    name: str = ""
    department: str = ""
    mobile: str = ""
    email: str = ""

    def staff(self) -> Staff:
        return Staff(name=self.name, department=self.department, mobile=self.mobile, email=self.email)


class StatusRequest(Strict):
    """A business status of a received document. 13 is asked for through ``recall``."""

    code: Literal["01", "02", "03", "04", "05", "06", "15", "16"]
    description: str = ""
    staff: StaffMetadata = StaffMetadata()


class RecallRequest(Strict):
    """Take a sent document back: ask each recipient by status 13, or send a recall document (business kind 1)."""

    reason: str = Field(min_length=1)
    form: Literal["status", "document"] = Field(alias="as")
    to: tuple[AgencyCode, ...] | None = Field(None, description="default: every recipient of the document")


class LeaseRequest(Strict):
    """How many items to take from the inbox, and for how long."""

    max: int = Field(10, ge=1, le=100, strict=True)
    seconds: float = Field(300.0, gt=0, le=24 * 3600)
    agency: AgencyCode | None = Field(None, description="only what is for this agency")


class RenewRequest(Strict):
    """Keep a leased item for ``seconds`` from now on."""

    lease: str
    seconds: float = Field(300.0, gt=0, le=24 * 3600)


class AcknowledgeRequest(Strict):
    """The office has stored a leased item durably, under ``office_id``."""

    lease: str
    office_id: str = Field("", max_length=200)


class ErrorBody(Strict):
    """What went wrong. ``code`` is stable; ``where`` names a field, a key or a file."""

    code: str
    vi: str
    en: str
    where: str
    next_vi: str
    next_en: str


class ErrorAnswer(Strict):
    """Every answer that is an error. ``id`` names the document when it was stored as refused."""

    error: ErrorBody
    id: str = ""


def inline_schema(model: type[BaseModel]) -> dict[str, Any]:
    """A model's JSON schema without references, for a place in OpenAPI that its generator does not know."""
    schema = model.model_json_schema()
    found: dict[str, Any] = _inlined(schema, schema.get("$defs", {}))
    return found


def _inlined(node: Any, definitions: Mapping[str, Any]) -> Any:
    if isinstance(node, list):
        return [_inlined(each, definitions) for each in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        return _inlined(definitions[node["$ref"].rpartition("/")[2]], definitions)
    return {key: _inlined(value, definitions) for key, value in node.items() if key != "$defs"}


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
        priority=_PRIORITIES[values.priority],
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


async def served_adapter(request: Request) -> Adapter:
    """The adapter that the app was built for."""
    adapter: Adapter = request.app.state.adapter
    return adapter


Served = Annotated[Adapter, Depends(served_adapter)]
