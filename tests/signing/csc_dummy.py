"""certomancer's signing service (CSC API 1.0.4) on a real socket: a server that nobody here wrote."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web
from asn1crypto import pem
from certomancer.registry import ArchLabel, CertLabel, CertomancerConfig
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from csc_dummy.csc_dummy_server import CSCWithCertomancer, DummyServiceParams

ARCHITECTURE = "dich-vu"
_SIGNER = {"issuer": "root", "profiles": ["digsig-commitment"]}
_PERIOD = {"valid-from": "2020-01-01T00:00:00+0000", "valid-to": "2099-01-01T00:00:00+0000"}


@dataclass(frozen=True, kw_only=True)
class CscDummy:
    """``url`` stands before ``/csc/v1``; ``root`` is a PEM file. The keys are dich-vu/rsa and dich-vu/elliptic."""

    url: str
    root: Path


@contextlib.contextmanager
def csc_dummy(folder: Path) -> Iterator[CscDummy]:
    world = _world(folder)
    with warnings.catch_warnings():
        # aiohttp would like other keys for what the server keeps on its application.
        warnings.simplefilter("ignore")
        service = CSCWithCertomancer(world, service_params=DummyServiceParams(hash_pinning_required=True))
    service.register_routes()
    root = folder / "root-certificate.pem"
    certificate = world.get_pki_arch(ArchLabel(ARCHITECTURE)).get_cert(CertLabel("root"))
    root.write_bytes(pem.armor("CERTIFICATE", certificate.dump()))
    with _served(service.app) as url:
        yield CscDummy(url=url, root=root)


@contextlib.contextmanager
def _served(app: web.Application) -> Iterator[str]:
    loop, runner = asyncio.new_event_loop(), web.AppRunner(app, access_log=None)

    async def begin() -> int:
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return int(runner.addresses[0][1])

    port = loop.run_until_complete(begin())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def _world(folder: Path) -> CertomancerConfig:
    keys = {
        "root": rsa.generate_private_key(public_exponent=65537, key_size=2048),
        "rsa": rsa.generate_private_key(public_exponent=65537, key_size=2048),
        "elliptic": ec.generate_private_key(ec.SECP256R1()),
    }
    for label, key in keys.items():
        content = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (folder / f"{label}.pem").write_bytes(content)
    certificates = {
        "root": {"issuer": "root", "profiles": ["simple-ca"], "validity": _PERIOD},
        "rsa": {**_SIGNER, "validity": _PERIOD},
        "elliptic": {**_SIGNER, "validity": _PERIOD},
    }
    architecture = {
        "keyset": "keys",
        "entities": {label: {"common-name": f"Thử nghiệm {label}"} for label in keys},
        "certs": certificates,
    }
    config = {
        "external-url-prefix": "http://127.0.0.1",
        "keysets": {"keys": {"keys": {label: {"path": f"{label}.pem"} for label in keys}}},
        "pki-architectures": {ARCHITECTURE: architecture},
    }
    return CertomancerConfig(config, key_search_dir=str(folder))
