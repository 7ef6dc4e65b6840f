"""Keys, a letter in Vietnamese, and the same letter signed: made once, never changed by a test."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas

from lienthong.config import TimestampAuthoritySettings
from lienthong.http import HttpClient, HttpSettings
from lienthong.model import FileVerification, Organization
from lienthong.signing.proof.revocation import RevocationSource
from lienthong.signing.proof.timestamps import TimestampAuthorities
from lienthong.signing.verification.trust import TrustStore, load_trust
from lienthong.signing.verification.verify import verify_pdf
from lienthong_conformance.pki import KeyFile, TestPki, make_pki

from .authorities import Authorities
from .proofs import Proofs, real_time
from .workshop import NOW, sign

AGENCIES = (
    Organization(code="000.00.01.H53", name="Ủy ban nhân dân huyện An Lạc"),
    Organization(code="000.00.02.H53", name="Sở Nội vụ"),
)


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> TestPki:
    return make_pki(tmp_path_factory.mktemp("pki"), AGENCIES, now=NOW)


@pytest.fixture(scope="session")
def agency(pki: TestPki) -> KeyFile:
    return pki.agencies["000.00.01.H53"]


@pytest.fixture(scope="session")
def authorities(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Authorities]:
    """A PKI whose OCSP, CRL and timestamp services answer on a socket. Its time is the real one."""
    world = Authorities(tmp_path_factory.mktemp("authorities"))
    yield world
    world.close()


@pytest.fixture(scope="session")
def authorities_http() -> Iterator[HttpClient]:
    client = HttpClient(HttpSettings(tries=1), peer="proof", now=real_time)
    yield client
    client.close()


@pytest.fixture
def proofs(authorities: Authorities, authorities_http: HttpClient, letter: Path, tmp_path: Path, clock) -> Proofs:
    """A desk that raises levels with the first timestamp authority. ``clock``, which begins now, is its time."""
    clock.moment = real_time()
    settings = [TimestampAuthoritySettings(url=authorities.tsa_url)]
    trust = authorities.trust()
    return Proofs(
        authorities=authorities,
        timestamps=TimestampAuthorities(settings, authorities_http, trust, clock),
        revocation=RevocationSource(authorities_http, tmp_path / "answers", address_map={}, now=clock),
        trust=trust,
        letter=letter,
        folder=tmp_path,
    )


@pytest.fixture(scope="session")
def http_of() -> Iterator[Callable[[HttpSettings], HttpClient]]:
    """One HTTP client per settings for all tests: reading the system's CA certificates takes a tenth of a second."""
    made: dict[HttpSettings, HttpClient] = {}

    def make(settings: HttpSettings) -> HttpClient:
        if settings not in made:
            made[settings] = HttpClient(settings, peer="nguoi-ky", now=lambda: NOW)
        return made[settings]

    yield make
    for each in made.values():
        each.close()


@pytest.fixture(scope="session")
def trust(pki: TestPki) -> TrustStore:
    return load_trust([pki.roots], [pki.intermediates])


@pytest.fixture(scope="session")
def letter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One page in Vietnamese, unsigned."""
    path = tmp_path_factory.mktemp("letter") / "cong-van.pdf"
    pdfmetrics.registerFont(TTFont("serif", _serif()))
    canvas = Canvas(str(path), invariant=True)
    canvas.setFont("serif", 13)
    canvas.drawString(90, 760, "CỘNG HÒA XÃ HỘI CHỦ NGHĨA VIỆT NAM")
    canvas.drawString(90, 730, "Số: 15/UBND-VP, về việc báo cáo tình hình quý I")
    canvas.save()
    return path


@pytest.fixture(scope="session")
def signed(letter: Path, agency: KeyFile, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The letter with one good signature of the agency."""
    return sign(letter, tmp_path_factory.mktemp("signed") / "signed.pdf", agency)


@pytest.fixture
def check(trust: TrustStore) -> Callable[[Path], FileVerification]:
    """Verifies a file at the tests' time, with the agencies' root."""
    return lambda path: verify_pdf(path, path.name, trust, at=NOW)


def _serif() -> str:
    matplotlib = importlib.util.find_spec("matplotlib")
    assert matplotlib is not None, "the demo extra carries the font"
    assert matplotlib.origin is not None
    return str(Path(matplotlib.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSerif.ttf")
