"""What callers may send. Unknown keys are refused by name: a misspelt key must never silently drop out.

A document's own metadata are ``lienthong.metadata``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from fastapi import Depends, Request
from pydantic import BaseModel, Field

from lienthong.metadata import AgencyCode, Strict
from lienthong.model import Staff
from lienthong.pipeline.adapter import Adapter


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


async def served_adapter(request: Request) -> Adapter:
    """The adapter that the app was built for."""
    adapter: Adapter = request.app.state.adapter
    return adapter


Served = Annotated[Adapter, Depends(served_adapter)]
