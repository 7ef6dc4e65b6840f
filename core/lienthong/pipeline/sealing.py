"""What makes an outgoing document's files prove who issued them: signatures, then time and revocation.

    sign    each PDF by the agency's key, one after another     waits as ``awaiting-signature``
    prove   each signed PDF is brought to ``signing.level``     waits as ``awaiting-proof``

Each file's step is a commit of its own, under a lease of its own. So a signature that exists is never asked for again:
not when the next file fails, not when a timestamp authority is down, not when the process dies. A document with one
file and level B-B goes straight on to its packets, unless somebody was waited for: another signature costs nothing.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from enum import Enum, auto
from pathlib import Path

from lienthong.config import AgencySettings
from lienthong.errors import ContentError, LienthongError, Refused, SigningError
from lienthong.hookspecs import Pending
from lienthong.model import Document, Part, PartRole, Party, SignatureLevel, Verdict
from lienthong.pipeline.adapter import Adapter
from lienthong.pipeline.appearances import appearance_of
from lienthong.pipeline.signing import SigningOrder
from lienthong.pipeline.steps import pause
from lienthong.signing.pades import Parked, Prepared
from lienthong.signing.proof.levels import TIMESTAMP_ROOM
from lienthong.signing.verification.parties import signed_parties
from lienthong.signing.verification.verify import REASONS
from lienthong.store.blobs import Blob
from lienthong.store.rows import MessageRow, encode

_PDF = "application/pdf"
_REVOKED = "sign.certificate-revoked"
_NOBODY_VOUCHES = frozenset({"unknown-issuer", "chain-broken"})


class Stage(Enum):
    SIGN = auto()
    PROVE = auto()


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a document's files are; the row keeps it as ``parked``.

    Parts before ``signed`` are through with the first stage, parts before ``proven`` with the second. ``fresh`` has
    the parts that were signed here, each as it was before. ``request`` is what a part asks its signer again with.
    """

    signed: int = 0
    proven: int = 0
    fresh: Mapping[int, tuple[str, int]] = field(default_factory=dict)
    request: Mapping[str, str] | None = None

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> Progress:
        if not text:
            return Progress()
        values = json.loads(text)
        fresh = {int(index): (before[0], before[1]) for index, before in values["fresh"].items()}
        return Progress(**{**values, "fresh": fresh})


def next_stage(
    parts: Sequence[Part], progress: Progress, *, signs: bool, level: SignatureLevel
) -> tuple[Stage, int] | None:
    """What comes next, and for which part; None when the files can leave as they are."""
    pdfs = [index for index, part in enumerate(parts) if part.media_type == _PDF]
    unsigned = [index for index in pdfs if signs and index >= progress.signed]
    unproven = [index for index in pdfs if level is not SignatureLevel.BASIC and index >= progress.proven]
    if unsigned:
        return Stage.SIGN, unsigned[0]
    return (Stage.PROVE, unproven[0]) if unproven else None


def seal(adapter: Adapter, row: MessageRow, agency: AgencySettings, document: Document) -> Document | MessageRow:
    """The document with its files as they leave; or the committed row, when there is more to do, at once or later.

    :raises Refused: the main file lacks the competent person's signature, and the profile asks for it
    :raises SigningError: no signature or no proof could be made; ``dropped`` says what that does to the progress
    :raises Unavailable: the signer or the authorities cannot be asked now
    """
    progress = Progress.from_json(row.parked)
    if not row.parked:
        _require_person(adapter, document)
    signs, level = agency.signer is not None, adapter.config.signing.level
    stage = next_stage(document.parts, progress, signs=signs, level=level)
    if stage is None:
        return document
    kind, index = stage
    if kind is Stage.PROVE and row.state != "awaiting-proof":
        return _goes_on(adapter, row, document, progress, "awaiting-proof")
    done = (_sign if kind is Stage.SIGN else _prove)(adapter, row, agency, document, progress, index)
    if isinstance(done, MessageRow):
        return done
    was_waited_for, (document, progress) = progress.request is not None, done
    then = next_stage(document.parts, progress, signs=signs, level=level)
    if then is None and not was_waited_for:
        return document
    state = row.state if then is None or then[0] is kind else "awaiting-proof"
    return _goes_on(adapter, row, document, progress, state)


def _require_person(adapter: Adapter, document: Document) -> None:
    if not adapter.config.profile.require_person_signature:
        return
    for part in document.parts:
        if part.role is PartRole.MAIN and part.media_type == _PDF:
            parties = signed_parties(adapter.store.blobs.path(part.sha256))
            if all(signed.party is not Party.PERSON for signed in parties):
                raise Refused("sign.person-missing", where=part.name)


def _goes_on(adapter: Adapter, row: MessageRow, document: Document, progress: Progress, state: str) -> MessageRow:
    """Keep what was achieved and give the lease back, so that the next file has a whole one."""
    now = adapter.seconds()
    kept = {"state": state, "body": encode(document), "parked": progress.to_json()}
    with adapter.store.write() as tx:
        done = tx.commit(row, now, **kept, run_at=now, attempts=0, strikes=0, reason="", reason_text="")
    adapter.wake()
    return done


# --- signing ----------------------------------------------------------------------------------------------------------


def _sign(
    adapter: Adapter, row: MessageRow, agency: AgencySettings, document: Document, progress: Progress, index: int
) -> tuple[Document, Progress] | MessageRow:
    part, request = document.parts[index], progress.request
    level = adapter.config.signing.level

    def ask(target: Path) -> Parked | None:
        order = SigningOrder(
            connection=agency.signer or "",
            source=adapter.store.blobs.path(part.sha256),
            target=target,
            at=adapter.now(),
            summary=f"{row.code}: {part.name}",
            parked=_unpacked(request) if request else None,
            appearance=appearance_of(part, document, agency, adapter.config),
            room=0 if level is SignatureLevel.BASIC else TIMESTAMP_ROOM,
        )
        return adapter.signing.sign(order)

    blob, waiting = _worked_on(adapter, part, request["blob"] if request else "", ask)
    if waiting is not None:
        return _park(adapter, row, document, progress, index, blob, waiting)
    fresh = progress.fresh
    if blob.sha256 == part.sha256:
        _require_sound(adapter, part)
    else:
        fresh = {**fresh, index: (part.sha256, part.size)}
    return _replaced(document, index, blob), replace(progress, signed=index + 1, fresh=fresh, request=None)


def _require_sound(adapter: Adapter, part: Part) -> None:
    """What leaves in the agency's name with somebody else's signature on it must at least be whole, and its certificate
    more than a name that anybody can write. Revocation is no matter here: the proof asks for it, and the receiver.

    :raises ContentError: it is not
    """
    found = adapter.verify(adapter.store.blobs.path(part.sha256), part.name, adapter.now())
    refused = [
        reason
        for signature in found.signatures
        for reason in signature.reasons
        if REASONS[reason] is Verdict.INVALID or (reason in _NOBODY_VOUCHES and adapter.trust.roots)
    ]
    if refused:
        raise ContentError("sign.existing-unsound", where=part.name, reasons=", ".join(dict.fromkeys(refused)))


def _unpacked(request: Mapping[str, str]) -> Parked:
    return Parked(prepared=Prepared.from_json(request["prepared"]), pending=Pending(token=request["token"]))


def _park(
    adapter: Adapter,
    row: MessageRow,
    document: Document,
    progress: Progress,
    index: int,
    blob: Blob,
    waiting: Parked,
) -> MessageRow:
    """A person or a remote signer needs time. Failures counted so far stay counted: asking is no success yet."""
    pending = waiting.pending
    request = {"blob": blob.sha256, "prepared": waiting.prepared.to_json(), "token": pending.token}
    parked = replace(progress, signed=index, request=request)
    reason = LienthongError("sign.waits-for-signer", name=document.parts[index].name)
    now = adapter.seconds()
    with adapter.store.write() as tx:
        if progress.request is None:
            adapter.note(tx, row, "awaiting-signature", {"part": document.parts[index].name})
        return tx.commit(
            row,
            now,
            state="awaiting-signature",
            parked=parked.to_json(),
            run_at=now + pending.retry_after,
            reason=reason.code,
            reason_text=reason.text("vi"),
        )


# --- proof ------------------------------------------------------------------------------------------------------------


def _prove(
    adapter: Adapter, row: MessageRow, _agency: AgencySettings, document: Document, progress: Progress, index: int
) -> tuple[Document, Progress] | MessageRow:
    part, ours = document.parts[index], index in progress.fresh
    proven = replace(progress, proven=index + 1)
    if not ours and not signed_parties(adapter.store.blobs.path(part.sha256)):
        return document, proven  # nobody signed it, so there is nothing to prove
    with adapter.proving.place() as free:
        if not free:
            return _come_back(adapter, row)
        try:
            blob = _worked_on(adapter, part, part.sha256, lambda file: _raise_level(adapter, file, ours))[0]
        except SigningError as problem:
            if problem.code == _REVOKED and not ours:  # only who signed it elsewhere can sign it anew
                raise ContentError(problem.code, where=part.name, **problem.facts) from problem
            raise
    return _replaced(document, index, blob), proven


def _raise_level(adapter: Adapter, file: Path, ours: bool) -> None:
    adapter.proving.raise_level(file, at=adapter.now(), ours=ours)


def _come_back(adapter: Adapter, row: MessageRow) -> MessageRow:
    now = adapter.seconds()
    again = now + pause(1, adapter.config.profile, adapter.chance())
    with adapter.store.write() as tx:
        return tx.commit(row, now, run_at=again)


# --- files ------------------------------------------------------------------------------------------------------------


def _worked_on(
    adapter: Adapter, part: Part, begun: str, work: Callable[[Path], Parked | None]
) -> tuple[Blob, Parked | None]:
    """Let ``work`` make or change a file, and store that. ``begun`` is the blob that the file starts as, if any."""
    blobs = adapter.store.blobs
    with _temporary(blobs.work / f"{adapter.new_id()}.pdf") as target:
        if begun:
            shutil.copyfile(blobs.path(begun), target)
        try:
            waiting = work(target)
        except ContentError as problem:  # it names the stored blob; people know the file by its own name
            raise ContentError(problem.code, where=part.name, **problem.facts) from problem
        return blobs.adopt(target), waiting


@contextmanager
def _temporary(file: Path) -> Iterator[Path]:
    try:
        yield file
    finally:
        file.unlink(missing_ok=True)


def _replaced(document: Document, index: int, blob: Blob) -> Document:
    parts = list(document.parts)
    parts[index] = replace(parts[index], sha256=blob.sha256, size=blob.size)
    return replace(document, parts=tuple(parts))


# --- what failures undo -----------------------------------------------------------------------------------------------


def dropped(row: MessageRow, error: LienthongError) -> dict[str, object]:
    """What a failure changes of a row beside its state. Nothing here acts.

    A ``SigningError`` ends the request that a file waits with, so the next try begins anew. A signature whose
    certificate turns out to be revoked proves nothing: the files are again what they were before they were signed here.
    """
    if not isinstance(error, SigningError) or not row.parked:
        return {}
    progress = Progress.from_json(row.parked)
    if error.code != _REVOKED:
        return {"parked": replace(progress, request=None).to_json()}
    document = row.document
    for index, (sha256, size) in progress.fresh.items():
        document = _replaced(document, index, Blob(sha256=sha256, size=size))
    return {"parked": "", "body": encode(document), "state": "awaiting-signature"}
