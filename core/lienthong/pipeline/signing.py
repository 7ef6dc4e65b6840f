"""Who signs an order, by where its key is (``Capabilities.key``).

    shared       a pool of processes: the work is Python under one lock, so threads would not help
    exclusive    one process of its own per connection: a token takes one program at a time, and a driver that hangs is
                 killed without taking other keys with it
    remote       the calling thread: it waits for an answer from the network, which a process would not shorten

Each process opens the signer's connection itself, once, so that a key is loaded once and never crosses a border.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Literal, Protocol, cast

from lienthong.config import Config, load, plugin_config
from lienthong.errors import LienthongError, Refused, SigningError, Unauthorized
from lienthong.hookspecs import Credential, Pending, Probe, Signature, SignRequest
from lienthong.pipeline.lanes import Lane, Work
from lienthong.registry import OpenConnection, discover, open_connection
from lienthong.signing import pades
from lienthong.signing.keys.credentials import signer_certificate
from lienthong.signing.pdf import document_errors, seconds_for
from lienthong.signing.stamp.appearance import Appearance, Stamp, lay_out
from lienthong.signing.verification.parties import Party, party_of, signed_parties

_KEY_SECONDS = 30.0
"""Opening a key and one signature: a USB token takes 1 to 3 seconds, a driver that looks for its reader up to ten."""
_WAIT_SECONDS = 60.0
_WAIT_FOR_EXCLUSIVE_SECONDS = 10.0
"""A worker that waits for a token serves nobody meanwhile; its document comes again by itself."""


@dataclass(frozen=True, kw_only=True)
class SigningOrder:
    """One PDF to sign, file to file. ``parked`` continues an order that was pending; its file is at ``target``.

    ``appearance`` None: the signature is invisible. ``room``: bytes kept free for a timestamp inside the signature.
    """

    connection: str
    source: Path
    target: Path
    at: datetime
    summary: str
    parked: pades.Parked | None = None
    appearance: Appearance | None = None
    room: int = 0


class Signing(Protocol):
    def sign(self, order: SigningOrder) -> pades.Parked | None:
        """Sign; None when ``target`` is complete, else what is needed to ask again later.

        ``target`` is a copy of ``source`` when that has the signer's signature already (``is_already_signed``).

        :raises SigningError: the key cannot be used; a parked request is over, so the order starts anew
        :raises Unavailable: nothing is decided: the same order again later
        :raises ContentError: the file cannot be signed
        """

    def credential(self, connection: str) -> Credential:
        """The certificates of a signer's connection.

        :raises SigningError: the key cannot be opened, or its certificate is not valid now
        :raises Unavailable: it cannot be asked now
        """

    def probe(self, connection: str) -> Probe:
        """Whether a signer can sign now, by a real test signature.

        :raises SigningError, Unavailable: nothing could be found out
        """

    def close(self) -> None: ...


@dataclass(frozen=True, kw_only=True)
class _Question:
    """A hook of a signer's connection, asked where its key is."""

    connection: str
    hook: Literal["credential", "probe"]


class LaneSigning:
    """Signs each order where its key wants it. ``processes`` is the size of the pool for shared keys; with 0 they are
    used in the calling thread.

    Takes up a changed configuration or secret after a failure, without a restart. ``connections`` remain the caller's.
    """

    def __init__(
        self,
        config_file: Path,
        folder: Path,
        connections: Mapping[str, OpenConnection],
        processes: int,
        *,
        key_seconds: float = _KEY_SECONDS,
    ) -> None:
        begin = partial(_begin, config_file, folder)
        self._kinds = {name: c.capabilities.key for name, c in connections.items() if c.manifest.role == "signer"}
        self._key_seconds = key_seconds
        self._here = ThreadSigning(config_file, folder, connections)
        self._pool = Lane(begin, processes, wait_seconds=_WAIT_SECONDS) if processes else None
        self._own: dict[str, Lane] = {
            name: Lane(begin, 1, wait_seconds=_WAIT_FOR_EXCLUSIVE_SECONDS)
            for name, kind in self._kinds.items()
            if kind == "exclusive"
        }

    def sign(self, order: SigningOrder) -> pades.Parked | None:
        file = order.target if order.parked else order.source
        return cast("pades.Parked | None", self._answer(order, self._key_seconds + seconds_for(_size(file))))

    def credential(self, connection: str) -> Credential:
        question = _Question(connection=connection, hook="credential")
        return cast(Credential, self._answer(question, self._key_seconds))

    def probe(self, connection: str) -> Probe:
        return cast(Probe, self._answer(_Question(connection=connection, hook="probe"), self._key_seconds))

    def _answer(self, order: SigningOrder | _Question, seconds: float) -> object:
        lane = self._own.get(order.connection)
        if lane is None and self._kinds.get(order.connection) == "shared":
            lane = self._pool
        return lane.call(order, seconds, where=order.connection) if lane else self._here.answer(order)

    def close(self) -> None:
        for lane in (*self._own.values(), *([self._pool] if self._pool else [])):
            lane.close()
        self._here.close()


class ThreadSigning:
    """Signs in the calling thread, with connections that are given, or opened when first needed.

    After a signer has failed, its part of the configuration is read again, and what has changed there is in force for
    the next order: a corrected PIN or a renewed secret needs no restart.
    """

    def __init__(self, config_file: Path, folder: Path, connections: Mapping[str, OpenConnection]) -> None:
        self._config_file = config_file
        self._folder = folder
        self._connections = dict(connections)
        self._opened_here: list[OpenConnection] = []
        self._failed: set[str] = set()
        self._lock = threading.Lock()

    def sign(self, order: SigningOrder) -> pades.Parked | None:
        return cast("pades.Parked | None", self.answer(order))

    def credential(self, connection: str) -> Credential:
        return cast(Credential, self.answer(_Question(connection=connection, hook="credential")))

    def probe(self, connection: str) -> Probe:
        return cast(Probe, self.answer(_Question(connection=connection, hook="probe")))

    def answer(self, order: SigningOrder | _Question) -> object:
        connection = self._connection(order.connection)
        try:
            answer = (
                _sign(connection, order) if isinstance(order, SigningOrder) else connection.call(order.hook).result()
            )
        except (SigningError, Unauthorized):
            self._failed.add(connection.name)
            raise
        if isinstance(answer, Probe) and not answer.usable:
            self._failed.add(connection.name)
        else:
            self._failed.discard(connection.name)
        return answer

    def close(self) -> None:
        with self._lock:
            while self._opened_here:
                self._opened_here.pop().close()

    def _connection(self, name: str) -> OpenConnection:
        with self._lock:
            known = self._connections.get(name)
            if known is None:
                try:
                    known = self._connections[name] = self._opened(load(self._config_file), name)
                except LienthongError as problem:
                    # The file was in order when the service started: somebody is at it, and the document can wait.
                    raise SigningError(problem.code, where=problem.where, **problem.facts) from problem
            elif name in self._failed:
                known = self._connections[name] = self._with_changes(known)
            return known

    def _with_changes(self, old: OpenConnection) -> OpenConnection:
        """The connection as the configuration file has it now. An old one stays open until the end: another thread may
        be in the middle of it."""
        try:
            config = load(self._config_file)
            return self._opened(config, old.name, old.observe) if _has_changed(old, config) else old
        except LienthongError:
            return old  # whoever edits the file has not finished

    def _opened(self, config: Config, name: str, observe: Callable[..., None] = lambda *_: None) -> OpenConnection:
        plugins = discover(frozenset({config.connection[name].plugin}))
        connection = open_connection(config, name, plugins, self._folder, lambda: datetime.now(UTC), observe)
        self._opened_here.append(connection)
        return connection


def _has_changed(old: OpenConnection, config: Config) -> bool:
    settings = config.connection.get(old.name)
    if settings is None or settings.plugin != old.plugin.name:
        return False  # another kind of key may want another place: that takes a restart
    return plugin_config(old.manifest.config, config, old.name) != old.connection.config


def _begin(config_file: Path, folder: Path) -> Work:
    return ThreadSigning(config_file, folder, {}).answer


def _sign(connection: OpenConnection, order: SigningOrder) -> pades.Parked | None:
    credential: Credential = connection.call("credential").result()

    def ask(request: SignRequest) -> Signature | Pending:
        answer: Signature | Pending = connection.call("sign", request=request).result()
        return answer

    if order.parked is not None:
        return pades.resume(order.target, order.parked, credential=credential, sign=ask, summary=order.summary)
    if is_already_signed(order.source, credential):
        with document_errors(order.source):
            shutil.copyfile(order.source, order.target)
        return None
    return pades.sign_pdf(
        order.source,
        order.target,
        credential=credential,
        sign=ask,
        at=order.at,
        summary=order.summary,
        stamp=_stamp(order),
        room=order.room,
    )


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError as problem:
        raise SigningError("sign.file", where=file.name, reason=problem.strerror) from problem


def is_already_signed(source: Path, credential: Credential) -> bool:
    """Whether a file has a signature by this certificate, or by another one of the same organisation: then the agency's
    own tool has signed it, and a second signature would say nothing more. Says nothing about any signature's validity.

    The competent person signs, then the agency (Decree 30/2020 Art. 14 and 32.2d). Of a document that several agencies
    issue together, all persons sign before the first agency does.

    :raises Refused: an agency has sealed the file already, and the credential is not known to be an agency's
    :raises ContentError, SigningError: the file cannot be read
    """
    leaf = credential.certificates[0]
    party, holder = party_of(leaf), signer_certificate(credential).holder
    with document_errors(source):
        earlier = signed_parties(source) if _may_be_signed(source) else ()
    if any(signed.certificate == leaf for signed in earlier):
        return True
    sealed = [signed.holder for signed in earlier if signed.party is Party.ORGANIZATION]
    if sealed and party is not Party.ORGANIZATION:
        raise Refused("sign.person-after-agency", where=source.name, agency=sealed[0])
    return party is Party.ORGANIZATION and holder in sealed


def _stamp(order: SigningOrder) -> Stamp | None:
    return lay_out(order.source, order.appearance, at=order.at) if order.appearance else None


def _may_be_signed(source: Path) -> bool:
    """A quick look that saves parsing the usual, unsigned file twice."""
    overlap = b""
    with source.open("rb") as file:
        while chunk := file.read(1024 * 1024):
            window = overlap + chunk
            if b"/ByteRange" in window or b"/ObjStm" in window:
                return True
            overlap = chunk[-16:]
    return False
