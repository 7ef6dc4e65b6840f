"""Keys, a letter in Vietnamese, and the same letter signed: made once, never changed by a test."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas

from lienthong.model import FileVerification, Organization
from lienthong.signing.trust import TrustStore, load_trust
from lienthong.signing.verify import verify_pdf
from lienthong_conformance.pki import KeyFile, TestPki, make_pki

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
