"""A signature outlives its certificates when timestamps hand its proof on (EN 319 142-1 clause 6, level B-LTA)."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, pkcs12
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.sign import signers, timestamps
from pyhanko.sign.fields import SigSeedSubFilter
from pyhanko.sign.signers.cms_embedder import PdfCMSEmbedder, SigIOSetup, SigObjSetup
from pyhanko.sign.signers.pdf_byterange import SignatureObject

from lienthong.model import TimeSource, Verdict
from lienthong.signing.verification.trust import TrustStore
from lienthong.signing.verification.verify import verify_pdf
from lienthong_conformance.pki import KeyFile

from .workshop import NOW

DAY = timedelta(days=1)
ARCHIVED, YEARS_LATER = NOW + 200 * DAY, NOW + 800 * DAY
"""The agency's certificate and the first authority's end between the two."""


@pytest.fixture(scope="module")
def later_authority(tmp_path_factory):
    """A timestamp authority that is a root of its own and lives long."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Dấu thời gian về sau")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).serial_number(9)
    builder = builder.not_valid_before(NOW).not_valid_after(NOW + 3000 * DAY).public_key(key.public_key())
    purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING])
    certificate = builder.add_extension(purpose, critical=True).sign(key, hashes.SHA256())
    path = tmp_path_factory.mktemp("later") / "later.p12"
    path.write_bytes(pkcs12.serialize_key_and_certificates(None, key, certificate, None, BestAvailableEncryption(b"x")))
    return KeyFile(path=path, password="x", certificate=certificate.public_bytes(Encoding.DER))


@pytest.fixture(scope="module")
def timestamped(letter, agency, pki, tmp_path_factory):
    """The letter with a B-T signature of ``NOW``."""
    target = tmp_path_factory.mktemp("timestamped") / "signed.pdf"
    signer = signers.SimpleSigner.load_pkcs12(str(agency.path), passphrase=agency.password.encode())
    with letter.open("rb") as stream, target.open("w+b") as output:
        steps = PdfCMSEmbedder().write_cms("Signature1", IncrementalPdfFileWriter(stream))
        next(steps)
        placeholder = SignatureObject(timestamp=NOW, subfilter=SigSeedSubFilter.PADES, bytes_reserved=32768)
        steps.send(SigObjSetup(sig_placeholder=placeholder))
        place, _ = steps.send(SigIOSetup(md_algorithm="sha256", output=output))
        clock = clock_of(pki.timestamper, NOW)
        steps.send(asyncio.run(signer.async_sign(place.document_digest, "sha256", use_pades=True, timestamper=clock)))
    return target


@pytest.fixture(scope="module")
def archived(timestamped, later_authority, tmp_path_factory):
    target = tmp_path_factory.mktemp("archived") / "archived.pdf"
    with timestamped.open("rb") as stream, target.open("w+b") as output:
        signers.PdfTimeStamper(clock_of(later_authority, ARCHIVED)).timestamp_pdf(
            IncrementalPdfFileWriter(stream), "sha256", validation_context=None, output=output
        )
    return target


def clock_of(key, at):
    loaded = signers.SimpleSigner.load_pkcs12(str(key.path), passphrase=key.password.encode())
    return timestamps.DummyTimeStamper(
        loaded.signing_cert, loaded.signing_key, certs_to_embed=loaded.cert_registry, fixed_dt=at
    )


def found(path, trust, *more, at=YEARS_LATER):
    everybody = TrustStore(roots=(*trust.roots, *more), intermediates=trust.intermediates)
    return verify_pdf(path, path.name, everybody, at=at)


def test_the_archive_timestamp_keeps_the_first_one_proven(archived, trust, later_authority):
    verification = found(archived, trust, later_authority.certificate)
    signature, stamp = verification.signatures
    assert verification.verdict is Verdict.VALID
    assert (signature.time_source, signature.signed_at, signature.notes) == (TimeSource.SIGNATURE_TIMESTAMP, NOW, ())
    assert stamp.verdict is Verdict.VALID


def test_without_it_nothing_proves_the_time_any_more(timestamped, trust):
    (signature,) = found(timestamped, trust).signatures
    assert signature.time_source is TimeSource.STATED
    assert set(signature.notes) == {"timestamp-untrusted", "time-not-proven"}


def test_an_archive_timestamp_that_is_not_trusted_hands_nothing_on(archived, trust):
    signature, stamp = found(archived, trust).signatures
    assert (signature.time_source, stamp.reasons) == (TimeSource.STATED, ("unknown-issuer",))


def test_while_all_is_young_the_first_timestamp_is_enough(timestamped, trust):
    (signature,) = found(timestamped, trust, at=NOW + DAY).signatures
    assert (signature.time_source, signature.notes) == (TimeSource.SIGNATURE_TIMESTAMP, ())
