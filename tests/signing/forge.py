"""Makes every kind of signed file: by any key of the served world, at any stated or proven time, right or wrong."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any

from asn1crypto import cms, core, ocsp, tsp, x509
from pyhanko.pdf_utils.generic import StreamObject, TextStringObject
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.pdf_utils.writer import copy_into_new_writer
from pyhanko.sign import signers, timestamps
from pyhanko.sign.fields import MDPPerm, SigFieldSpec, SigSeedSubFilter
from pyhanko.sign.general import as_signing_certificate_v2
from pyhanko.sign.signers.cms_embedder import PdfCMSEmbedder, SigIOSetup, SigMDPSetup, SigObjSetup
from pyhanko.sign.signers.pdf_byterange import SignatureObject
from pyhanko.sign.validation.dss import DocumentSecurityStore
from pyhanko_certvalidator.registry import SimpleCertificateStore

from lienthong.http import HttpClient
from lienthong.signing.proof.revocation import RevocationSource

from .authorities import Authorities
from .workshop import updating


@dataclass(frozen=True, kw_only=True)
class Token:
    """A timestamp to put over a signature. ``wrong``: it is about something else."""

    after: timedelta
    authority: str = "tsa"
    wrong: bool = False


@dataclass(frozen=True, kw_only=True)
class Manner:
    """How a signature is made. Times are counted from the world's ``now``."""

    key: str = "agency"
    stated: timedelta | None = timedelta()
    stated_inside: timedelta | None = None
    token: Token | None = None
    subfilter: SigSeedSubFilter = SigSeedSubFilter.PADES
    digest: str = "sha256"
    leaf_only: bool = False
    names: str = "itself"
    permission: MDPPerm | None = None


class _Signer(signers.SimpleSigner):
    """As pyHanko's, but with odd signed attributes. ``named``: the certificate that they name, or None."""

    named: bytes | None
    said_inside: datetime | None

    async def signed_attrs(self, *args: Any, **options: Any) -> cms.CMSAttributes:
        usual = await super().signed_attrs(*args, **options)
        dropped = {"signing_certificate_v2", "signing_time"}
        kept = [attribute for attribute in usual if attribute["type"].native not in dropped]
        if self.named is not None:
            value = as_signing_certificate_v2(x509.Certificate.load(self.named))
            kept.append(cms.CMSAttribute({"type": "signing_certificate_v2", "values": [value]}))
        if self.said_inside is not None:
            time = cms.Time({"utc_time": core.UTCTime(self.said_inside)})
            kept.append(cms.CMSAttribute({"type": "signing_time", "values": [time]}))
        return cms.CMSAttributes(kept)


@dataclass(frozen=True, kw_only=True)
class Forge:
    authorities: Authorities
    http: HttpClient
    letter: Path
    folder: Path

    def signed(self, manner: Manner = Manner(), source: Path | None = None) -> Path:
        target = self._target()
        with (source or self.letter).open("rb") as stream, target.open("w+b") as output:
            self.embed(IncrementalPdfFileWriter(stream), output, manner)
        return target

    def embed(self, writer: IncrementalPdfFileWriter, output: Any, manner: Manner) -> None:
        signer = self._signer(manner)
        name = f"Signature{os.urandom(3).hex()}"
        steps = PdfCMSEmbedder(new_field_spec=SigFieldSpec(sig_field_name=name)).write_cms(name, writer)
        next(steps)
        stated = None if manner.stated is None else self.authorities.now + manner.stated
        placeholder = SignatureObject(timestamp=stated, subfilter=manner.subfilter, bytes_reserved=32768)
        locked = manner.permission is not None
        mdp = SigMDPSetup(
            md_algorithm=manner.digest, certify=locked, docmdp_perms=manner.permission or MDPPerm.FILL_FORMS
        )
        steps.send(SigObjSetup(sig_placeholder=placeholder, mdp_setup=mdp if locked else None))
        place, _ = steps.send(SigIOSetup(md_algorithm=manner.digest, output=output))
        clock = self._clock(manner.token) if manner.token else None
        signing = signer.async_sign(
            place.document_digest,
            manner.digest,
            use_pades=manner.subfilter is SigSeedSubFilter.PADES,
            timestamper=clock,
        )
        steps.send(asyncio.run(signing))

    def stamped(self, source: Path, after: timedelta, authority: str = "tsa") -> Path:
        """With a document timestamp at ``now + after``."""
        target = self._target()
        clock = self._clock(Token(after=after, authority=authority))
        with source.open("rb") as stream, target.open("w+b") as output:
            signers.PdfTimeStamper(clock).timestamp_pdf(
                IncrementalPdfFileWriter(stream), "sha256", validation_context=None, output=output
            )
        return target

    def stored(self, source: Path, after: timedelta, labels: Iterable[str]) -> Path:
        """With a security store that holds what OCSP said of these certificates, and of the CA, at ``now + after``."""
        answers = [answer for label in labels for answer in self.ocsps(label, after)]
        certificates = [x509.Certificate.load(self.authorities.certificate(label)) for label in ("ca", *labels)]
        with updating(source, target := self._target()) as writer:
            DocumentSecurityStore.supply_dss_in_writer(
                writer, None, certs=certificates, ocsps=[ocsp.OCSPResponse.load(answer) for answer in answers]
            )
        return target

    def ocsps(self, label: str, after: timedelta = timedelta()) -> list[bytes]:
        """What the responders say of a certificate of the usual CA, and of that CA, at ``now + after``."""
        return [
            der for subject, issuer in ((label, "ca"), ("ca", "root")) for der in self._asked(subject, issuer, after)
        ]

    @cached_property
    def all_ocsps(self) -> list[bytes]:
        """What the responders say now of every certificate that anybody signs with."""
        issued = {"foreign": "foreign-root", "foreign-tsa": "foreign-root", "below_revoked_ca": "revoked-ca"}
        signers = (
            "agency",
            "person",
            "elliptic",
            "expired",
            "revoked",
            "weak",
            "wrong_usage",
            "tsa",
            "purposeless-tsa",
        )
        pairs = [*issued.items(), *((label, "ca") for label in signers), ("ca", "root"), ("revoked-ca", "root")]
        return [der for subject, issuer in pairs for der in self._asked(subject, issuer, timedelta())]

    def online(self) -> RevocationSource:
        """A source that remembers nothing yet and works at the world's time."""
        return RevocationSource(self.http, self._target(), address_map={}, now=lambda: self.authorities.now)

    def changed(self, source: Path, kind: str) -> Path:
        """With a further revision: ``page``, ``field`` or ``tail`` (bytes of no revision)."""
        target = self._target()
        if kind == "tail":
            content = source.read_bytes()
            start = content[content.rindex(b"startxref") :]
            target.write_bytes(content + b"4 0 obj\n(what a repairing reader would show)\nendobj\n" + start)
            return target
        with updating(source, target) as writer:
            if kind == "page":
                page = writer.find_page_for_modification(0)[0].get_object()
                page["/Contents"] = writer.add_object(StreamObject(stream_data=b"BT ET"))
                writer.update_container(page)
            else:
                field = next(
                    f for f in writer.root["/AcroForm"]["/Fields"] if f.get_object()["/FT"] == "/Tx"
                ).get_object()
                field["/V"] = TextStringObject("99")
                writer.update_container(field)
        return target

    def altered(self, source: Path) -> Path:
        """With one byte of the signed content changed."""
        content = bytearray(source.read_bytes())
        content[content.index(b"/MediaBox [ 0 0 595") + 18] ^= 1
        (target := self._target()).write_bytes(content)
        return target

    def rewritten(self, source: Path, old: bytes, new: bytes) -> Path:
        content = source.read_bytes()
        assert old in content
        (target := self._target()).write_bytes(content.replace(old, new))
        return target

    def locked(self) -> Path:
        """A signed file that asks for a password."""
        with self.letter.open("rb") as stream:
            writer = copy_into_new_writer(PdfFileReader(stream))
            writer.encrypt("owner", "user")
            writer.write(plain := BytesIO())
        update = IncrementalPdfFileWriter(plain)
        update.encrypt("owner")
        with (target := self._target()).open("w+b") as output:
            self.embed(update, output, Manner())
        return target

    def _target(self) -> Path:
        return self.folder / f"{os.urandom(6).hex()}.pdf"

    def _signer(self, manner: Manner) -> _Signer:
        file = self.authorities.key(manner.key)
        loaded = signers.SimpleSigner.load_pkcs12(str(file.path), passphrase=file.password.encode())
        registry = SimpleCertificateStore() if manner.leaf_only else loaded.cert_registry
        signer = _Signer(signing_cert=loaded.signing_cert, signing_key=loaded.signing_key, cert_registry=registry)
        named = {"itself": file.certificate, "another": self.authorities.certificate("person"), "nothing": None}
        signer.named = named[manner.names]
        inside = manner.stated_inside
        signer.said_inside = None if inside is None else self.authorities.now + inside
        return signer

    def _clock(self, token: Token) -> timestamps.TimeStamper:
        return _Clock(self, token)

    def _asked(self, subject: str, issuer: str, after: timedelta) -> tuple[bytes, ...]:
        moment = self.authorities.now + after
        source = RevocationSource(self.http, self._target(), address_map={}, now=lambda: moment)
        self.authorities.moment = moment
        try:
            answers = source.answers(self.authorities.certificate(subject), self.authorities.certificate(issuer))
        finally:
            self.authorities.moment = None
        return answers.ocsps


class _Clock(timestamps.TimeStamper):
    """Asks a served timestamp authority at the token's time."""

    def __init__(self, forge: Forge, token: Token) -> None:
        super().__init__(include_nonce=True)
        self._forge = forge
        self._token = token

    async def async_request_tsa_response(self, req: tsp.TimeStampReq) -> tsp.TimeStampResp:
        world = self._forge.authorities
        if self._token.wrong:
            req["message_imprint"]["hashed_message"] = bytes(32)
        world.moment = world.now + self._token.after
        try:
            url, kind = world.tsa(self._token.authority), {"Content-Type": "application/timestamp-query"}
            answer = self._forge.http.call("POST", url, effect=False, headers=kind, body=req.dump(force=True))
        finally:
            world.moment = None
        return tsp.TimeStampResp.load(answer.body)
