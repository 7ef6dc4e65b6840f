"""Whether a certificate was revoked at a certain time, out of answers that others collected.

Answers are OCSP responses (RFC 6960) and revocation lists (RFC 5280 section 5), from the file itself or fetched. Each
counts only when the certificate's issuer signed it, or a responder that the issuer appointed. That a certificate is
revoked is believed of any such answer, however old; that it is not, only of one that speaks of the time in question.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from lienthong.model import RevocationStatus

_CLOCKS_MAY_DIFFER = timedelta(minutes=10)
_WITHOUT_NEXT_UPDATE = timedelta(hours=1)
"""For how long an answer speaks of the present that does not say when the next one is due."""
_WEAK = (hashes.MD5, hashes.SHA1)
_HOLD = x509.ReasonFlags.certificate_hold


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What is known of one certificate. ``by``: ``ocsp`` or ``crl``. ``held``: revoked for the time being only."""

    status: RevocationStatus
    by: str = ""
    revoked_at: datetime | None = None
    held: bool = False


@dataclass(frozen=True, kw_only=True)
class _Statement:
    """What one good answer says of the certificate: good (``revoked_at`` None), revoked since, or unknown."""

    by: str
    begin: datetime
    end: datetime | None
    known: bool = True
    revoked_at: datetime | None = None
    held: bool = False

    def speaks_of(self, moment: datetime) -> bool:
        end = self.end or self.begin + _WITHOUT_NEXT_UPDATE
        return self.begin >= moment - _CLOCKS_MAY_DIFFER or self.begin <= moment <= end


def standing(
    certificate: bytes, issuer: bytes, *, moment: datetime, ocsps: Iterable[bytes], crls: Iterable[bytes]
) -> Standing:
    """What the answers (DER) say of ``certificate`` at ``moment``. What cannot be read or believed says nothing.

    ``REVOKED`` with ``revoked_at`` after ``moment`` means: revoked since, and good at that moment.
    """
    try:
        subject, above = x509.load_der_x509_certificate(certificate), x509.load_der_x509_certificate(issuer)
        statements = [*_from_responses(subject, above, ocsps), *_from_lists(subject, above, crls)]
    except ValueError:
        return Standing(status=RevocationStatus.UNKNOWN)
    if revoked := _revocation(statements):
        return Standing(
            status=RevocationStatus.REVOKED, by=revoked.by, revoked_at=revoked.revoked_at, held=revoked.held
        )
    good = next((each for each in statements if each.known and each.speaks_of(moment)), None)
    if good is None:
        return Standing(status=RevocationStatus.UNKNOWN)
    return Standing(status=RevocationStatus.GOOD, by=good.by)


def _revocation(statements: list[_Statement]) -> _Statement | None:
    """The earliest revocation for good; else a hold that no later answer has lifted."""
    revoked = sorted((each for each in statements if each.revoked_at), key=lambda each: str(each.revoked_at))
    final = next((each for each in revoked if not each.held), None)
    if final or not revoked:
        return final
    newest = max(statements, key=lambda each: each.begin)
    return revoked[0] if newest.revoked_at else None


def names_somebody_to_ask(certificate: bytes) -> bool:
    """Whether a certificate says where its revocation can be asked for (OCSP address or list)."""
    try:
        extensions = x509.load_der_x509_certificate(certificate).extensions
    except ValueError:
        return True  # nobody can be asked about what cannot be read; it must not pass as needing no answer
    for extension in extensions:
        value = extension.value
        if isinstance(value, x509.CRLDistributionPoints):
            return True
        if isinstance(value, x509.AuthorityInformationAccess):
            methods = {description.access_method for description in value}
            if x509.oid.AuthorityInformationAccessOID.OCSP in methods:
                return True
    return False


def _from_responses(
    subject: x509.Certificate, issuer: x509.Certificate, ocsps: Iterable[bytes]
) -> Iterator[_Statement]:
    for der in ocsps:
        try:
            response = ocsp.load_der_ocsp_response(der)
            if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
                continue
            single = next((one for one in response.responses if _is_about(one, subject, issuer)), None)
            if single is not None and _is_authorised(response, issuer):
                yield _statement(single, response)
        except (ValueError, UnsupportedAlgorithm, InvalidSignature):
            continue


def _is_about(single: ocsp.OCSPSingleResponse, subject: x509.Certificate, issuer: x509.Certificate) -> bool:
    if single.serial_number != subject.serial_number:
        return False
    asked = ocsp.OCSPRequestBuilder().add_certificate(subject, issuer, single.hash_algorithm).build()
    return (single.issuer_name_hash, single.issuer_key_hash) == (asked.issuer_name_hash, asked.issuer_key_hash)


def _is_authorised(response: ocsp.OCSPResponse, issuer: x509.Certificate) -> bool:
    """Whether the issuer signed the response, or a responder whom the issuer appointed (RFC 6960 section 4.2.2.2)."""
    algorithm = response.signature_hash_algorithm
    if algorithm is None or isinstance(algorithm, _WEAK):
        return False
    return any(_signed_by(response, signer, algorithm) for signer in (issuer, *_appointed(response, issuer)))


def _appointed(response: ocsp.OCSPResponse, issuer: x509.Certificate) -> Iterator[x509.Certificate]:
    for certificate in response.certificates:
        try:
            certificate.verify_directly_issued_by(issuer)
            purposes = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm, x509.ExtensionNotFound):
            continue
        begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        if ExtendedKeyUsageOID.OCSP_SIGNING in purposes and begin <= response.produced_at_utc <= end:
            yield certificate


def _signed_by(response: ocsp.OCSPResponse, signer: x509.Certificate, algorithm: hashes.HashAlgorithm) -> bool:
    key = signer.public_key()
    try:
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(response.signature, response.tbs_response_bytes, padding.PKCS1v15(), algorithm)
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(response.signature, response.tbs_response_bytes, ec.ECDSA(algorithm))
        else:
            return False
    except InvalidSignature:
        return False
    return True


def _statement(single: ocsp.OCSPSingleResponse, response: ocsp.OCSPResponse) -> _Statement:
    revoked_at = None
    if single.certificate_status is ocsp.OCSPCertStatus.REVOKED:
        # Extensions can be had of a response about one certificate only, which all known responders give.
        alone = len(list(response.responses)) == 1
        stated = single.revocation_time_utc
        revoked_at = _since(response.single_extensions, stated) if alone else stated
    return _Statement(
        by="ocsp",
        begin=single.this_update_utc,
        end=single.next_update_utc,
        known=single.certificate_status is not ocsp.OCSPCertStatus.UNKNOWN,
        revoked_at=revoked_at,
        held=single.revocation_reason is _HOLD,
    )


def _from_lists(subject: x509.Certificate, issuer: x509.Certificate, crls: Iterable[bytes]) -> Iterator[_Statement]:
    for encoded in crls:
        try:
            listed = x509.load_der_x509_crl(encoded)
            if _is_from(listed, issuer) and _covers(listed, subject):
                yield from _said_by(listed, subject)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            continue


def _is_from(listed: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    if listed.issuer != issuer.subject or isinstance(listed.signature_hash_algorithm, _WEAK):
        return False
    return listed.is_signature_valid(issuer.public_key())  # type: ignore[arg-type]  # other kinds raise TypeError


def _covers(listed: x509.CertificateRevocationList, subject: x509.Certificate) -> bool:
    """Whether the list is complete for this certificate: no delta, not somebody else's list, not for other kinds."""
    for extension in listed.extensions:
        value = extension.value
        if isinstance(value, x509.DeltaCRLIndicator):
            return False
        if isinstance(value, x509.IssuingDistributionPoint):
            elsewhere = value.indirect_crl or value.only_contains_attribute_certs or value.only_some_reasons
            other_kind = value.only_contains_user_certs if _is_authority(subject) else value.only_contains_ca_certs
            if elsewhere or other_kind or not _is_the_named_part(value, subject):
                return False
    return True


def _is_the_named_part(scope: x509.IssuingDistributionPoint, subject: x509.Certificate) -> bool:
    """An authority may split its list; the silence of a part counts only when the certificate names that part."""
    if scope.full_name is None:
        return scope.relative_name is None
    try:
        points = subject.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    except x509.ExtensionNotFound:
        return False
    return any(name in scope.full_name for point in points for name in point.full_name or ())


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return bool(certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca)
    except x509.ExtensionNotFound:
        return False


def _said_by(listed: x509.CertificateRevocationList, subject: x509.Certificate) -> Iterator[_Statement]:
    begin, end = listed.last_update_utc, listed.next_update_utc
    entry = listed.get_revoked_certificate_by_serial_number(subject.serial_number)
    if entry is not None:
        reason = _reason_of(entry)
        if reason is not x509.ReasonFlags.remove_from_crl:
            since = _since(entry.extensions, entry.revocation_date_utc)
            yield _Statement(by="crl", begin=begin, end=end, revoked_at=since, held=reason is _HOLD)
    elif begin <= subject.not_valid_after_utc:
        # Later lists forget expired certificates, so their silence says nothing.
        yield _Statement(by="crl", begin=begin, end=end)


def _reason_of(entry: x509.RevokedCertificate) -> x509.ReasonFlags | None:
    try:
        return entry.extensions.get_extension_for_class(x509.CRLReason).value.reason
    except x509.ExtensionNotFound:
        return None


def _since(extensions: x509.Extensions, revoked_at: datetime | None) -> datetime | None:
    """From when on the key may have been in other hands: earlier than the revocation when the authority says so."""
    try:
        invalid = extensions.get_extension_for_class(x509.InvalidityDate).value.invalidity_date_utc
    except x509.ExtensionNotFound:
        return revoked_at
    return min(invalid, revoked_at) if revoked_at else revoked_at
