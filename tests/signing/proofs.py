"""Whoever asks for proof against the served authorities, files to raise, and pyHanko's opinion of what came out."""

from __future__ import annotations

import asyncio
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from asn1crypto import crl, ocsp, pem, x509
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign import PdfSignatureMetadata, PdfSigner, SimpleSigner
from pyhanko.sign.fields import SigSeedSubFilter
from pyhanko.sign.validation import async_validate_pdf_signature, async_validate_pdf_timestamp
from pyhanko.sign.validation.ades import ades_basic_validation, ades_lta_validation, ades_with_time_validation
from pyhanko.sign.validation.dss import DocumentSecurityStore
from pyhanko.sign.validation.policy_decl import (
    LocalKnowledge,
    PdfSignatureValidationSpec,
    RevinfoOnlineFetchingRule,
    RevocationInfoGatheringSpec,
    SignatureValidationSpec,
)
from pyhanko_certvalidator.authority import CertTrustAnchor
from pyhanko_certvalidator.context import CertValidationPolicySpec
from pyhanko_certvalidator.policy_decl import (
    NO_REVOCATION,
    REQUIRE_REVINFO,
    CertRevTrustPolicy,
    FreshnessReqType,
    RevocationCheckingPolicy,
)
from pyhanko_certvalidator.registry import SimpleCertificateStore, SimpleTrustManager
from pyhanko_certvalidator.revinfo.archival import CRLContainer, OCSPContainer

from lienthong.model import SignatureLevel
from lienthong.signing import pades
from lienthong.signing.proof.levels import TIMESTAMP_ROOM, raise_level
from lienthong.signing.proof.revocation import RevocationSource
from lienthong.signing.proof.timestamps import TimestampAuthorities
from lienthong.signing.verification.trust import TrustStore

from .authorities import Authorities
from .workshop import asker, credential_of


def real_time() -> datetime:
    return datetime.now(UTC)


@dataclass(kw_only=True)
class Proofs:
    """A desk that raises levels. ``timestamps`` and ``revocation`` keep their pauses and answers as in the daemon."""

    authorities: Authorities
    timestamps: TimestampAuthorities
    revocation: RevocationSource
    trust: TrustStore
    letter: Path
    folder: Path

    def signed(self, label: str = "agency", *, name: str = "signed.pdf", room: int = TIMESTAMP_ROOM) -> Path:
        """The letter, signed here a moment ago with the key of this label."""
        return self.signed_again(self.letter, label, name=name, room=room)

    def signed_again(self, source: Path, label: str, *, name: str, room: int = TIMESTAMP_ROOM) -> Path:
        key, target = self.authorities.key(label), self.folder / name
        credential, sign = credential_of(key, self.authorities.now), asker(key, self.authorities.now)
        pades.sign_pdf(source, target, credential=credential, sign=sign, at=real_time(), room=room)
        return target

    def signed_elsewhere(self, label: str = "agency", *, name: str = "elsewhere.pdf") -> Path:
        """The letter, signed by another tool that embeds nothing but the signer's own certificate."""
        key, target = self.authorities.key(label), self.folder / name
        whole = SimpleSigner.load_pkcs12(str(key.path), passphrase=key.password.encode())
        signer = SimpleSigner(
            signing_cert=whole.signing_cert, signing_key=whole.signing_key, cert_registry=SimpleCertificateStore()
        )
        metadata = PdfSignatureMetadata(field_name="VGCA", subfilter=SigSeedSubFilter.PADES, md_algorithm="sha256")
        with self.letter.open("rb") as stream, target.open("w+b") as output:
            PdfSigner(metadata, signer).sign_pdf(IncrementalPdfFileWriter(stream), output=output)
        return target

    def raised(self, path: Path, level: SignatureLevel, *, ours: bool = True) -> SignatureLevel:
        return raise_level(
            path,
            level,
            timestamps=self.timestamps,
            revocation=self.revocation,
            trust=self.trust,
            at=real_time(),
            ours=ours,
        )


def judged_by_pyhanko(path: Path, authorities: Authorities, level: SignatureLevel) -> str:
    """pyHanko's verdict on the last signature as one of this level (EN 319 102-1 clauses 5.3, 5.5, 5.6).

    It gets the roots and no network; from B-LT on it wants every certificate shown not to be revoked, out of the file.
    """
    proven = level.reaches(SignatureLevel.LONG_TERM)
    with path.open("rb") as stream:
        signature = PdfFileReader(stream).embedded_regular_signatures[-1]
        known = _stored(signature.reader) if proven else LocalKnowledge(known_certs=_authorities_between(authorities))
        specification = SignatureValidationSpec(
            cert_validation_policy=_policy(authorities, REQUIRE_REVINFO if proven else NO_REVOCATION),
            revinfo_gathering_policy=RevocationInfoGatheringSpec(RevinfoOnlineFetchingRule.LOCAL_ONLY),
            local_knowledge=known,
        )
        if level is SignatureLevel.ARCHIVE:
            judging = ades_lta_validation(signature, PdfSignatureValidationSpec(specification))
        else:
            clause = ades_basic_validation if level is SignatureLevel.BASIC else ades_with_time_validation
            judging = clause(signature.signed_data, specification, raw_digest=signature.compute_digest())
        result = asyncio.run(judging)
    return str(result.ades_subindic)


def accepted_by_pyhanko(path: Path, authorities: Authorities) -> bool:
    """Whether pyHanko finds the last signature and all document timestamps good, with what the file has and no network.

    Unlike its judgement by clause 5.6, this does not insist on a timestamp inside the signature.
    """
    roots = _certificates(authorities.roots)
    with path.open("rb") as stream:
        reader = PdfFileReader(stream)
        store = DocumentSecurityStore.read_dss(reader)
        stamps = reader.embedded_timestamp_signatures
        moment = stamps[0].self_reported_timestamp
        # Answers are younger than the moment that they are asked about, as they should be.
        options = {"trust_roots": roots, "allow_fetching": False, "retroactive_revinfo": True}
        context = store.as_validation_context({**options, "moment": moment, "revocation_mode": "require"})
        signature = reader.embedded_regular_signatures[-1]
        good = [asyncio.run(async_validate_pdf_signature(signature, context)).bottom_line]
        for stamp in stamps:
            context = store.as_validation_context({**options, "moment": stamp.self_reported_timestamp})
            status = asyncio.run(async_validate_pdf_timestamp(stamp, context))
            good.append(status.intact and status.valid and status.trusted)
    return all(good)


def _policy(authorities: Authorities, revocation: RevocationCheckingPolicy) -> CertValidationPolicySpec:
    roots = [CertTrustAnchor(root) for root in _certificates(authorities.roots)]
    freshness = CertRevTrustPolicy(revocation, freshness_req_type=FreshnessReqType.DEFAULT)
    return CertValidationPolicySpec(trust_manager=SimpleTrustManager.build(roots), revinfo_policy=freshness)


def _authorities_between(authorities: Authorities) -> list[x509.Certificate]:
    return _certificates(authorities.intermediates)


def _stored(reader: PdfFileReader) -> LocalKnowledge:
    store = DocumentSecurityStore.read_dss(reader)
    responses = [ocsp.OCSPResponse.load(reference.get_object().data) for reference in store.ocsps]
    lists = [crl.CertificateList.load(reference.get_object().data) for reference in store.crls]
    return LocalKnowledge(
        known_ocsps=[one for response in responses for one in OCSPContainer.load_multi(response)],
        known_crls=[CRLContainer(one) for one in lists],
        known_certs=list(store.load_certs()),
    )


def pdfsig(path: Path) -> str:
    return subprocess.run(["pdfsig", "-nocert", str(path)], capture_output=True, text=True, check=True).stdout


def _certificates(path: Path) -> list[x509.Certificate]:
    return [x509.Certificate.load(der) for _, _, der in pem.unarmor(path.read_bytes(), multiple=True)]
