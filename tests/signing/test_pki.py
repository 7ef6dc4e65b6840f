from __future__ import annotations

import stat
import time
from datetime import timedelta

from cryptography import x509
from cryptography.hazmat.primitives.serialization import pkcs12

from lienthong.model import Organization
from lienthong_conformance.pki import make_pki

from .workshop import NOW


def leaf(key):
    return x509.load_der_x509_certificate(key.certificate)


def test_every_agency_has_a_key_that_names_it(pki):
    certificate = leaf(pki.agencies["000.00.02.H53"])
    subject = {attribute.oid: attribute.value for attribute in certificate.subject}
    assert subject[x509.NameOID.ORGANIZATION_NAME] == "Sở Nội vụ"
    assert subject[x509.NameOID.ORGANIZATION_IDENTIFIER] == "000.00.02.H53"


def test_the_given_password_opens_the_files(tmp_path):
    made = make_pki(tmp_path, [Organization(code="A")], now=NOW, password="mật khẩu riêng")
    key = made.agencies["A"]
    bundle = pkcs12.load_pkcs12(key.path.read_bytes(), "mật khẩu riêng".encode())
    assert bundle.cert.certificate == leaf(key)
    assert key.password == "mật khẩu riêng"


def test_certificates_are_valid_at_the_given_time_except_the_two_that_are_not(pki):
    day = timedelta(days=1)
    assert leaf(pki.person).not_valid_before_utc < NOW < leaf(pki.person).not_valid_after_utc
    assert leaf(pki.expired).not_valid_after_utc == NOW - day
    assert leaf(pki.future).not_valid_before_utc == NOW + day


def test_the_intermediate_leads_to_the_root_and_the_foreign_signer_elsewhere(pki):
    root = x509.load_pem_x509_certificate(pki.roots.read_bytes())
    intermediate = x509.load_pem_x509_certificate(pki.intermediates.read_bytes())
    intermediate.verify_directly_issued_by(root)
    leaf(pki.person).verify_directly_issued_by(intermediate)
    leaf(pki.foreign).verify_directly_issued_by(x509.load_pem_x509_certificate(pki.foreign_roots.read_bytes()))


def test_key_files_are_for_their_owner_only(pki):
    assert stat.S_IMODE(pki.person.path.stat().st_mode) == 0o600


def test_keys_are_made_once_per_process(pki, tmp_path):
    begin = time.process_time()
    again = make_pki(tmp_path, [Organization(code="000.00.02.H53")], now=NOW)
    assert time.process_time() - begin < 1.0
    assert leaf(again.person).public_key() == leaf(pki.person).public_key()
