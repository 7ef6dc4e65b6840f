"""Judging the signatures of a PDF that somebody else made (Decree 30/2020 Art. 5, 21.2a).

``reading`` finds what the file says; here it is judged against trust, revocation and time, as ETSI EN 319 102-1 does
and with these choices of ours:

- The time of a signature is the earliest that is proven: by a timestamp over the signature, or by one over the document
  later. A timestamp proves only when its own authority was good up to the next proven timestamp, or up to now. Without
  proof the signer's own statement counts, unless it lies in the future. Its weakness: who keeps the key of an expired
  certificate can state an earlier time; the note ``time-not-proven`` stands beside such a signature.
- A certificate that was revoked after a proven time was good. Without proof of time it must be good now: whoever holds
  a stolen key can state any time.
- A timestamp that cannot be believed takes nothing away from a signature; a timestamp that does not fit does.
"""

# asn1crypto and parts of pyHanko have no type annotations:
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal, Protocol

from asn1crypto import x509

from lienthong.errors import Language, catalogue
from lienthong.model import (
    VIETNAM,
    FileVerification,
    RevocationStatus,
    SignatureFinding,
    SignatureLevel,
    TimeSource,
    Verdict,
)
from lienthong.signing.verification.facts import FileFacts, SignatureFacts, TokenFacts
from lienthong.signing.verification.parties import subject_of
from lienthong.signing.verification.reading import read_facts
from lienthong.signing.verification.revoked import Standing, names_somebody_to_ask, standing
from lienthong.signing.verification.trust import Chain, TrustStore, find_chain

REASONS: dict[str, Verdict] = {
    "certificate-revoked": Verdict.INVALID,
    "check-timeout": Verdict.INVALID,
    "digest-mismatch": Verdict.INVALID,
    "encrypted": Verdict.INVALID,
    "malformed-signature": Verdict.INVALID,
    "modified-after-signing": Verdict.INVALID,
    "partial-coverage": Verdict.INVALID,
    "pdf-damaged": Verdict.INVALID,
    "signature-mismatch": Verdict.INVALID,
    "signature-removed": Verdict.INVALID,
    "signing-certificate-mismatch": Verdict.INVALID,
    "too-many-signatures": Verdict.INVALID,
    "certificate-expired": Verdict.UNTRUSTED,
    "certificate-not-for-signing": Verdict.UNTRUSTED,
    "certificate-not-yet-valid": Verdict.UNTRUSTED,
    "certificate-suspended": Verdict.UNTRUSTED,
    "chain-broken": Verdict.UNTRUSTED,
    "check-failed": Verdict.UNTRUSTED,
    "issuer-revoked": Verdict.UNTRUSTED,
    "revocation-unknown": Verdict.UNTRUSTED,
    "revocation-unreachable": Verdict.UNTRUSTED,
    "revoked-no-proof-of-time": Verdict.UNTRUSTED,
    "signed-in-the-future": Verdict.UNTRUSTED,
    "timestamp-mismatch": Verdict.UNTRUSTED,
    "unknown-issuer": Verdict.UNTRUSTED,
    "unsupported-format": Verdict.UNTRUSTED,
    "weak-digest": Verdict.UNTRUSTED,
    "weak-key": Verdict.UNTRUSTED,
}
"""Every reason that a finding may have, and the verdict that it alone leads to."""
NOTES = frozenset({"not-pades", "revoked-later", "stated-time-differs", "time-not-proven", "timestamp-untrusted"})
"""What a clerk should know of a signature beside its verdict."""
RevocationPolicy = Literal["when-offered", "required", "off"]
_SEVERITY = (Verdict.VALID, Verdict.UNTRUSTED, Verdict.INVALID)
_CLOCK_TOLERANCE = timedelta(minutes=10)
_SIGNING_USAGES = frozenset({"digital_signature", "non_repudiation"})
_OTHER_PURPOSES = frozenset({"time_stamping", "ocsp_signing", "server_auth", "code_signing"})
_LONGEST_CHAIN = 8


class Answers(Protocol):
    """What was fetched about one certificate; ``unreachable``: somebody should have answered and did not."""

    @property
    def ocsps(self) -> tuple[bytes, ...]: ...
    @property
    def crls(self) -> tuple[bytes, ...]: ...
    @property
    def unreachable(self) -> bool: ...


class RevocationAnswering(Protocol):
    """Fetches OCSP answers and revocation lists (``revocation.RevocationSource``)."""

    def answers(self, certificate: bytes, issuer: bytes) -> Answers: ...


def verify_pdf(
    path: Path,
    part_name: str,
    trust: TrustStore,
    *,
    at: datetime,
    revocation: RevocationAnswering | None = None,
    policy: RevocationPolicy = "when-offered",
    read: Callable[[Path], FileFacts] = read_facts,
) -> FileVerification:
    """Check all signatures of one part at the time ``at``. ``part_name`` is the part's name in the document.

    Findings stand in the order of signing, document timestamps among them; a file with nothing but timestamps is
    ``unsigned``, and so is one that is not a PDF. A PDF that cannot be read, but speaks of a signature, is
    ``invalid``; so is one whose check takes unreasonably long (seconds, growing with the file's size).

    ``revocation`` None: only what the file brings along is looked at. ``read`` may read the file elsewhere
    (``confinement``).

    :raises StoreError: the file itself cannot be read from disk.
    """
    facts = read(path)
    return judge(facts, part_name, trust, at=at, revocation=revocation, policy=policy)


def judge(
    facts: FileFacts,
    part_name: str,
    trust: TrustStore,
    *,
    at: datetime,
    revocation: RevocationAnswering | None,
    policy: RevocationPolicy,
) -> FileVerification:
    """The verdicts over a file whose facts are known; see ``verify_pdf``."""
    if facts.problem:
        findings = [_finding(SignatureFacts(field_name=""), [facts.problem])]
    else:
        findings = _Court(facts=facts, trust=trust, at=at, revocation=revocation, policy=policy).findings()
    # A timestamp proves when a document existed, but nobody has put a name to it.
    if all(finding.timestamp for finding in findings):
        findings = [finding for finding in findings if finding.verdict is Verdict.INVALID]
    counting = [each.verdict for each in findings if not each.timestamp or each.verdict is Verdict.INVALID]
    verdict = _worst(counting) if findings else Verdict.UNSIGNED
    return FileVerification(part=part_name, verdict=verdict, signatures=tuple(findings))


def explain(reason: str, language: Language) -> str:
    """A reason or note of ``SignatureFinding`` as a sentence, with what to do; an unknown code explains itself."""
    entry = catalogue().get(f"verify.{reason}")
    if entry is None:
        return reason
    return f"{entry[language]} → {entry[f'next_{language}']}"


@dataclass(frozen=True, kw_only=True)
class _Proof:
    """The earliest time at which a signature is known to have existed; ``at`` None: nothing proves any."""

    at: datetime | None = None
    source: TimeSource = TimeSource.NONE
    notes: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Examined:
    """What was found about a certificate and those above it. ``embedded``: the file's own answers sufficed for all."""

    chain: Chain
    standing: Standing
    reasons: tuple[str, ...]
    embedded: bool
    origin: str = ""


@dataclass(frozen=True, kw_only=True)
class _Court:
    """Judges one file. ``at`` is now."""

    facts: FileFacts
    trust: TrustStore
    at: datetime
    revocation: RevocationAnswering | None
    policy: RevocationPolicy

    def findings(self) -> list[SignatureFinding]:
        """In signing order. Judged from the last to the first: what a later timestamp proves helps an earlier one."""
        found: list[SignatureFinding] = []
        proven = _Proof()
        archived = False
        for signature in reversed(self.facts.signatures):
            try:
                finding, proven, archived = self._judged(signature, proven, archived)
            except (ValueError, TypeError, KeyError, OverflowError):
                # A stranger's certificates hold what no parser foresees.
                finding = _finding(signature, ["malformed-signature"])
            found.append(finding)
        return found[::-1]

    def _judged(
        self, signature: SignatureFacts, proven: _Proof, archived: bool
    ) -> tuple[SignatureFinding, _Proof, bool]:
        if not signature.certificates:
            return _finding(signature, signature.reasons), proven, archived
        if not signature.document_timestamp:
            return self._signature(signature, proven, archived), proven, archived
        finding = self._timestamp(signature, proven)
        if finding.verdict is Verdict.VALID and signature.stated_at is not None:
            proven = _Proof(at=signature.stated_at, source=TimeSource.DOCUMENT_TIMESTAMP)
            archived = archived or signature.security_store
        return finding, proven, archived

    def _timestamp(self, signature: SignatureFacts, proven: _Proof) -> SignatureFinding:
        reasons, examined = self._token_problems(
            signature.reasons, signature.certificates, signature.stated_at, proven.at or self.at
        )
        finding = _finding(signature, reasons, signed_at=signature.stated_at, time_source=TimeSource.DOCUMENT_TIMESTAMP)
        return _with_certificate(finding, signature, examined)

    def _signature(self, signature: SignatureFacts, later: _Proof, archived: bool) -> SignatureFinding:
        proof = self._earliest(signature.timestamps, later)
        moment = proof.at or signature.stated_at or self.at
        leaf = x509.Certificate.load(signature.certificates[0])
        examined = self._examined(
            signature.certificates, moment, asked_for=proof.at or min(self.at, leaf.not_valid_after), proof=proof
        )
        reasons = [*signature.reasons, *proof.reasons, *examined.reasons]
        notes = list(proof.notes)
        if proof.at is None and moment > self.at + _CLOCK_TOLERANCE:
            reasons.append("signed-in-the-future")
        if not _may_sign(leaf):
            reasons.append("certificate-not-for-signing")
        if proof.at is None and moment <= leaf.not_valid_after < self.at:
            notes.append("time-not-proven")
        if _differ(proof.at, signature.stated_at):
            notes.append("stated-time-differs")
        if not _is_pades(signature):
            notes.append("not-pades")
        status = examined.standing
        if status.status is RevocationStatus.REVOKED and not {"certificate-revoked", *_REVOKED} & set(reasons):
            notes.append("revoked-later")
        stated = TimeSource.STATED if signature.stated_at else TimeSource.NONE
        finding = _finding(
            signature,
            reasons,
            signed_at=proof.at or signature.stated_at,
            time_source=proof.source if proof.at else stated,
            level=_level(signature, proof, examined, archived),
            notes=tuple(dict.fromkeys(notes)),
        )
        return _with_certificate(finding, signature, examined)

    def _earliest(self, tokens: Sequence[TokenFacts], later: _Proof) -> _Proof:
        """The earliest proven time among a signature's own timestamps and the later ones over the document."""
        best, notes, reasons = later, [], []
        for token in tokens:
            problems, _ = self._token_problems(token.reasons, token.certificates, token.at, later.at or self.at)
            if not problems and token.at is not None and (best.at is None or token.at <= best.at):
                best = _Proof(at=token.at, source=TimeSource.SIGNATURE_TIMESTAMP)
            elif {"digest-mismatch", "signature-mismatch", "malformed-signature"} & set(problems):
                reasons.append("timestamp-mismatch")
            elif problems:
                notes.append("timestamp-untrusted")
        if best.source is TimeSource.SIGNATURE_TIMESTAMP:
            notes = []
        return replace(best, notes=tuple(notes), reasons=tuple(reasons))

    def _token_problems(
        self, own: Sequence[str], certificates: Sequence[bytes], made: datetime | None, known_since: datetime
    ) -> tuple[list[str], _Examined | None]:
        """Why a timestamp proves nothing. Its authority must have been good when it was made, and good still when the
        next proof of its existence was made (``known_since``): its key may have been stolen in between. When nobody
        can be asked about that, an answer from after the timestamp does, or files could not be judged on their own."""
        if not certificates or made is None:
            return [*own, *(() if own else ("malformed-signature",))], None
        proof = _Proof(at=known_since)
        examined = self._examined(certificates, known_since, asked_for=known_since, proof=proof, or_at=made)
        problems = [*own, *examined.reasons]
        if made > known_since + _CLOCK_TOLERANCE:
            problems.append("signed-in-the-future")
        signer = x509.Certificate.load(certificates[0])
        if made < signer.not_valid_before:
            problems.append("certificate-not-yet-valid")
        purposes = signer.extended_key_usage_value
        if purposes is None or "time_stamping" not in purposes.native:
            problems.append("certificate-not-for-signing")
        return problems, examined

    def _examined(
        self,
        certificates: Sequence[bytes],
        moment: datetime,
        *,
        asked_for: datetime,
        proof: _Proof,
        or_at: datetime | None = None,
    ) -> _Examined:
        """A certificate and its way up at ``moment``. Revocation is asked for the time ``asked_for``,
        and if nothing is said of that, for ``or_at``."""
        leaf = x509.Certificate.load(certificates[0])
        brought = dict.fromkeys((*certificates[1:], *self.facts.certificates))
        chain = find_chain(self.trust, leaf, [x509.Certificate.load(der) for der in brought], moment)
        if chain.problem or self.policy == "off":
            none = Standing(status=RevocationStatus.NOT_CHECKED)
            return _Examined(
                chain=chain, standing=none, reasons=(chain.problem,) if chain.problem else (), embedded=False
            )
        pairs = list(zip(chain.certificates, chain.certificates[1:], strict=False))[:_LONGEST_CHAIN]
        asked = [self._asked(subject, issuer, asked_for, or_at) for subject, issuer in pairs]
        reasons = [
            reason
            for number, (standing_, unreachable, _) in enumerate(asked)
            for reason in self._revocation_reasons(standing_, unreachable, moment, proof, above=number > 0)
        ]
        first = asked[0] if asked else (Standing(status=RevocationStatus.NOT_OFFERED), False, "")
        good = (RevocationStatus.GOOD, RevocationStatus.REVOKED)
        sufficed = all(origin == "embedded" or each.status is RevocationStatus.NOT_OFFERED for each, _, origin in asked)
        return _Examined(
            chain=chain,
            standing=first[0],
            reasons=tuple(dict.fromkeys(reasons)),
            embedded=bool(asked) and sufficed and first[0].status in good,
            origin=first[2],
        )

    def _asked(
        self, subject: bytes, issuer: bytes, moment: datetime, or_at: datetime | None
    ) -> tuple[Standing, bool, str]:
        """What is known of one certificate, whether somebody could not be reached, and where the answer came from."""
        ocsps, crls = self.facts.ocsps, self.facts.crls
        told = standing(subject, issuer, moment=moment, ocsps=ocsps, crls=crls)
        if told.status is not RevocationStatus.UNKNOWN:
            return told, False, "embedded"
        if not names_somebody_to_ask(subject):
            return Standing(status=RevocationStatus.NOT_OFFERED), False, ""
        fetched = self.revocation.answers(subject, issuer) if self.revocation else None
        if fetched is not None:
            told = standing(subject, issuer, moment=moment, ocsps=fetched.ocsps, crls=fetched.crls)
            if told.status is not RevocationStatus.UNKNOWN:
                return told, False, "fetched"
        if or_at is not None:
            told = standing(subject, issuer, moment=or_at, ocsps=ocsps, crls=crls)
        unreachable = fetched is not None and fetched.unreachable and told.status is RevocationStatus.UNKNOWN
        return told, unreachable, "embedded"

    def _revocation_reasons(
        self, found: Standing, unreachable: bool, moment: datetime, proof: _Proof, *, above: bool
    ) -> Iterable[str]:
        if found.status is RevocationStatus.REVOKED and found.revoked_at is not None:
            if found.revoked_at <= moment:
                yield "issuer-revoked" if above else "certificate-suspended" if found.held else "certificate-revoked"
            elif proof.at is None:
                yield "issuer-revoked" if above else "revoked-no-proof-of-time"
        elif found.status is RevocationStatus.UNKNOWN:
            yield "revocation-unreachable" if unreachable else "revocation-unknown"
        elif found.status is RevocationStatus.NOT_OFFERED and self.policy == "required":
            yield "revocation-unknown"


_REVOKED = frozenset({"certificate-suspended", "revoked-no-proof-of-time"})


def _level(signature: SignatureFacts, proof: _Proof, examined: _Examined, archived: bool) -> SignatureLevel | None:
    """The level that the signature is found to have, by what holds and not by what is there."""
    if not _is_pades(signature):
        return None
    if proof.at is None:
        return SignatureLevel.BASIC
    if not examined.embedded:
        return SignatureLevel.TIMESTAMPED
    return SignatureLevel.ARCHIVE if archived else SignatureLevel.LONG_TERM


def _is_pades(signature: SignatureFacts) -> bool:
    """EN 319 142-1 clause 5 and 6.3: the CAdES form, and the signer's certificate among what is signed."""
    return signature.format == "ETSI.CAdES.detached" and signature.names_signer


def _differ(proven: datetime | None, stated: datetime | None) -> bool:
    return proven is not None and stated is not None and abs(proven - stated) > timedelta(hours=1)


def _may_sign(certificate: x509.Certificate) -> bool:
    purposes, usage = certificate.extended_key_usage_value, certificate.key_usage_value
    if purposes is not None and _OTHER_PURPOSES.issuperset(purposes.native):
        return False
    return usage is None or not _SIGNING_USAGES.isdisjoint(usage.native)


def _finding(
    signature: SignatureFacts,
    reasons: Iterable[str],
    *,
    signed_at: datetime | None = None,
    time_source: TimeSource = TimeSource.NONE,
    level: SignatureLevel | None = None,
    notes: tuple[str, ...] = (),
) -> SignatureFinding:
    kept = tuple(dict.fromkeys(reasons))
    return SignatureFinding(
        field_name=signature.field_name,
        signer="",
        verdict=_worst(REASONS[reason] for reason in kept),
        reasons=kept,
        signed_at=_in_vietnam(signed_at),
        timestamp=signature.document_timestamp,
        level=level,
        format=signature.format,
        time_source=time_source,
        stated_at=_in_vietnam(signature.stated_at),
        coverage=signature.coverage,
        changes=signature.changes,
        algorithms=signature.algorithms,
        notes=notes,
    )


def _with_certificate(
    finding: SignatureFinding, signature: SignatureFacts, examined: _Examined | None
) -> SignatureFinding:
    subject = subject_of(signature.certificates[0]) if signature.certificates else None
    if subject is None or examined is None:
        return finding
    serial = x509.Certificate.load(signature.certificates[0]).serial_number
    status = examined.standing
    at_the_time = status.status
    if at_the_time is RevocationStatus.REVOKED and "revoked-later" in finding.notes:
        at_the_time = RevocationStatus.GOOD
    return replace(
        finding,
        signer=subject.holder,
        certificate_serial=f"{serial:x}",
        party=subject.party,
        organization=subject.organization,
        identifiers=subject.identifiers,
        chain=tuple(subject_of(der).holder for der in examined.chain.certificates),
        revocation=at_the_time,
        revocation_by=f"{status.by} {examined.origin}" if status.by else "",
        revoked_at=_in_vietnam(status.revoked_at),
    )


def _in_vietnam(moment: datetime | None) -> datetime | None:
    return moment.astimezone(VIETNAM) if moment else None


def _worst(verdicts: Iterable[Verdict]) -> Verdict:
    return max(verdicts, key=_SEVERITY.index, default=Verdict.VALID)
