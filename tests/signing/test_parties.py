"""Whom a certificate stands for, by what Vietnamese authorities write into it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from lienthong.signing.verification.parties import Party, party_of, signed_parties, subject_of

from .workshop import NOW, sign

KEY = ec.generate_private_key(ec.SECP256R1())
KINDS = {
    "CN": NameOID.COMMON_NAME,
    "O": NameOID.ORGANIZATION_NAME,
    "UID": NameOID.USER_ID,
    "serialNumber": NameOID.SERIAL_NUMBER,
    "organizationIdentifier": NameOID.ORGANIZATION_IDENTIFIER,
    "SN": NameOID.SURNAME,
}


def certificate(**subject: str) -> bytes:
    name = x509.Name([x509.NameAttribute(KINDS[kind], value) for kind, value in subject.items()])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(KEY.public_key())
    builder = builder.serial_number(5).not_valid_before(NOW).not_valid_after(NOW + timedelta(days=1))
    return builder.sign(KEY, hashes.SHA256()).public_bytes(Encoding.DER)


@pytest.mark.parametrize(
    ("subject", "party"),
    [
        ({"CN": "Công ty An Bình", "UID": "MST:0100000001"}, Party.ORGANIZATION),
        ({"CN": "An Bình", "UID": "MST_0100000001"}, Party.ORGANIZATION),
        ({"CN": "Nguyễn Văn An", "UID": "CCCD:001080000001"}, Party.PERSON),
        ({"CN": "Nguyễn Văn An", "serialNumber": "CMND:001080000"}, Party.PERSON),
        ({"CN": "Nguyễn Văn An", "O": "Công ty An Bình", "UID": "CMND:001080000"}, Party.PERSON),
        ({"CN": "X", "organizationIdentifier": "000.00.01.H53"}, Party.ORGANIZATION),
        ({"CN": "UBND huyện An Lạc", "O": "Tỉnh Lạc Hồng"}, Party.ORGANIZATION),
        ({"CN": "Uỷ ban nhân dân huyện An Lạc"}, Party.ORGANIZATION),
        ({"CN": "Vụ Tổ chức cán bộ", "O": "Bộ Nội vụ"}, Party.ORGANIZATION),
        ({"CN": "Vũ Văn Bình", "O": "Bộ Nội vụ"}, Party.PERSON),
        ({"CN": "Trương Thị Hoa", "O": "Sở Y tế"}, Party.PERSON),
        ({"CN": "Sở Y tế", "O": "Sở Y tế"}, Party.ORGANIZATION),
        ({"CN": "An", "SN": "Nguyễn"}, Party.PERSON),
        ({"CN": "Nguyễn Văn An"}, Party.UNKNOWN),
        ({"O": "Hợp tác xã Bình Minh"}, Party.ORGANIZATION),
    ],
)
def test_the_subject_decides(subject, party):
    assert party_of(certificate(**subject)) is party


def test_what_is_no_certificate_is_nobody():
    assert party_of(b"\x30\x03\x02\x01\x01") is Party.UNKNOWN
    assert party_of(b"") is Party.UNKNOWN


def test_names_and_numbers_are_kept():
    subject = subject_of(certificate(CN="UBND huyện An Lạc", UID="MST:01", organizationIdentifier="000.00.01.H53"))
    assert (subject.organization, subject.identifiers) == ("UBND huyện An Lạc", ("000.00.01.H53", "MST:01"))


def test_signers_come_in_signing_order(signed, tmp_path, pki):
    both = sign(signed, tmp_path / "both.pdf", pki.person)
    assert [(each.party, each.holder) for each in signed_parties(both)] == [
        (Party.ORGANIZATION, "Ủy ban nhân dân huyện An Lạc"),
        (Party.UNKNOWN, "Nguyễn Văn An"),
    ]
    assert signed_parties(both)[1].certificate == pki.person.certificate
