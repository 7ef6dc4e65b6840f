"""What a signature is worth, case by case: a file, trust, who answers about revocation, and what must come out.

``theirs`` is what pyHanko's own validator says of the same file with the same trust and answers (all signatures good).
Where the two differ, ``why`` says why ours is meant. ``poppler`` is what pdfsig, which trusts nobody here, says of the
bytes alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
from asn1crypto import ocsp
from pyhanko.pdf_utils.generic import NullObject, pdf_name
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.fields import MDPPerm, SigSeedSubFilter
from pyhanko.sign.validation import async_validate_pdf_signature
from pyhanko_certvalidator import ValidationContext

from lienthong.http import HttpClient, HttpSettings
from lienthong.model import FileVerification, SignatureLevel, Verdict
from lienthong.signing.verification.trust import TrustStore, load_trust
from lienthong.signing.verification.verify import verify_pdf

from .authorities import Authorities, Fault
from .forge import Forge, Manner, Token
from .proofs import _certificates as certificates_in
from .proofs import pdfsig
from .workshop import add_text_field, reasons, updating

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
NO_TIME = timedelta()
VALID, INVALID, UNDECIDED, UNSIGNED = Verdict.VALID, Verdict.INVALID, Verdict.UNTRUSTED, Verdict.UNSIGNED
INTACT, GOES_ON, BROKEN = "intact", "goes on after the last signature", "a digest does not match"
ADBE = SigSeedSubFilter.ADOBE_PKCS7_DETACHED
BOTH_DOWN = {"ocsp": Fault.DOWN, "crl": Fault.DOWN}


@dataclass(frozen=True, kw_only=True)
class Case:
    """``trust``: usual, roots (no intermediates), foreign, nobody. ``faults``: of the services while it is checked."""

    name: str
    file: Callable[[Forge], Path]
    verdict: Verdict
    reasons: frozenset[str] = frozenset()
    notes: frozenset[str] = frozenset()
    level: SignatureLevel | None = None
    trust: str = "usual"
    online: bool = True
    policy: str = "when-offered"
    faults: dict[str, Fault] = field(default_factory=dict)
    at: timedelta = timedelta(minutes=1)
    theirs: bool | None = None
    why: str = ""
    poppler: str = ""


def signed(**manner: object) -> Callable[[Forge], Path]:
    return lambda forge: forge.signed(Manner(**manner))  # type: ignore[arg-type]


def token(after: timedelta = NO_TIME, **more: object) -> Token:
    return Token(after=after, **more)  # type: ignore[arg-type]


def long_term(forge: Forge, key: str = "agency", after: timedelta = NO_TIME) -> Path:
    return forge.stored(forge.signed(Manner(key=key, stated=after, token=token(after))), after + HOUR, [key, "tsa"])


def archived(forge: Forge, key: str = "agency", after: timedelta = NO_TIME) -> Path:
    return forge.stamped(long_term(forge, key, after), after + 2 * HOUR)


def several(*keys: str) -> Callable[[Forge], Path]:
    def make(forge: Forge) -> Path:
        path = forge.letter
        for key in keys:
            path = forge.signed(Manner(key=key), path)
        return path

    return make


def with_field(forge: Forge) -> Path:
    path = forge.folder / "form.pdf"
    with updating(forge.letter, path) as writer:
        add_text_field(writer, "number", "")
    return path


def hidden(forge: Forge) -> Path:
    path = forge.folder / "hidden.pdf"
    with updating(forge.signed(), path) as writer:
        writer.root[pdf_name("/AcroForm")] = NullObject()
        writer.update_root()
    return path


def cut(forge: Forge) -> Path:
    path = forge.folder / "cut.pdf"
    content = forge.signed().read_bytes()
    path.write_bytes(content[: len(content) // 2].replace(b"obj", b"oXj") + b"/ByteRange")
    return path


CASES = [
    # --- good ---
    Case(name="the agency", file=signed(), verdict=VALID, level=SignatureLevel.BASIC, theirs=True, poppler=INTACT),
    Case(name="a person", file=signed(key="person"), verdict=VALID, theirs=True),
    Case(name="elliptic key", file=signed(key="elliptic"), verdict=VALID, theirs=True, poppler=INTACT),
    Case(
        name="B-T",
        file=signed(token=token()),
        verdict=VALID,
        level=SignatureLevel.TIMESTAMPED,
        theirs=True,
        poppler=INTACT,
    ),
    Case(
        name="B-LT without network",
        file=long_term,
        online=False,
        at=2 * HOUR,
        verdict=VALID,
        level=SignatureLevel.LONG_TERM,
        theirs=True,
        poppler=GOES_ON,
    ),
    Case(
        name="B-LTA",
        file=lambda forge: archived(forge, after=-3 * HOUR),
        verdict=VALID,
        level=SignatureLevel.ARCHIVE,
        theirs=True,
        poppler=INTACT,
    ),
    Case(
        name="B-LTA without network: nobody vouches for the last timestamp",
        file=archived,
        online=False,
        at=3 * HOUR,
        verdict=VALID,
        reasons=frozenset({"revocation-unknown"}),
        level=SignatureLevel.LONG_TERM,
        theirs=True,
    ),
    Case(name="person, then agency", file=several("person", "agency"), verdict=VALID, theirs=True, poppler=INTACT),
    Case(
        name="five signatures",
        file=several("person", "agency", "person", "elliptic", "agency"),
        verdict=VALID,
        theirs=True,
        poppler=INTACT,
    ),
    Case(
        name="older form (adbe.pkcs7.detached)",
        file=signed(subfilter=ADBE),
        verdict=VALID,
        notes=frozenset({"not-pades"}),
        theirs=True,
        poppler=INTACT,
    ),
    Case(
        name="local time written as UTC",
        file=signed(stated_inside=7 * HOUR, subfilter=ADBE),
        verdict=VALID,
        notes=frozenset({"not-pades"}),
        theirs=True,
    ),
    Case(name="only the leaf inside, completed", file=signed(leaf_only=True), verdict=VALID, theirs=True),
    # --- trust ---
    Case(
        name="only the leaf inside, not completed",
        file=signed(leaf_only=True),
        trust="roots",
        verdict=UNDECIDED,
        reasons=frozenset({"unknown-issuer"}),
        theirs=False,
    ),
    Case(
        name="foreign root",
        file=signed(key="foreign"),
        verdict=UNDECIDED,
        reasons=frozenset({"unknown-issuer"}),
        theirs=False,
        poppler=INTACT,
    ),
    Case(name="foreign root that is trusted", file=signed(key="foreign"), trust="foreign", verdict=VALID, theirs=True),
    Case(
        name="nobody is trusted",
        file=signed(),
        trust="nobody",
        verdict=UNDECIDED,
        reasons=frozenset({"unknown-issuer"}),
    ),
    Case(
        name="good and foreign",
        file=several("agency", "foreign"),
        verdict=UNDECIDED,
        reasons=frozenset({"unknown-issuer"}),
        theirs=False,
    ),
    Case(
        name="certificate of a web server",
        file=signed(key="wrong_usage"),
        verdict=UNDECIDED,
        reasons=frozenset({"certificate-not-for-signing"}),
        theirs=False,
    ),
    # --- time ---
    Case(
        name="expired since, time only stated",
        file=signed(key="expired", stated=-10 * DAY),
        verdict=VALID,
        notes=frozenset({"time-not-proven"}),
        theirs=False,
        why="the signer's statement is believed unless something speaks against it; theirs knows only now",
    ),
    Case(
        name="expired when signing",
        file=signed(key="expired"),
        verdict=UNDECIDED,
        reasons=frozenset({"certificate-expired"}),
        theirs=False,
    ),
    Case(
        name="expired since, timestamped while valid",
        file=signed(key="expired", stated=-10 * DAY, token=token(-10 * DAY)),
        verdict=VALID,
        level=SignatureLevel.TIMESTAMPED,
        theirs=False,
        why="the timestamp proves it; their plain validator judges by now and leaves this to their AdES functions",
    ),
    Case(
        name="expired since, archived while valid",
        file=lambda forge: archived(forge, "expired", -10 * DAY),
        verdict=VALID,
        level=SignatureLevel.ARCHIVE,
        theirs=False,
        why="as above",
    ),
    Case(
        name="timestamped after it expired, stated before",
        file=signed(key="expired", stated=-10 * DAY, token=token()),
        verdict=UNDECIDED,
        reasons=frozenset({"certificate-expired"}),
        notes=frozenset({"stated-time-differs"}),
        theirs=False,
    ),
    Case(
        name="not yet valid",
        file=signed(key="not_yet"),
        verdict=UNDECIDED,
        reasons=frozenset({"certificate-not-yet-valid"}),
        theirs=False,
    ),
    Case(
        name="signed in the future",
        file=signed(stated=2 * HOUR),
        verdict=UNDECIDED,
        reasons=frozenset({"signed-in-the-future"}),
        theirs=True,
        why="theirs does not look at the stated time",
    ),
    Case(name="no time stated", file=signed(stated=None), verdict=VALID, theirs=True),
    Case(
        name="timestamp of an unknown authority",
        file=signed(token=token(authority="foreign-tsa")),
        verdict=VALID,
        notes=frozenset({"timestamp-untrusted"}),
        level=SignatureLevel.BASIC,
        theirs=False,
        why="what proves nothing takes nothing away",
    ),
    Case(
        name="timestamp by who may not make any",
        file=signed(token=token(authority="purposeless-tsa")),
        verdict=VALID,
        notes=frozenset({"timestamp-untrusted"}),
        theirs=False,
        why="as above",
    ),
    Case(
        name="timestamp about something else",
        file=signed(token=token(wrong=True)),
        verdict=UNDECIDED,
        reasons=frozenset({"timestamp-mismatch"}),
        theirs=False,
    ),
    Case(
        name="document timestamp of an unknown authority",
        file=lambda forge: forge.stamped(forge.signed(), NO_TIME, "foreign-tsa"),
        verdict=VALID,
        reasons=frozenset({"unknown-issuer"}),
        theirs=True,
    ),
    # --- revocation ---
    Case(
        name="revoked before it was signed",
        file=signed(key="revoked"),
        verdict=INVALID,
        reasons=frozenset({"certificate-revoked"}),
        theirs=False,
    ),
    Case(
        name="revoked since, time only stated",
        file=signed(key="revoked", stated=-2 * DAY),
        verdict=UNDECIDED,
        reasons=frozenset({"revoked-no-proof-of-time"}),
        theirs=False,
    ),
    Case(
        name="revoked (key compromised) since, timestamped before",
        file=signed(key="revoked", stated=-2 * DAY, token=token(-2 * DAY)),
        verdict=VALID,
        notes=frozenset({"revoked-later"}),
        theirs=False,
        why="the timestamp proves it; their plain validator judges by now",
    ),
    Case(
        name="revoked since, document timestamp before",
        file=lambda forge: forge.stamped(forge.signed(Manner(key="revoked", stated=-2 * DAY)), -2 * DAY),
        verdict=VALID,
        notes=frozenset({"revoked-later"}),
        theirs=False,
        why="as above",
    ),
    Case(
        name="revoked, timestamped after",
        file=signed(key="revoked", stated=-2 * DAY, token=token()),
        verdict=INVALID,
        reasons=frozenset({"certificate-revoked"}),
        notes=frozenset({"stated-time-differs"}),
        theirs=False,
    ),
    Case(
        name="revoked since, timestamp of an unknown authority before",
        file=signed(key="revoked", stated=-2 * DAY, token=token(-2 * DAY, authority="foreign-tsa")),
        verdict=UNDECIDED,
        reasons=frozenset({"revoked-no-proof-of-time"}),
        notes=frozenset({"timestamp-untrusted"}),
        theirs=False,
    ),
    Case(
        name="revoked since, with an old good answer inside and no proof of time",
        file=lambda forge: forge.stored(forge.signed(Manner(key="revoked", stated=-2 * DAY)), -2 * DAY, ["revoked"]),
        verdict=UNDECIDED,
        reasons=frozenset({"revoked-no-proof-of-time"}),
        theirs=False,
    ),
    Case(
        name="the same without network",
        file=lambda forge: forge.stored(forge.signed(Manner(key="revoked", stated=-2 * DAY)), -2 * DAY, ["revoked"]),
        online=False,
        verdict=UNDECIDED,
        reasons=frozenset({"revocation-unknown"}),
    ),
    Case(
        name="its authority is revoked",
        file=signed(key="below_revoked_ca"),
        verdict=UNDECIDED,
        reasons=frozenset({"issuer-revoked"}),
        theirs=False,
    ),
    Case(name="OCSP is down, the list answers", file=signed(), faults={"ocsp": Fault.DOWN}, verdict=VALID),
    Case(
        name="OCSP and list are down",
        file=signed(),
        faults=BOTH_DOWN,
        verdict=UNDECIDED,
        reasons=frozenset({"revocation-unreachable"}),
    ),
    Case(
        name="OCSP and list are a month old",
        file=signed(),
        faults={"ocsp": Fault.STALE, "crl": Fault.STALE},
        verdict=UNDECIDED,
        reasons=frozenset({"revocation-unreachable"}),
    ),
    Case(
        name="answers with broken signatures",
        file=signed(),
        faults={"ocsp": Fault.TAMPERED, "crl": Fault.TAMPERED},
        verdict=UNDECIDED,
        reasons=frozenset({"revocation-unreachable"}),
    ),
    Case(name="down, but all is inside", file=long_term, faults=BOTH_DOWN, at=2 * HOUR, verdict=VALID),
    Case(
        name="nobody is asked",
        file=signed(),
        online=False,
        verdict=UNDECIDED,
        reasons=frozenset({"revocation-unknown"}),
    ),
    Case(name="nobody need be asked", file=signed(), online=False, policy="off", verdict=VALID),
    Case(name="nobody could be asked", file=signed(key="silent"), verdict=VALID),
    Case(
        name="nobody could be asked, and somebody must",
        file=signed(key="silent"),
        policy="required",
        verdict=UNDECIDED,
        reasons=frozenset({"revocation-unknown"}),
    ),
    # --- algorithms ---
    Case(
        name="SHA-1 over the document",
        file=signed(digest="sha1"),
        verdict=UNDECIDED,
        reasons=frozenset({"weak-digest"}),
        theirs=False,
    ),
    Case(
        name="SHA-1 in the certificate",
        file=signed(key="weak_digest"),
        verdict=UNDECIDED,
        reasons=frozenset({"weak-digest"}),
        theirs=False,
    ),
    Case(
        name="RSA of 1024 bits",
        file=signed(key="weak"),
        verdict=UNDECIDED,
        reasons=frozenset({"weak-key"}),
        theirs=False,
    ),
    # --- the document ---
    Case(
        name="a changed byte",
        file=lambda forge: forge.altered(forge.signed()),
        verdict=INVALID,
        reasons=frozenset({"digest-mismatch"}),
        theirs=False,
        poppler=BROKEN,
    ),
    Case(
        name="a changed byte under a timestamp",
        file=lambda forge: forge.altered(forge.signed(Manner(token=token()))),
        verdict=INVALID,
        reasons=frozenset({"digest-mismatch"}),
        theirs=False,
        poppler=BROKEN,
    ),
    Case(
        name="a changed byte under an archive timestamp",
        file=lambda forge: forge.altered(archived(forge, after=-3 * HOUR)),
        verdict=INVALID,
        reasons=frozenset({"digest-mismatch"}),
        theirs=False,
        poppler=BROKEN,
    ),
    Case(
        name="new page content",
        file=lambda forge: forge.changed(forge.signed(), "page"),
        verdict=INVALID,
        reasons=frozenset({"modified-after-signing"}),
        theirs=False,
        poppler=GOES_ON,
    ),
    Case(
        name="bytes of no revision",
        file=lambda forge: forge.changed(forge.signed(), "tail"),
        verdict=INVALID,
        reasons=frozenset({"modified-after-signing"}),
        theirs=True,
        why="theirs reads only what the cross-reference tables name; a reader that repairs files shows more",
        poppler=GOES_ON,
    ),
    Case(
        name="a field filled after the last signature",
        file=lambda forge: forge.changed(forge.signed(source=with_field(forge)), "field"),
        verdict=INVALID,
        reasons=frozenset({"modified-after-signing"}),
        theirs=True,
        why="nobody signed what was filled in; theirs permits it to any signature",
        poppler=GOES_ON,
    ),
    Case(
        name="a field filled between two signatures",
        file=lambda forge: forge.signed(source=forge.changed(forge.signed(source=with_field(forge)), "field")),
        verdict=VALID,
        theirs=True,
        poppler=INTACT,
    ),
    Case(
        name="signed again although closed (DocMDP 1)",
        file=lambda forge: forge.signed(source=forge.signed(Manner(permission=MDPPerm.NO_CHANGES))),
        verdict=INVALID,
        reasons=frozenset({"modified-after-signing"}),
        theirs=False,
        poppler=INTACT,
    ),
    Case(
        name="signature removed",
        file=hidden,
        verdict=INVALID,
        reasons=frozenset({"signature-removed"}),
        poppler=GOES_ON,
    ),
    Case(
        name="names another certificate",
        file=signed(names="another"),
        verdict=INVALID,
        reasons=frozenset({"signing-certificate-mismatch"}),
        theirs=False,
        poppler=INTACT,
    ),
    Case(
        name="names no certificate",
        file=signed(names="nothing"),
        verdict=VALID,
        notes=frozenset({"not-pades"}),
        theirs=True,
    ),
    Case(
        name="a form that is not checked",
        file=lambda forge: forge.rewritten(
            forge.signed(Manner(subfilter=ADBE)), b"/adbe.pkcs7.detached", b"/adbe.pkcs7.sha1    "
        ),
        verdict=UNDECIDED,
        reasons=frozenset({"unsupported-format"}),
        theirs=False,
    ),
    Case(name="asks for a password", file=lambda f: f.locked(), verdict=INVALID, reasons=frozenset({"encrypted"})),
    Case(name="damaged", file=cut, verdict=INVALID, reasons=frozenset({"pdf-damaged"})),
    Case(name="not signed", file=lambda forge: forge.letter, verdict=UNSIGNED),
    Case(name="a timestamp alone", file=lambda forge: forge.stamped(forge.letter, NO_TIME), verdict=UNSIGNED),
]


@pytest.fixture(scope="module")
def forge(authorities: Authorities, letter: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forge]:
    with contextlib.closing(HttpClient(HttpSettings(tries=1), peer="authorities", now=lambda: authorities.now)) as http:
        yield Forge(authorities=authorities, http=http, letter=letter, folder=tmp_path_factory.mktemp("forge"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(case: Case, forge: Forge) -> None:
    path = case.file(forge)
    found = judged(case, forge, path)
    assert (found.verdict, reasons(found)) == (case.verdict, set(case.reasons))
    assert {note for each in found.signatures for note in each.notes} == set(case.notes)
    if case.level is not None:
        assert found.signatures[0].level is case.level
    if case.theirs is not None:
        assert pyhanko_says(case, forge, path) == case.theirs
        assert bool(case.why) == (case.theirs != (case.verdict is VALID))


@pytest.mark.skipif(shutil.which("pdfsig") is None, reason="needs pdfsig: apt-get install poppler-utils")
@pytest.mark.parametrize("case", [case for case in CASES if case.poppler], ids=lambda case: case.name)
def test_poppler_reads_the_bytes_alike(case: Case, forge: Forge) -> None:
    assert poppler_says(case.file(forge)) == case.poppler
    if case.poppler == BROKEN:
        assert case.verdict is INVALID


def test_there_are_enough_cases() -> None:
    assert len(CASES) >= 40
    assert sum(case.theirs is not None for case in CASES) >= 40


def judged(case: Case, forge: Forge, path: Path) -> FileVerification:
    with contextlib.ExitStack() as stack:
        for service, fault in case.faults.items():
            stack.enter_context(forge.authorities.fault(service, fault))
        return verify_pdf(
            path,
            path.name,
            trust_of(case, forge.authorities),
            at=forge.authorities.now + case.at,
            revocation=forge.online() if case.online else None,
            policy=case.policy,  # type: ignore[arg-type]
        )


def trust_of(case: Case, authorities: Authorities) -> TrustStore:
    stores = {
        "usual": authorities.trust,
        "roots": lambda: load_trust([authorities.roots]),
        "foreign": lambda: load_trust([authorities.foreign_roots]),
        "nobody": lambda: TrustStore(roots=()),
    }
    return stores[case.trust]()


def pyhanko_says(case: Case, forge: Forge, path: Path) -> bool:
    """Whether pyHanko finds all signatures good, with the answers that its own client would get."""
    with path.open("rb") as stream:
        try:
            signatures = PdfFileReader(stream, strict=False).embedded_regular_signatures
            return bool(signatures) and all(_pyhanko_accepts(case, forge, each) for each in signatures)
        except Exception:
            return False


def _pyhanko_accepts(case: Case, forge: Forge, signature: object) -> bool:
    world = forge.authorities
    trusted = world.foreign_roots if case.trust == "foreign" else world.roots
    between = certificates_in(world.intermediates) if case.trust == "usual" else []
    context = ValidationContext(
        trust_roots=certificates_in(trusted),
        other_certs=between,
        moment=world.now + case.at,
        allow_fetching=False,
        ocsps=[ocsp.OCSPResponse.load(der) for der in forge.all_ocsps],
        revocation_mode="soft-fail",
        time_tolerance=timedelta(hours=6),
    )
    return asyncio.run(async_validate_pdf_signature(signature, context)).bottom_line  # type: ignore[arg-type]


def poppler_says(path: Path) -> str:
    """Of the signatures alone: pdfsig does not know document timestamps."""
    *before, last = re.split(r"^Signature #\d+:$", pdfsig(path), flags=re.MULTILINE)[1:]
    known = [each for each in (*before, last) if "Signature Type: unknown" not in each]
    if any("Signature Validation: Digest Mismatch." in each for each in known):
        return BROKEN
    assert known
    assert all("Signature Validation: Signature is Valid." in each for each in known)
    return INTACT if "Total document signed" in last else GOES_ON
