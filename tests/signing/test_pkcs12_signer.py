from __future__ import annotations

import gc
import hashlib
import itertools
import os
import shutil
import threading
import weakref
from datetime import timedelta

import pluggy
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption
from cryptography.hazmat.primitives.serialization import pkcs12 as p12
from pydantic import ValidationError

from lienthong.errors import SigningError
from lienthong.hookspecs import PROJECT, Hooks, Pending, SignRequest
from lienthong.signing.keys import pkcs12
from lienthong.signing.keys.credentials import signer_certificate
from lienthong_conformance.pki import PASSWORD, KeyFile

from .workshop import NOW, credential_of, open_signer


def asked(text=b"van ban", algorithm="sha256", mechanism="rsassa_pkcs1v15"):
    return SignRequest(
        digest=hashlib.new(algorithm, text).digest(), algorithm=algorithm, mechanism=mechanism, summary="15/UBND-VP"
    )


def code_of(action):
    with pytest.raises(SigningError) as caught:
        action()
    assert "→" in caught.value.text("vi"), "a remedy stands beside the code"
    return caught.value.code


def copied(key, folder):
    return KeyFile(path=shutil.copyfile(key.path, folder / "key.p12"), password=key.password, certificate=b"")


def written(folder, content):
    (folder / "key.p12").write_bytes(content)
    return KeyFile(path=folder / "key.p12", password=PASSWORD, certificate=b"")


def test_it_is_a_plugin_that_the_contract_accepts(agency):
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(Hooks)
    manager.register(pkcs12)
    manager.check_pending()
    assert manager.hook.describe().role == "signer"
    assert manager.hook.credential(connection=open_signer(agency)).certificates[0] == agency.certificate


@pytest.mark.parametrize("algorithm", ["sha256", "sha384", "sha512"])
def test_an_rsa_signature_fits_its_certificate(agency, algorithm):
    request = asked(algorithm=algorithm)
    signature = pkcs12.sign(open_signer(agency), request)
    assert not isinstance(signature, Pending)
    signer_certificate(credential_of(agency)).require_signature(request, signature.value)


def test_an_elliptic_signature_fits_its_certificate(pki):
    request = asked(mechanism="ecdsa")
    signer = signer_certificate(credential_of(pki.elliptic))
    signer.require_signature(request, pkcs12.sign(open_signer(pki.elliptic), request).value)
    assert signer.mechanism == "ecdsa"


def test_the_chain_stands_leaf_first(agency):
    chain = [x509.load_der_x509_certificate(der) for der in credential_of(agency).certificates]
    assert len(chain) == 3
    for below, above in itertools.pairwise(chain):
        below.verify_directly_issued_by(above)


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (asked(mechanism="ecdsa"), "sign.mechanism-refused"),
        (asked(algorithm="sha1"), "sign.digest-refused"),
        (SignRequest(digest=b"x", algorithm="sha256", mechanism="rsassa_pkcs1v15", summary=""), "sign.digest-refused"),
    ],
)
def test_what_does_not_fit_the_key_is_refused(agency, request_, code):
    assert code_of(lambda: pkcs12.sign(open_signer(agency), request_)) == code


def test_a_wrong_password_says_so_and_keeps_it_secret(agency):
    wrong = open_signer(KeyFile(path=agency.path, password="sai-mat-khau", certificate=b""))
    assert code_of(lambda: pkcs12.credential(wrong)) == "sign.wrong-password"
    with pytest.raises(SigningError) as caught:
        pkcs12.credential(wrong)
    assert "sai-mat-khau" not in str(caught.value) + repr(caught.value) + repr(wrong)


def test_a_missing_file_says_so(tmp_path):
    nowhere = KeyFile(path=tmp_path / "nowhere.p12", password="x", certificate=b"")
    assert code_of(lambda: pkcs12.credential(open_signer(nowhere))) == "sign.p12-missing"


def test_a_file_that_is_no_pkcs12_says_so(tmp_path):
    junk = open_signer(written(tmp_path, b"-----BEGIN CERTIFICATE-----"))
    assert code_of(lambda: pkcs12.credential(junk)) == "sign.p12-unreadable"


def test_a_file_without_key_says_so(tmp_path, agency):
    certificate = x509.load_der_x509_certificate(agency.certificate)
    content = p12.serialize_key_and_certificates(None, None, None, [certificate], protected())
    assert code_of(lambda: pkcs12.credential(open_signer(written(tmp_path, content)))) == "sign.no-private-key"


def test_a_file_without_certificate_says_so(tmp_path):
    key = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    content = p12.serialize_key_and_certificates(None, key, None, None, protected())
    assert code_of(lambda: pkcs12.credential(open_signer(written(tmp_path, content)))) == "sign.no-certificate"


def test_a_kind_of_key_that_pdf_readers_do_not_know_is_refused(tmp_path):
    key = ed25519.Ed25519PrivateKey.generate()
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Ed")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.not_valid_before(NOW - timedelta(1)).not_valid_after(NOW + timedelta(1)).serial_number(1)
    content = p12.serialize_key_and_certificates(None, key, builder.sign(key, None), None, protected())
    assert code_of(lambda: pkcs12.credential(open_signer(written(tmp_path, content)))) == "sign.key-unsupported"


def protected():
    return BestAvailableEncryption(PASSWORD.encode())


@pytest.mark.parametrize(
    ("owner", "code"), [("expired", "sign.certificate-expired"), ("future", "sign.certificate-not-yet-valid")]
)
def test_a_certificate_that_is_not_valid_now_does_not_sign(pki, owner, code):
    connection = open_signer(getattr(pki, owner))
    assert code_of(lambda: pkcs12.credential(connection)) == code
    assert code_of(lambda: pkcs12.sign(connection, asked())) == code
    probe = pkcs12.probe(connection)
    assert not probe.usable
    assert probe.observed == NOW


def test_a_certificate_that_expires_while_the_connection_is_open_stops_signing(pki):
    moment = NOW - timedelta(days=10)
    open_then = open_signer(pki.expired, moment)
    assert pkcs12.probe(open_then).usable
    assert not pkcs12.probe(open_signer(pki.expired, NOW)).usable


def test_a_probe_names_who_signs_and_the_days_that_are_left(agency):
    probe = pkcs12.probe(open_signer(agency))
    assert probe.usable
    assert "Ủy ban nhân dân huyện An Lạc" in probe.detail
    assert "365 ngày" in probe.detail


def test_a_probe_tells_what_is_wrong_in_vietnamese(agency):
    probe = pkcs12.probe(open_signer(KeyFile(path=agency.path, password="sai", certificate=b"")))
    assert not probe.usable
    assert "Mật khẩu không mở được tệp khóa" in probe.detail


def test_the_key_is_read_once(agency, tmp_path):
    key = copied(agency, tmp_path)
    connection = open_signer(key)
    before = pkcs12.sign(connection, asked()).value
    status = key.path.stat()
    key.path.write_bytes(b"\0" * status.st_size)
    os.utime(key.path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert pkcs12.sign(connection, asked()).value == before


def test_a_renewed_file_is_taken_up_and_a_removed_one_stops_signing(agency, pki, tmp_path):
    connection = open_signer(copied(agency, tmp_path))
    assert pkcs12.credential(connection).certificates[0] == agency.certificate
    shutil.copyfile(pki.person.path, tmp_path / "key.p12")
    assert pkcs12.credential(connection).certificates[0] == pki.person.certificate
    (tmp_path / "key.p12").unlink()
    assert code_of(lambda: pkcs12.sign(connection, asked())) == "sign.p12-missing"


def test_the_key_leaves_memory_with_its_connection(agency):
    connection = open_signer(agency, NOW + timedelta(minutes=1))
    pkcs12.credential(connection)
    gone = weakref.ref(pkcs12._opened[connection])
    del connection
    gc.collect()
    assert gone() is None


def test_threads_may_share_a_connection(agency):
    connection = open_signer(agency)
    values = []
    threads = [threading.Thread(target=lambda: values.append(pkcs12.sign(connection, asked()).value)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(values) == 4
    assert len(set(values)) == 1


def test_the_configuration_refuses_unknown_keys_and_hides_the_password():
    with pytest.raises(ValidationError):
        pkcs12.Pkcs12Config(file="a.p12", password="bi-mat", pin="1234")
    assert "bi-mat" not in repr(pkcs12.Pkcs12Config(file="a.p12", password="bi-mat"))
