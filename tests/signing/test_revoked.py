"""Which answers about revocation count, and for which time."""

from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from lienthong.model import RevocationStatus
from lienthong.signing.verification.revoked import names_somebody_to_ask, standing

from .workshop import NOW

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
KEYS = {name: ec.generate_private_key(ec.SECP256R1()) for name in ("ca", "signer", "responder", "stranger")}
GOOD, REVOKED, UNKNOWN = RevocationStatus.GOOD, RevocationStatus.REVOKED, RevocationStatus.UNKNOWN
Reason = x509.ReasonFlags


def name(value):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, value)])


def certificate(subject, *, issuer="ca", serial=7, until=100 * DAY, extensions=()):
    builder = x509.CertificateBuilder().subject_name(name(subject)).issuer_name(name(issuer)).serial_number(serial)
    builder = builder.not_valid_before(NOW - 100 * DAY).not_valid_after(NOW + until)
    builder = builder.public_key(KEYS[subject].public_key())
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(KEYS[issuer], hashes.SHA256())


CA, SIGNER = certificate("ca"), certificate("signer")
RESPONDER = certificate(
    "responder", until=10_000 * DAY, extensions=[x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING])]
)


def listed(*entries, begin=NOW - HOUR, end=NOW + DAY, by="ca", extensions=()):
    builder = x509.CertificateRevocationListBuilder().issuer_name(name("ca")).last_update(begin).next_update(end)
    for extension in extensions:
        builder = builder.add_extension(extension, critical=True)
    for entry in entries:
        builder = builder.add_revoked_certificate(entry)
    return builder.sign(KEYS[by], hashes.SHA256()).public_bytes(Encoding.DER)


def entry(at, reason=Reason.superseded, invalid=None):
    builder = x509.RevokedCertificateBuilder().serial_number(7).revocation_date(at)
    builder = builder.add_extension(x509.CRLReason(reason), critical=False)
    if invalid is not None:
        builder = builder.add_extension(x509.InvalidityDate(invalid), critical=False)
    return builder.build()


def answered(status=ocsp.OCSPCertStatus.GOOD, *, begin=NOW - HOUR, end=NOW + HOUR, by=None, revoked=None, about=SIGNER):
    responder = by or CA
    key = KEYS[responder.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value]
    builder = ocsp.OCSPResponseBuilder().add_response(
        cert=about,
        issuer=CA,
        algorithm=hashes.SHA1(),
        cert_status=status,
        this_update=begin,
        next_update=end,
        revocation_time=revoked,
        revocation_reason=None,
    )
    builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, responder).certificates([responder])
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def told(*, ocsps=(), crls=(), moment=NOW, signer=SIGNER):
    der = signer.public_bytes(Encoding.DER)
    return standing(der, CA.public_bytes(Encoding.DER), moment=moment, ocsps=ocsps, crls=crls)


@pytest.mark.parametrize("by", [CA, RESPONDER], ids=["the issuer", "whom it appointed"])
def test_the_issuer_or_whom_it_appointed_may_answer(by):
    assert told(ocsps=[answered(by=by)]).status is GOOD


@pytest.mark.parametrize(
    "by",
    [
        SIGNER,
        certificate(
            "stranger", issuer="stranger", extensions=[x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING])]
        ),
    ],
    ids=["a signer", "a stranger"],
)
def test_nobody_else_may(by):
    assert told(ocsps=[answered(by=by)]).status is UNKNOWN


def test_an_answer_about_another_certificate_says_nothing():
    assert told(ocsps=[answered(about=certificate("signer", serial=8))]).status is UNKNOWN


def test_a_list_of_a_stranger_says_nothing():
    assert told(crls=[listed(by="stranger")]).status is UNKNOWN


def test_an_old_answer_says_nothing_of_now_but_of_then():
    old = answered(begin=NOW - 10 * DAY, end=NOW - 9 * DAY)
    assert told(ocsps=[old]).status is UNKNOWN
    assert told(ocsps=[old], moment=NOW - 9.5 * DAY).status is GOOD
    assert told(ocsps=[old], moment=NOW - 20 * DAY).status is GOOD


def test_an_old_answer_that_it_is_revoked_stays_true():
    found = told(crls=[listed(entry(NOW - 20 * DAY), begin=NOW - 10 * DAY, end=NOW - 9 * DAY)], ocsps=[answered()])
    assert (found.status, found.revoked_at, found.by) == (REVOKED, NOW - 20 * DAY, "crl")


def test_a_responder_that_does_not_know_says_nothing():
    assert told(ocsps=[answered(ocsp.OCSPCertStatus.UNKNOWN)]).status is UNKNOWN


def test_a_key_that_was_stolen_earlier_counts_from_then():
    since = NOW - 5 * DAY
    assert told(crls=[listed(entry(NOW - DAY, Reason.key_compromise, invalid=since))]).revoked_at == since


def test_a_hold_ends_with_a_later_answer():
    held = listed(entry(NOW - 2 * DAY, Reason.certificate_hold), begin=NOW - 2 * DAY, end=NOW)
    assert told(crls=[held]).held
    assert told(crls=[held, listed()]).status is GOOD


def test_a_list_forgets_expired_certificates():
    assert told(crls=[listed()], signer=certificate("signer", until=-2 * DAY), moment=NOW - 3 * DAY).status is UNKNOWN


@pytest.mark.parametrize(
    "extension",
    [
        x509.DeltaCRLIndicator(1),
        x509.IssuingDistributionPoint(None, None, False, True, None, False, False),
        x509.IssuingDistributionPoint(None, None, False, False, None, True, False),
        x509.IssuingDistributionPoint(
            [x509.UniformResourceIdentifier("http://x/1")], None, False, False, None, False, False
        ),
    ],
    ids=["a delta", "of authorities only", "of others", "a part"],
)
def test_the_silence_of_an_incomplete_list_says_nothing(extension):
    assert told(crls=[listed(extensions=[extension])]).status is UNKNOWN


@pytest.mark.parametrize("content", [b"", b"\x30\x00", b"<html>", bytes(1000)])
def test_garbage_says_nothing(content):
    assert told(ocsps=[content], crls=[content]).status is UNKNOWN
    assert standing(content, content, moment=NOW, ocsps=[], crls=[]).status is UNKNOWN


def test_a_certificate_that_cannot_be_read_does_not_pass_as_needing_no_answer():
    assert names_somebody_to_ask(b"")
    assert not names_somebody_to_ask(SIGNER.public_bytes(Encoding.DER))
