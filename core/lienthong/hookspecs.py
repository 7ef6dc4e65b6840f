"""The contract between core and plugins. Read this first when you write a plugin.

A plugin is a module of functions marked ``@hookimpl``; it is found through the entry-point group ``lienthong.plugins``.
One entry point is one product (an axis, an office, a signer); it implements only the hooks that its product has.
All hooks are synchronous and called from worker threads. No hook keeps global state: whatever lives longer than a call
belongs to the ``Connection``. Errors leave a hook only as ``Rejected``, ``Unavailable``, ``OutcomeUnknown`` (peers),
``ContentError`` (bad input) or ``SigningError``. Anything else counts as a crash of the plugin.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal

import pluggy

from lienthong.model import (
    Document,
    FileVerification,
    Message,
    MessageKind,
    Organization,
    Part,
    PartRole,
    StatusCode,
    StatusReport,
)

if TYPE_CHECKING:
    import typer
    from pydantic import BaseModel

    from lienthong.http import HttpClient

PROJECT = "lienthong"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)

Role = Literal["office", "axis", "signer"]
Save = Callable[[BinaryIO], None]
"""Writes an item's bytes to an open file, streaming. May be called again; may raise a peer error."""
OpenPart = Callable[[Part], BinaryIO]
"""Opens the stored bytes of a part for reading."""


@dataclass(frozen=True, kw_only=True)
class Capabilities:
    """What the peer really guarantees. Core picks its algorithm from this."""

    dedup: Literal["native", "lookup", "none"] = "none"
    """native: the same key twice is one item. lookup: ``reconcile`` can tell. none: a person must look."""
    ack: Literal["separate", "implicit"] = "implicit"
    max_bytes: int | None = None
    max_title: int | None = None
    statuses: frozenset[StatusCode] = frozenset(StatusCode)
    key: Literal["shared", "exclusive", "remote"] = "shared"
    """A signer's key. shared: any number of processes may open it. exclusive: one process at a time (a token), and a
    hanging call must not take others with it. remote: somewhere else, and a person may have to confirm."""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a plugin says of itself."""

    name: str
    version: str
    role: Role
    summary: str
    config: type[BaseModel]
    capabilities: Capabilities = Capabilities()
    evidence: str = ""
    """How it was tried against the real peer; empty means unverified, and ``plugins list`` says so."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Connection:
    """One configured use of a plugin. ``folder`` is the connection's own working folder.

    Two are never equal, so a plugin may keep what belongs to one (a login, a certificate) under it in a dictionary.
    """

    name: str
    agencies: tuple[Organization, ...]
    config: BaseModel
    http: HttpClient
    folder: Path
    now: Callable[[], datetime]


@dataclass(frozen=True, kw_only=True)
class PacketItem:
    """A packet that an axis offers. ``save`` streams its raw bytes; ``recipient`` is whose box it lies in, if known."""

    source_id: str
    kind: MessageKind
    save: Save
    recipient: str = ""


@dataclass(frozen=True, kw_only=True)
class FileSource:
    """One file of an office document, not yet read."""

    role: PartRole
    name: str
    media_type: str
    save: Save
    description: str = ""


@dataclass(frozen=True, kw_only=True)
class DocumentItem:
    """A document that an office wants sent. ``document.parts`` is empty; ``files`` stand for them."""

    source_id: str
    document: Document
    files: tuple[FileSource, ...]


@dataclass(frozen=True, kw_only=True)
class StatusItem:
    """A business status that an office reports about a document that it received (or a recall request, 13)."""

    source_id: str
    report: StatusReport


@dataclass(frozen=True, kw_only=True)
class BrokenItem:
    """Something that the peer offers and the plugin cannot understand. It is kept and quarantined, not dropped."""

    source_id: str
    error_code: str
    detail: str
    save: Save


Item = PacketItem | DocumentItem | StatusItem | BrokenItem


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What ``fetch`` found. ``cursor`` is stored after the batch is committed and given to the next call."""

    items: tuple[Item, ...] = ()
    cursor: str | None = None
    more: bool = False


@dataclass(frozen=True, kw_only=True)
class PacketFile:
    """A finished packet on disk. ``size`` in bytes, ``sha256`` in lower-case hex."""

    path: Path
    size: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """One message to one destination, as ``deliver`` and ``reconcile`` see it.

    ``packet`` is set when the plugin has a ``package`` hook. ``recipient`` is the agency code that it goes to.
    ``lines`` are sentences for the clerk (signature verdict, paper follows, duplicate number), in Vietnamese.
    ``concerns_id`` is our id of the message that this one is about (a status, a recall), when it is known, and
    ``concerns_peer_id`` is the id under which this peer received it or handed it in.
    """

    key: str
    message_id: str
    message: Message
    recipient: str
    open_part: OpenPart
    packet: PacketFile | None = None
    verification: tuple[FileVerification, ...] = ()
    lines: tuple[str, ...] = ()
    concerns_id: str = ""
    concerns_peer_id: str = ""


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """The peer's answer. ``raw`` is kept as evidence. ``settled`` False: the peer collects and confirms later."""

    peer_id: str
    raw: bytes = b""
    settled: bool = True


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """What core remembers of a delivery whose outcome is not known.

    ``ended`` is when core knew that nothing more was being sent: a peer may still commit for a while after that.
    ``known_peer_ids`` are receipts that belong to other deliveries, so a lookup must not adopt them.
    """

    delivery: Delivery
    started: datetime
    ended: datetime
    known_peer_ids: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Reconciliation:
    outcome: Literal["delivered", "not-delivered", "cannot-tell"]
    receipt: Receipt | None = None


@dataclass(frozen=True, kw_only=True)
class Credential:
    """A signer's certificate and the chain above it, DER, leaf first."""

    certificates: tuple[bytes, ...]


@dataclass(frozen=True, kw_only=True)
class SignRequest:
    """A digest to sign. ``algorithm`` is the digest's name (``sha256``); ``mechanism`` is the signature scheme."""

    digest: bytes
    algorithm: str
    mechanism: Literal["rsassa_pkcs1v15", "ecdsa"]
    summary: str
    """One line for the person who may have to confirm: what is being signed."""
    token: str | None = None
    """The token of an earlier ``Pending`` for this same digest."""


@dataclass(frozen=True, kw_only=True)
class Signature:
    value: bytes


@dataclass(frozen=True, kw_only=True)
class Pending:
    """The signer needs time or a person; ask again with ``token`` after ``retry_after`` seconds."""

    token: str
    retry_after: float = 10.0


@dataclass(frozen=True, kw_only=True)
class Probe:
    """Whether a connection is usable right now, from a real call. ``observed`` says when that call was made."""

    usable: bool
    detail: str
    observed: datetime


@dataclass(frozen=True, kw_only=True)
class AgencyListing:
    """Agencies that the peer knows; ``complete`` False means changes since ``since`` only."""

    agencies: tuple[Organization, ...] = field(default=())
    complete: bool = True


class Hooks:
    """The hooks, in the order of a document's way. Each is called for one connection and answered by one plugin."""

    @hookspec(firstresult=True)
    def describe(self) -> Manifest:
        """Say what this plugin is.

        MUST be pure and quick: it is called before any configuration is read.
        """
        raise NotImplementedError

    @hookspec(firstresult=True)
    def fetch(self, connection: Connection, cursor: str | None) -> Batch:
        """Offer what the peer has for us; contents are read later through each item's ``save``.

        MAY be called again with the same cursor and then MAY offer the same items again.
        MUST NOT make the peer forget anything: that is ``acknowledge``.
        """
        raise NotImplementedError

    @hookspec(firstresult=True)
    def credential(self, connection: Connection) -> Credential:
        """Give the signer's certificate chain. It goes into the signature before ``sign`` is asked.

        :raises SigningError: the key cannot be opened, or its certificate is not valid now.
        """
        raise NotImplementedError

    @hookspec(firstresult=True)
    def sign(self, connection: Connection, request: SignRequest) -> Signature | Pending:
        """Sign a digest (never the document), or answer ``Pending``: the document is parked and this is asked again.

        MAY be called again for the same digest. MAY answer with the plain signature value or with a CMS around it.
        :raises SigningError: this request is over (refused, expired, wrong PIN); a later one starts without its token.
        :raises Unavailable: nothing is decided; the same request with the same token is asked again later.
        """
        raise NotImplementedError

    @hookspec(firstresult=True)
    def package(self, connection: Connection, message: Message, open_part: OpenPart, sink: BinaryIO) -> Literal[True]:
        """Write the packet for this peer to ``sink``, streaming; return True.

        MUST be pure: the same message gives the same bytes.
        :raises ContentError: the message cannot be expressed in this peer's format.
        """
        raise NotImplementedError

    @hookspec(firstresult=True)
    def deliver(self, connection: Connection, delivery: Delivery) -> Receipt:
        """Hand one message to the peer.

        The same ``delivery.key`` twice MUST be one item at the peer, or the manifest's ``dedup`` says otherwise.
        :raises Rejected: the peer refuses this message for good.
        :raises Unavailable: nothing happened at the peer.
        :raises OutcomeUnknown: it was sent and the answer was lost.
        """
        raise NotImplementedError

    @hookspec(firstresult=True)
    def acknowledge(
        self, connection: Connection, source_id: str, kind: MessageKind, stored: bool, detail: str
    ) -> Literal[True]:
        """Let the peer forget an item that we stored (``stored``), or tell it that we could not use it; return True.

        Called only after our commit. MAY be called again for the same item and MUST then succeed.
        ``detail`` is a Vietnamese sentence for the peer's user; empty when there is nothing to say.
        """
        raise NotImplementedError

    @hookspec(firstresult=True)
    def reconcile(self, connection: Connection, attempt: Attempt) -> Reconciliation:
        """Find out whether an attempt arrived. MUST NOT change anything at the peer."""
        raise NotImplementedError

    @hookspec(firstresult=True)
    def directory(self, connection: Connection, since: datetime | None) -> AgencyListing:
        """List the agencies that the peer can reach. MUST NOT change anything at the peer."""
        raise NotImplementedError

    @hookspec(firstresult=True)
    def probe(self, connection: Connection) -> Probe:
        """Find out by a real call (a real signature) whether the connection works. MUST NOT change anything."""
        raise NotImplementedError

    @hookspec
    def register_commands(self, app: typer.Typer) -> None:
        """Add commands to the ``lienthong`` command line. MUST be quick: it runs for every command."""


HOOK_NAMES: tuple[str, ...] = tuple(name for name in vars(Hooks) if not name.startswith("_"))


def read_chunks(source: BinaryIO, size: int = 57 * 1024) -> Iterator[bytes]:
    """Read a file in chunks whose size is a multiple of three, so that base64 needs no carry."""
    while chunk := source.read(size):
        yield chunk
