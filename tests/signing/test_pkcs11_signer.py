"""The ``pkcs11`` signer with SoftHSM's driver. SoftHSM never locks a token, so locked ones are stood in for."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from pydantic import SecretStr, ValidationError

from lienthong.errors import SigningError
from lienthong.hookspecs import SignRequest
from lienthong.model import Verdict
from lienthong.signing import pades
from lienthong.signing.keys import pkcs11
from lienthong.signing.keys.credentials import signer_certificate

from .tokens import DRIVER, KEY_ID, PIN, Cabinet, needs_softhsm, open_token
from .workshop import NOW, code_of

pytestmark = [needs_softhsm, pytest.mark.xdist_group("softhsm")]


@pytest.fixture(scope="module")
def cabinet(tmp_path_factory) -> Cabinet:
    return Cabinet(tmp_path_factory.mktemp("softhsm"))


@pytest.fixture(scope="module")
def seal(cabinet, agency):
    return cabinet.token("van-thu", agency)


@pytest.fixture(scope="module")
def elliptic(cabinet, pki):
    return cabinet.token("elip", pki.elliptic)


@pytest.fixture(autouse=True)
def _nobody_is_logged_in(cabinet) -> Iterator[None]:
    """The driver's state is the process's; each test begins with a driver that has just been started."""
    yield
    restart_driver()
    pkcs11._refused.clear()


def restart_driver():
    import pkcs11 as package

    driver = package.lib(str(DRIVER))
    driver.reinitialize()
    return driver


def token_info(label):
    """What the token says of itself, to a driver that has just been started."""
    (token,) = restart_driver().get_tokens(token_label=label)
    return token


def asked(connection, algorithm="sha256") -> SignRequest:
    digest = hashlib.new(algorithm, b"van ban").digest()
    mechanism = signer_certificate(pkcs11.credential(connection)).mechanism
    return SignRequest(digest=digest, algorithm=algorithm, mechanism=mechanism, summary="")


def signs(connection, algorithm="sha256") -> bool:
    request = asked(connection, algorithm)
    value = pkcs11.sign(connection, request).value
    signer_certificate(pkcs11.credential(connection)).require_signature(request, value)
    return True


# Signing


@pytest.mark.parametrize("algorithm", ["sha256", "sha384", "sha512"])
def test_an_rsa_and_an_elliptic_key_sign_every_digest(seal, elliptic, algorithm):
    assert signs(open_token(seal.label), algorithm)
    assert signs(open_token(elliptic.label), algorithm)


@pytest.mark.parametrize("label", ["van-thu", "elip"])
def test_a_document_signed_by_a_token_is_valid(seal, elliptic, label, letter, tmp_path, check):
    connection = open_token(label)
    credential = pkcs11.credential(connection)

    def ask(request):
        return pkcs11.sign(connection, request)

    assert pades.sign_pdf(letter, tmp_path / "s.pdf", credential=credential, sign=ask, at=NOW) is None
    assert check(tmp_path / "s.pdf").verdict is Verdict.VALID


def test_the_chain_comes_from_the_token_leaf_first(seal, agency):
    chain = pkcs11.credential(open_token(seal.label)).certificates
    subjects = [x509.load_der_x509_certificate(der).subject for der in chain]
    issuers = [x509.load_der_x509_certificate(der).issuer for der in chain]
    assert chain[0] == agency.certificate
    assert subjects[1:] == issuers[:-1]
    assert len(chain) == 3


def test_certificates_may_lie_in_files(cabinet, agency, pki, tmp_path):
    cabinet.token("khoa-tran", agency, with_certificate=False)
    missing = open_token("khoa-tran")
    assert code_of(SigningError, lambda: pkcs11.credential(missing)) == "sign.token-certificate-missing"
    leaf = x509.load_der_x509_certificate(agency.certificate)
    (tmp_path / "leaf.pem").write_bytes(leaf.public_bytes(Encoding.PEM))
    connection = open_token("khoa-tran", certificate=tmp_path / "leaf.pem", chain=(pki.intermediates,))
    assert signs(connection)
    assert len(pkcs11.credential(connection).certificates) == 2


@pytest.mark.parametrize("content", [None, b"", b"-----BEGIN CERTIFICATE-----\n", b"0\x03\x02\x01\x01"])
def test_a_certificate_file_that_is_none(seal, tmp_path, content):
    if content is not None:
        (tmp_path / "c.pem").write_bytes(content)
    connection = open_token(seal.label, certificate=tmp_path / "c.pem")
    assert code_of(SigningError, lambda: pkcs11.credential(connection)) == "sign.certificate-file"


def test_a_certificate_of_another_key_signs_nothing(seal, pki, letter, tmp_path):
    (tmp_path / "leaf.der").write_bytes(pki.agencies["000.00.02.H53"].certificate)
    connection = open_token(seal.label, certificate=tmp_path / "leaf.der")
    credential = pkcs11.credential(connection)
    target = tmp_path / "s.pdf"

    def sign():
        return pades.sign_pdf(letter, target, credential=credential, sign=lambda r: pkcs11.sign(connection, r), at=NOW)

    assert code_of(SigningError, sign) == "sign.signature-unfit"
    assert not target.exists()
    assert not pkcs11.probe(connection).usable


def test_a_certificate_that_is_not_valid_now(seal):
    late = open_token(seal.label, now=lambda: NOW + timedelta(days=9000))
    assert code_of(SigningError, lambda: pkcs11.credential(late)) == "sign.certificate-expired"


def test_the_other_mechanism_is_refused(seal):
    connection = open_token(seal.label)
    request = SignRequest(digest=bytes(32), algorithm="sha256", mechanism="ecdsa", summary="")
    assert code_of(SigningError, lambda: pkcs11.sign(connection, request)) == "sign.mechanism-refused"


def test_the_probe_makes_a_real_signature(seal):
    found = pkcs11.probe(open_token(seal.label))
    assert found.usable
    assert "Ủy ban nhân dân huyện An Lạc" in found.detail


# Which token, which key


def test_a_token_is_found_by_serial_number_or_slot(seal):
    token = token_info(seal.label)
    serial = token.serial.decode()
    assert signs(open_token(token_serial=serial))
    assert signs(open_token(slot=token.slot.slot_id))
    assert code_of(SigningError, lambda: signs(open_token("elip", token_serial=serial))) == "sign.token-absent"


def test_a_name_that_two_tokens_could_have_is_no_name(seal, elliptic):
    restart_driver()  # one that is running may not have seen a token that was plugged in since
    assert code_of(SigningError, lambda: signs(open_token(""))) == "sign.token-ambiguous"


def test_a_key_is_found_by_label_and_identifier(seal):
    assert signs(open_token(seal.label, key_label="signer", key_id=KEY_ID.upper()))
    for wrong in ({"key_label": "khac"}, {"key_id": "ffff"}):
        connection = open_token(seal.label, **wrong)
        assert code_of(SigningError, lambda c=connection: signs(c)) == "sign.token-key-missing"


def test_a_driver_that_is_not_there_or_none(seal, tmp_path):
    (tmp_path / "driver.so").write_bytes(b"\x7fELF")
    for path in (tmp_path / "driver.so", tmp_path / "nothing.so"):
        connection = open_token(seal.label)
        object.__setattr__(connection, "config", connection.config.model_copy(update={"module": path}))
        assert code_of(SigningError, lambda c=connection: signs(c)) == "sign.token-driver"


# Out and in again


def test_a_token_that_was_out_signs_again_by_itself(seal):
    connection = open_token(seal.label)
    assert signs(connection)
    seal.unplug()
    try:
        assert code_of(SigningError, lambda: pkcs11.sign(connection, asked(connection))) == "sign.token-absent"
        assert code_of(SigningError, lambda: pkcs11.credential(connection)) == "sign.token-absent"
        assert not pkcs11.probe(connection).usable
    finally:
        seal.plug_in()
    assert signs(connection)


def test_a_driver_that_was_restarted_behind_our_back(seal):
    connection = open_token(seal.label)
    assert signs(connection)
    restart_driver()
    assert signs(connection)


# The PIN


def test_a_refused_pin_is_never_offered_again(seal):
    import pkcs11 as package

    assert code_of(SigningError, lambda: signs(open_token(seal.label, pin="00000"))) == "sign.pin-wrong"
    low = package.TokenFlag.USER_PIN_COUNT_LOW
    assert token_info(seal.label).flags & low, "the token has counted it"
    assert signs(open_token(seal.label)), "the right one is taken"
    restart_driver()
    # Another connection, as after a change of another key of the configuration.
    assert code_of(SigningError, lambda: signs(open_token(seal.label, pin="00000"))) == "sign.pin-wrong"
    assert not token_info(seal.label).flags & low, "the token was not asked"


def test_the_same_pin_may_be_right_for_another_token(seal, elliptic):
    assert code_of(SigningError, lambda: signs(open_token(seal.label, pin="11111"))) == "sign.pin-wrong"
    assert code_of(SigningError, lambda: signs(open_token("elip", pin="11111"))) == "sign.pin-wrong"
    assert len(pkcs11._refused) == 2


class StandIn:
    """A token that says something of itself, and refuses every PIN in one way."""

    label, serial = "van-thu", b"01"

    def __init__(self, *flags: str, refusal: str = "", flags_afterwards: tuple[str, ...] = ()) -> None:
        self._flags = flags
        self._refusal = refusal
        self._afterwards = flags_afterwards
        self.tried: list[str | None] = []

    @property
    def slot(self):
        return SimpleNamespace(get_token=lambda: StandIn(*self._afterwards))

    @property
    def flags(self):
        from pkcs11 import TokenFlag

        value = TokenFlag.TOKEN_INITIALIZED
        for name in self._flags:
            value |= TokenFlag[name]
        return value

    def open(self, user_pin=None):
        import pkcs11 as package

        self.tried.append(user_pin)
        raise getattr(package, self._refusal)


def log_in(token: StandIn) -> None:
    config = pkcs11.Pkcs11Config(module=DRIVER, token_label="van-thu", pin=SecretStr(PIN))
    pkcs11._logged_in(token, "token", config)


@pytest.mark.parametrize(
    ("flag", "code"), [("USER_PIN_LOCKED", "sign.token-locked"), ("USER_PIN_FINAL_TRY", "sign.token-final-try")]
)
def test_a_token_that_is_locked_or_about_to_be_is_not_tried(flag, code):
    token = StandIn(flag, refusal="PinIncorrect")
    assert code_of(SigningError, lambda: log_in(token)) == code
    assert token.tried == []


@pytest.mark.parametrize(
    ("refusal", "code", "tries"),
    [
        ("PinIncorrect", "sign.pin-wrong", 1),
        ("PinLenRange", "sign.pin-wrong", 1),
        ("PinInvalid", "sign.pin-wrong", 1),
        ("PinExpired", "sign.pin-expired", 1),
        ("PinLocked", "sign.token-locked", 2),
        ("UserPinNotInitialized", "sign.token-pin-unset", 2),
    ],
)
def test_each_refusal_has_its_state_and_a_wrong_pin_its_one_try(refusal, code, tries):
    token = StandIn(refusal=refusal)
    for _ in range(2):
        assert code_of(SigningError, lambda: log_in(token)) == code
    assert len(token.tried) == tries


@pytest.mark.parametrize(("flags", "code"), [(("USER_PIN_COUNT_LOW",), "sign.pin-wrong"), ((), None)])
def test_an_error_of_any_kind_is_a_refusal_when_the_token_has_counted_it(flags, code):
    import pkcs11 as package

    token = StandIn(refusal="FunctionFailed", flags_afterwards=flags)
    for _ in range(2):
        with pytest.raises((SigningError, package.FunctionFailed)) as caught:
            log_in(token)
        assert getattr(caught.value, "code", None) == code
    assert len(token.tried) == (1 if code else 2)


def test_a_key_that_asks_for_another_pin_before_each_signature_is_asked_once(seal):
    """As cards with a PIN of its own for signatures do it."""
    import pkcs11 as package

    connection = open_token(seal.label)
    request = asked(connection)
    tried = []

    class Key:
        def sign(self, content, *, mechanism, pin):
            tried.append(pin)
            raise package.PinIncorrect

    opened = pkcs11._opened[connection]
    pkcs11._opened[connection] = replace(opened, key=Key(), pin=PIN)
    for _ in range(2):
        assert code_of(SigningError, lambda: pkcs11.sign(connection, request)) == "sign.pin-wrong"
    assert tried == [PIN]


def test_no_pin_is_told_to_anybody(seal):
    connection = open_token(seal.label, pin="987654")
    with pytest.raises(SigningError) as caught:
        signs(connection)
    told = f"{caught.value} {caught.value.facts} {connection.config!r} {caught.value.__cause__!r} {pkcs11._refused}"
    assert "987654" not in told


def test_the_configuration_refuses_what_it_does_not_know():
    for wrong in ({"pin": "1", "password": "x"}, {"pin": "1", "key_id": "xyz"}, {"pin": "1", "slot": -1}, {}):
        with pytest.raises(ValidationError):
            pkcs11.Pkcs11Config(module="driver.so", **wrong)
