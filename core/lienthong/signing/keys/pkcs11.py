"""The signer that keeps its key on a token or in an HSM, through the maker's PKCS#11 driver (OASIS PKCS#11 2.40).

A token counts wrong PINs and locks itself; unlocking it takes a visit to whoever issued it. So a refused PIN is never
offered again, and none at all when the token says that one more mistake would lock it.

A driver is foreign code that may hang: whoever calls these hooks does so in a process that may be killed.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakKeyDictionary

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from lienthong.errors import SigningError, catalogue
from lienthong.hookspecs import Capabilities, Connection, Credential, Manifest, Probe, Signature, SignRequest, hookimpl
from lienthong.model import vietnam_time
from lienthong.signing.keys.credentials import (
    PROBE_DIGEST,
    SignerCertificate,
    credential_with,
    requested_digest,
    signer_certificate,
)

if TYPE_CHECKING:
    import pkcs11

_DIGEST_INFO = {
    "sha256": bytes.fromhex("3031300d060960864801650304020105000420"),
    "sha384": bytes.fromhex("3041300d060960864801650304020205000430"),
    "sha512": bytes.fromhex("3051300d060960864801650304020305000440"),
}
"""What stands before the digest in a PKCS#1 v1.5 signature (RFC 8017 section 9.2, note 1)."""


class Pkcs11Config(BaseModel):
    """The configuration of a ``pkcs11`` connection. What is left out must be unambiguous: one token, one key."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    module: Path = Field(description="library of the token's PKCS#11 driver (.so, .dll, .dylib)")
    token_label: str = Field("", description="label of the token")
    token_serial: str = Field("", description="serial number of the token")
    slot: int | None = Field(None, ge=0, description="number of the slot; it may change when readers do")
    key_label: str = Field("", description="label of the private key")
    key_id: str = Field("", pattern=r"^([0-9a-fA-F]{2})*$", description="identifier of the private key, hexadecimal")
    certificate: Path | None = Field(None, description="the key's certificate; default: the one on the token")
    chain: tuple[Path, ...] = Field((), description="certificates above it, when they are not on the token")
    pin: SecretStr = Field(description="user PIN of the token, as a reference: env:NAME or file:PATH")

    @property
    def token(self) -> str:
        """The token as people call it."""
        return (
            self.token_label
            or self.token_serial
            or (f"slot {self.slot}" if self.slot is not None else self.module.name)
        )

    @property
    def key(self) -> str:
        """The key as people call it; empty when the configuration names none."""
        return self.key_label or self.key_id


@dataclass(frozen=True, kw_only=True, eq=False)
class _Opened:
    """A logged-in session. ``pin``: the key wants the PIN before every signature (CKA_ALWAYS_AUTHENTICATE)."""

    session: pkcs11.Session
    key: Any
    pin: str | None
    credential: Credential
    certificate: SignerCertificate


# Sessions of one process share the token's login state and the driver takes one call at a time, so there is one lock.
_lock = threading.Lock()
_opened: WeakKeyDictionary[Connection, _Opened] = WeakKeyDictionary()
# A refusal must outlive its connection, which is opened anew when any other key of the configuration changes. Salted,
# and never written down: a PIN is short enough to be found from its digest.
_refused: dict[bytes, str] = {}
_SALT = secrets.token_bytes(32)


@hookimpl
def describe() -> Manifest:
    return Manifest(
        name="pkcs11",
        version="1",
        role="signer",
        summary="Signs with a key on a token or in an HSM (PKCS#11)",
        config=Pkcs11Config,
        capabilities=Capabilities(key="exclusive"),
        evidence="Signatures made with SoftHSM 2 verified with pyHanko and poppler; no real token was at hand.",
    )


@hookimpl
def credential(connection: Connection) -> Credential:
    with _lock:
        return _usable(connection).credential


@hookimpl
def sign(connection: Connection, request: SignRequest) -> Signature:
    with _lock:
        return Signature(value=_signature(connection, request))


@hookimpl
def probe(connection: Connection) -> Probe:
    now = connection.now()
    try:
        with _lock:
            signer = _usable(connection).certificate
            request = SignRequest(digest=PROBE_DIGEST, algorithm="sha256", mechanism=signer.mechanism, summary="probe")
            signer.require_signature(request, _signature(connection, request))
    except SigningError as problem:
        return Probe(usable=False, detail=problem.text("vi"), observed=now)
    detail = catalogue()["sign.probe-good"]["vi"].format(
        holder=signer.holder, expires=vietnam_time(signer.not_after), days=(signer.not_after - now).days
    )
    return Probe(usable=True, detail=detail, observed=now)


def _signature(connection: Connection, request: SignRequest) -> bytes:
    """One signature. A session may have ended since the last one (the token was out, the driver restarted), which only
    using it tells; so the second try is with a new session."""
    import pkcs11

    requested_digest(request)
    with suppress(pkcs11.PKCS11Error):
        return _signed(connection, request)
    try:
        return _signed(connection, request)
    except pkcs11.PKCS11Error as problem:
        token = cast(Pkcs11Config, connection.config).token
        reason = type(problem).__name__
        raise SigningError("sign.token-failed", where=connection.name, token=token, reason=reason) from problem


def _signed(connection: Connection, request: SignRequest) -> bytes:
    """After any failure the session is not used again."""
    from pkcs11 import Mechanism

    opened = _usable(connection)
    possible = opened.certificate.mechanism
    if request.mechanism != possible:
        raise SigningError("sign.mechanism-refused", asked=request.mechanism, possible=possible)
    rsa = possible == "rsassa_pkcs1v15"
    content = _DIGEST_INFO[request.algorithm] + request.digest if rsa else request.digest
    mechanism = Mechanism.RSA_PKCS if rsa else Mechanism.ECDSA
    try:
        with _pin_errors(opened.session.token, connection.name, cast(Pkcs11Config, connection.config)):
            value = bytes(opened.key.sign(content, mechanism=mechanism, pin=opened.pin))
    except BaseException:
        _close(connection)
        raise
    if rsa:
        return value
    half = len(value) // 2
    return encode_dss_signature(int.from_bytes(value[:half]), int.from_bytes(value[half:]))


def _usable(connection: Connection) -> _Opened:
    """The connection's key, when its certificate is valid now."""
    opened = _opened.get(connection)
    if opened is None:
        opened = _opened[connection] = _open(connection.name, cast(Pkcs11Config, connection.config))
    opened.certificate.require_valid(connection.now())
    return opened


def _close(connection: Connection) -> None:
    import pkcs11

    opened = _opened.pop(connection, None)
    if opened is not None:
        with suppress(pkcs11.PKCS11Error):
            opened.session.close()


def _open(where: str, config: Pkcs11Config) -> _Opened:
    try:
        import pkcs11
    except ImportError as problem:
        raise SigningError("sign.token-extra", where=where, reason=problem) from problem
    try:
        driver = pkcs11.lib(str(config.module))
    except pkcs11.PKCS11Error as problem:
        raise SigningError(
            "sign.token-driver",
            where=f"{where}: module",
            module=config.module,
            reason=problem or type(problem).__name__,
        ) from problem
    try:
        token = _token(driver, where, config)
        session = _logged_in(token, where, config)
        try:
            return _found(session, where, config)
        except BaseException:
            session.close()
            raise
    except pkcs11.PKCS11Error as problem:
        with suppress(pkcs11.PKCS11Error):
            driver.finalize()  # some drivers stay confused until they are started again, which the next try does
        raise SigningError(
            "sign.token-failed", where=where, token=config.token, reason=type(problem).__name__
        ) from problem


def _token(driver: Any, where: str, config: Pkcs11Config) -> pkcs11.Token:
    matching, present = _tokens(driver, config)
    if not matching:
        # Some drivers look for readers only when they start.
        driver.reinitialize()
        matching, present = _tokens(driver, config)
    if not matching:
        names = ", ".join(present) or "-"
        raise SigningError("sign.token-absent", where=where, token=config.token, present=names)
    if len(matching) > 1:
        raise SigningError("sign.token-ambiguous", where=where, token=config.token, count=len(matching))
    return matching[0]


def _tokens(driver: Any, config: Pkcs11Config) -> tuple[list[pkcs11.Token], list[str]]:
    """The tokens that match, and the names of all that are there. A slot that cannot be read has none: drivers differ
    in what they answer about a token that was just pulled out."""
    import pkcs11

    matching, present = [], []
    for slot in driver.get_slots(token_present=True):
        with suppress(pkcs11.PKCS11Error):
            token = slot.get_token()
            label, serial = token.label.strip(), token.serial.decode("ascii", "replace").strip()
            if not token.flags & pkcs11.TokenFlag.TOKEN_INITIALIZED:
                continue
            present.append(f"{label} ({serial})")
            asked = ((config.token_label, label), (config.token_serial, serial), (config.slot, slot.slot_id))
            if all(wanted in ("", None, found) for wanted, found in asked):
                matching.append(token)
    return matching, present


def _logged_in(token: pkcs11.Token, where: str, config: Pkcs11Config) -> pkcs11.Session:
    import pkcs11

    named = f"{where}: pin"
    if token.flags & pkcs11.TokenFlag.USER_PIN_LOCKED:
        raise SigningError("sign.token-locked", where=named, token=config.token)
    if token.flags & pkcs11.TokenFlag.USER_PIN_FINAL_TRY:
        raise SigningError("sign.token-final-try", where=named, token=config.token)
    refused = _refused.get(_fingerprint(token, config))
    if refused is not None:
        raise SigningError(refused, where=named, token=config.token)
    with _pin_errors(token, where, config):
        try:
            return token.open(user_pin=config.pin.get_secret_value())
        except pkcs11.UserAlreadyLoggedIn:
            return token.open()  # by another session of this process


def _fingerprint(token: pkcs11.Token, config: Pkcs11Config) -> bytes:
    pin = config.pin.get_secret_value().encode()
    return hashlib.blake2b(len(pin).to_bytes(4) + pin + token.serial, key=_SALT).digest()


@contextmanager
def _pin_errors(token: pkcs11.Token, where: str, config: Pkcs11Config) -> Iterator[None]:
    """Give what a token says to a PIN our names, and remember a PIN that it refused."""
    import pkcs11

    named = f"{where}: pin"
    try:
        yield
    except pkcs11.PinLocked as problem:
        raise SigningError("sign.token-locked", where=named, token=config.token) from problem
    except pkcs11.UserPinNotInitialized as problem:
        raise SigningError("sign.token-pin-unset", where=named, token=config.token) from problem
    except pkcs11.PKCS11Error as problem:
        if isinstance(problem, pkcs11.PinExpired):
            code = "sign.pin-expired"
        elif isinstance(problem, _pin_refusals()) or _has_counted(token):
            code = "sign.pin-wrong"
        else:
            raise
        _refused[_fingerprint(token, config)] = code
        raise SigningError(code, where=named, token=config.token) from problem


def _pin_refusals() -> tuple[type[Exception], ...]:
    import pkcs11

    return pkcs11.PinIncorrect, pkcs11.PinInvalid, pkcs11.PinLenRange


def _has_counted(token: pkcs11.Token) -> bool:
    """Whether the token has counted a wrong PIN since it was found: some drivers refuse one with an error of any
    kind."""
    import pkcs11

    try:
        now = token.slot.get_token().flags
    except pkcs11.PKCS11Error:
        return False
    return bool(now & ~token.flags & pkcs11.TokenFlag.USER_PIN_COUNT_LOW)


def _found(session: pkcs11.Session, where: str, config: Pkcs11Config) -> _Opened:
    """Key and certificate on an open token."""
    from pkcs11 import Attribute, ObjectClass

    wanted: dict[Attribute, Any] = {Attribute.CLASS: ObjectClass.PRIVATE_KEY}
    if config.key_label:
        wanted[Attribute.LABEL] = config.key_label
    if config.key_id:
        wanted[Attribute.ID] = bytes.fromhex(config.key_id)
    keys = list(session.get_objects(wanted))
    if len(keys) != 1:
        raise SigningError(
            "sign.token-key-missing", where=where, token=config.token, key=config.key or "-", count=len(keys)
        )
    (key,) = keys
    certificates = list(_certificates_on(session))
    above = [certificate for path in config.chain for certificate in _certificates_in(path)]
    leaf = _leaf(key, certificates, config)
    if leaf is None:
        raise SigningError("sign.token-certificate-missing", where=where, token=config.token, key=config.key or "-")
    credential = credential_with(leaf, [*above, *(certificate for _, certificate in certificates)])
    return _Opened(
        session=session,
        key=key,
        pin=config.pin.get_secret_value() if _attribute(key, Attribute.ALWAYS_AUTHENTICATE) else None,
        credential=credential,
        certificate=signer_certificate(credential),
    )


def _certificates_on(session: pkcs11.Session) -> Iterator[tuple[bytes | None, x509.Certificate]]:
    """Each certificate on the token with its identifier. What cannot be read is somebody else's."""
    from pkcs11 import Attribute, ObjectClass

    for each in list(session.get_objects({Attribute.CLASS: ObjectClass.CERTIFICATE})):
        with suppress(ValueError):
            certificate = x509.load_der_x509_certificate(bytes(_attribute(each, Attribute.VALUE) or b""))
            yield _attribute(each, Attribute.ID), certificate


def _leaf(
    key: Any, certificates: list[tuple[bytes | None, x509.Certificate]], config: Pkcs11Config
) -> x509.Certificate | None:
    """The key's certificate: the configured one, or that with the key's identifier, as tokens pair them."""
    from pkcs11 import Attribute

    if config.certificate is not None:
        return _certificates_in(config.certificate)[0]
    identifier = _attribute(key, Attribute.ID)
    return next((certificate for known, certificate in certificates if known == identifier), None)


def _attribute(thing: Any, attribute: pkcs11.Attribute) -> Any:
    """An attribute of an object; None when the token does not have it or does not tell."""
    import pkcs11

    try:
        return thing[attribute]
    except pkcs11.PKCS11Error:
        return None


def _certificates_in(path: Path) -> list[x509.Certificate]:
    try:
        content = path.read_bytes()
        if b"-----BEGIN" in content:
            return x509.load_pem_x509_certificates(content)
        return [x509.load_der_x509_certificate(content)]
    except OSError as problem:
        raise SigningError("sign.certificate-file", file=path, reason=problem.strerror) from problem
    except ValueError as problem:
        raise SigningError("sign.certificate-file", file=path, reason=problem) from problem
