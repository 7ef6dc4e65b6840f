"""The keys of a mapping file as models: what one office's REST interface can be told to be.

The README holds the table of all keys; a test compares it with these models.
"""

from __future__ import annotations

from dataclasses import MISSING, fields, is_dataclass
from math import isfinite
from typing import Annotated, Any, Literal, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    create_model,
    model_validator,
)
from pydantic_core import PydanticCustomError

from lienthong import Document, Organization, StatusReport
from lienthong_generic_rest.expressions import Expression
from lienthong_generic_rest.templates import fields_of, nearest, strings

_STRICT = ConfigDict(extra="forbid", strict=True, frozen=True, arbitrary_types_allowed=True)


def _known_table(name: str, info: ValidationInfo) -> str:
    known = sorted((info.context or {}).get("tables", {}))
    if name not in known:
        raise PydanticCustomError("table", "no such table", {"table": name, "nearest": nearest(name, known)})
    return name


def _json_value(value: object) -> object:
    for entry in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _json_value(entry)
    if isinstance(value, str | bool | int | dict | list) or (isinstance(value, float) and isfinite(value)):
        return value
    raise PydanticCustomError("json_type", "not expressible in JSON")


def _scalar(value: object) -> object:
    if isinstance(value, str | bool | int):
        return value
    raise PydanticCustomError("scalar_type", "not a scalar")


Template = Annotated[Any, AfterValidator(_json_value)]
"""A JSON value whose strings may hold placeholders."""
Scalar = Annotated[Any, AfterValidator(_scalar)]
TableName = Annotated[str, AfterValidator(_known_table)]
HeaderName = Annotated[str, Field(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")]
Headers = dict[HeaderName, str]


def _plain_path(path: str) -> str:
    if not path.startswith("/") or "?" in path or "#" in path:
        raise PydanticCustomError("path", "not a path", {"path": path})
    return path


def _need(holds: bool, kind: Literal["choose", "clash", "needs"], keys: str) -> None:
    if not holds:
        raise PydanticCustomError(kind, "keys that do not go together", {"keys": keys})


class Answer(BaseModel):
    """How the office says yes and no. Each is asked of the answer's JSON; without any, HTTP 2xx is success."""

    model_config = _STRICT

    success: Expression | None = Field(None, description="truthy when the call did its work")
    duplicate: Expression | None = Field(None, description="truthy when it was done before: counts as success")
    duplicate_http: list[int] = Field([], description="HTTP statuses outside 2xx that say the same")
    unauthorized: Expression | None = Field(None, description="truthy when the token has ended: log in once more")
    busy: Expression | None = Field(None, description="truthy when nothing was done and a later try may succeed")
    error_code: Expression | None = Field(None, description="the office's error code")
    error_text: Expression | None = Field(None, description="the office's error text")


class Call(BaseModel):
    """One request."""

    model_config = _STRICT

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = Field("GET", description="the HTTP method")
    path: Annotated[str, AfterValidator(_plain_path)] = Field(description="what follows base_url; no secrets here")
    query: dict[str, str] = Field({}, description="query parameters")
    headers: Headers = Field({}, description="headers beside those of [auth]")
    body: Template = Field(None, description="JSON body")
    form: dict[str, Template] | None = Field(None, description="url-encoded body; a table as value becomes JSON text")
    multipart: dict[str, Template] | None = Field(None, description="fields of a multipart body, like form")
    answer: Answer | None = Field(None, description="replaces [answer] as a whole for this call")

    @model_validator(mode="after")
    def _one_body(self) -> Call:
        given = [self.body, self.form, self.multipart]
        _need(given.count(None) >= 2, "clash", "body, form, multipart")
        return self


class NoAuth(BaseModel):
    """Nothing is added to calls."""

    model_config = _STRICT

    kind: Literal["none"] = Field(description="how calls prove who we are")


class HeaderAuth(BaseModel):
    """Fixed headers or query parameters, usually from secrets."""

    model_config = _STRICT

    kind: Literal["header"] = Field(description="how calls prove who we are")
    headers: Headers = Field({}, description="headers of every call")
    query: dict[str, str] = Field({}, description="query parameters of every call")


class BasicAuth(BaseModel):
    """HTTP Basic (RFC 7617), UTF-8."""

    model_config = _STRICT

    kind: Literal["basic"] = Field(description="how calls prove who we are")
    user: str = Field(description="user name")
    password: str = Field(description="a {secret.NAME}; a password written out is refused")


class LoginAuth(BaseModel):
    """A call that gives a token; done again when the token's life is over or an answer says unauthorized."""

    model_config = _STRICT

    kind: Literal["login"] = Field(description="how calls prove who we are")
    call: Call = Field(description="the login call; repeating it must do no harm")
    token: Expression = Field(description="the token in the login's answer")
    headers: Headers = Field({}, description="headers of every other call, with {token}")
    query: dict[str, str] = Field({}, description="query parameters of every other call, with {token}")
    lifetime_seconds: int = Field(1800, gt=0, description="for how long a token is used")


Auth = Annotated[NoAuth | HeaderAuth | BasicAuth | LoginAuth, Field(discriminator="kind")]


class Paging(BaseModel):
    """How a list is read in pages. A page without items is the last one, and so is one where ``more`` is falsy."""

    model_config = _STRICT

    kind: Literal["none", "page", "offset", "cursor"] = Field(
        "none", description="what moves: {page}, {offset} or {cursor}"
    )
    size: int = Field(50, gt=0, description="items to ask for, as {size}")
    first: int = Field(1, ge=0, description="the first page's number")
    start: str = Field("", description="the first cursor")
    next: Expression | None = Field(None, description="the next cursor in the answer; null or unchanged ends the list")
    more: Expression | None = Field(None, description="truthy when another page follows")
    resume: bool = Field(False, description="go on at the last cursor next time, not at the start")
    max_pages: int = Field(1000, gt=0, description="pages of one round; guards against an office that ignores paging")
    window_days: int = Field(30, gt=0, description="how many days {since} lies back")

    @model_validator(mode="after")
    def _cursor_has_next(self) -> Paging:
        _need(self.kind != "cursor" or self.next is not None, "needs", "next")
        _need(self.kind == "cursor" or not self.resume, "needs", 'kind = "cursor"')
        return self


class Rule(BaseModel):
    """Where one field comes from. A text alone means ``from``."""

    model_config = _STRICT

    source: Expression = Field(alias="from", description="the value in the item")
    format: str | None = Field(None, description="date format (strptime), or epoch-ms; default ISO 8601")
    table: TableName | None = Field(None, description="a table of [tables]; a value not in it is a mistake")
    take: Literal["number", "notation"] | None = Field(None, description="one side of the first / of 12/QĐ-STC")
    split: str | None = Field(None, min_length=1, description="separator that makes a list of a text")
    default: Scalar | None = Field(None, description="used when the value is missing, null or empty")

    @model_validator(mode="before")
    @classmethod
    def _text_is_source(cls, value: object) -> object:
        return {"from": value} if isinstance(value, str) else value


FOUND_OTHERWISE = frozenset({"document_id", "sender", "organ"})
"""Fields without a default that a mapping may leave out, because other facts give them."""
_NO_OFFICE_FIELD = frozenset({"parts", "trace"})


def _rules_for(kind: type) -> type[BaseModel]:
    """A model with a rule for each field of a dataclass, named as in ``lienthong.model``.

    Secrecy must be mapped although it has a default: a mapping that forgot it would let secret documents out.
    """
    members: dict[str, Any] = {}
    for entry in fields(kind):
        if entry.name in _NO_OFFICE_FIELD:
            continue
        hint = fields_of(kind)[entry.name]
        rule = _rules_for(hint) if isinstance(hint, type) and is_dataclass(hint) else Rule
        required = entry.default is MISSING and entry.name not in FOUND_OTHERWISE
        required = required or entry.name == "secrecy"
        members[entry.name] = (rule, ...) if required else (rule | None, None)
    return create_model(f"{kind.__name__}Rules", __config__=_STRICT, **members)


DocumentRules = _rules_for(Document)
StatusRules = _rules_for(StatusReport)
AgencyRules = _rules_for(Organization)


class Files(BaseModel):
    """The files of an outgoing document, inside its item or behind a call per file."""

    model_config = _STRICT

    items: Expression = Field(description="the list of files in the document's item")
    name: Expression = Field(description="file name, in a file's object")
    main: Expression | None = Field(None, description="truthy for the main file; default: for the first")
    media_type: Expression | None = Field(None, description="media type; without a slash: from the name")
    description: Expression | None = Field(None, description="description of the file")
    size: Expression | None = Field(None, description="size in bytes; contents of another size are not accepted")
    inline: Expression | None = Field(None, description="base64 of the contents")
    id: Expression | None = Field(None, description="what {file.id} means in download")
    download: Call | None = Field(None, description="the call whose answer is the file")
    content: Expression | None = Field(None, description="base64 in the JSON that download answers")

    @model_validator(mode="after")
    def _one_way(self) -> Files:
        _need((self.inline is None) != (self.download is None), "choose", "inline, download")
        _need(self.content is None or self.download is not None, "needs", "download")
        return self


class Acknowledge(BaseModel):
    """Calls that tell the office what became of an item. Repeating them must do no harm."""

    model_config = _STRICT

    stored: Call | None = Field(None, description="it is safely stored; default: nothing is told")
    failed: Call | None = Field(None, description="it cannot be used, see {detail}; default: nothing is told")


class Outbox(BaseModel):
    """Documents that the office wants sent."""

    model_config = _STRICT

    listing: Call = Field(alias="list", description="the call that lists them")
    paging: Paging = Field(Paging(), description="how the list is paged")
    items: Expression = Field(description="the list of items in the answer")
    id: Expression = Field(description="an item's id at the office")
    detail: Call | None = Field(None, description="a call per item when the list holds summaries only")
    detail_item: Expression | None = Field(None, description="the object that is laid over the item")
    fields: DocumentRules = Field(description="document field <- rule")  # type: ignore[valid-type]
    files: Files | None = Field(None, description="where the files are")
    acknowledge: Acknowledge = Field(Acknowledge(), description="what the office is told")


class Statuses(BaseModel):
    """Business statuses that the office reports about documents that it received."""

    model_config = _STRICT

    listing: Call = Field(alias="list", description="the call that lists them")
    paging: Paging = Field(Paging(), description="how the list is paged")
    items: Expression = Field(description="the list of items in the answer")
    id: Expression = Field(description="an item's id at the office")
    fields: StatusRules = Field(description="status field <- rule")  # type: ignore[valid-type]
    acknowledge: Acknowledge = Field(Acknowledge(), description="what the office is told")

    @model_validator(mode="after")
    def _points_to_a_document(self) -> Statuses:
        about = cast(Any, self.fields).about
        _need(about.organ is not None or about.document_id is not None, "needs", "about.organ, about.document_id")
        return self


class Lookup(BaseModel):
    """A call that finds out whether a creation arrived, after its answer was lost."""

    model_config = _STRICT

    call: Call = Field(description="the call; it must change nothing")
    id: Expression = Field(description="the id, or list of ids, of what was found; null means not there")
    missing: Expression | None = Field(None, description="truthy when the answer says that it is not there")
    missing_http: list[int] = Field([], description="HTTP statuses that say the same, usually 404")


class Inbox(BaseModel):
    """How an incoming document is created in the office."""

    model_config = _STRICT

    create: Call = Field(description="the call that creates it")
    idempotency_header: HeaderName | None = Field(None, description="header that carries {delivery.key}")
    id: Expression | None = Field(None, description="the new item's id in the answer; default: our key")
    file: Template = Field(None, description="JSON of one file; {files} in create.body stands for the list of them")
    file_field: str | None = Field(None, description="multipart field of each file")
    lookup: Lookup | None = Field(None, description="how to find out whether a creation arrived")

    @model_validator(mode="after")
    def _files_have_a_place(self) -> Inbox:
        _need((self.file is None) != (self.file_field is None), "choose", "file, file_field")
        if self.file is None:
            _need(self.create.multipart is not None, "needs", "create.multipart")
        else:
            _need(any(text == "{files}" for _, text in strings(self.create.body)), "needs", "create.body {files}")
        return self


class InboxStatus(BaseModel):
    """How a status that came back for a document of the office is handed over."""

    model_config = _STRICT

    create: Call = Field(description="the call that reports it")
    idempotency_header: HeaderName | None = Field(None, description="header that carries {delivery.key}")
    id: Expression | None = Field(None, description="the status's id in the answer; default: our key")
    lookup: Lookup | None = Field(None, description="how to find out whether it arrived")


class Directory(BaseModel):
    """Agencies that the office knows."""

    model_config = _STRICT

    listing: Call = Field(alias="list", description="the call that lists them")
    paging: Paging = Field(Paging(), description="how the list is paged")
    items: Expression = Field(description="the list of items in the answer")
    fields: AgencyRules = Field(description="agency field <- rule")  # type: ignore[valid-type]


class Mapping(BaseModel):
    """A whole mapping file."""

    model_config = _STRICT

    visible: list[str] = Field([], description="headers, query parameters and answer keys that the wire log may show")
    auth: Auth = Field(description="how calls prove who we are")
    answer: Answer = Field(Answer(), description="how answers are judged, unless a call says otherwise")
    tables: dict[str, dict[str, Scalar]] = Field({}, description="their value = our value; read both ways")
    outbox: Outbox | None = Field(None, description="documents that the office wants sent")
    statuses: Statuses | None = Field(None, description="statuses that the office reports")
    inbox: Inbox | None = Field(None, description="incoming documents")
    inbox_status: InboxStatus | None = Field(None, description="statuses that came back")
    directory: Directory | None = Field(None, description="agencies that the office knows")
    probe: Call | None = Field(None, description="a harmless call; default: the first page of a list")

    @model_validator(mode="after")
    def _can_be_probed(self) -> Mapping:
        _need(any((self.probe, self.outbox, self.statuses)), "needs", "probe")
        return self
