from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.sign import signers
from pyhanko.sign.fields import SigSeedSubFilter

from lienthong.model import Verdict
from lienthong.signing.pades import sign_pdf
from lienthong_conformance.letters import blank_pdf

from .workshop import (
    NOW,
    asker,
    credential_of,
)

MB = 1000 * 1000
NIGHTLY = bool(os.environ.get("LIENTHONG_NIGHTLY"))


def test_it_is_several_times_faster_than_signing_with_the_key_loaded_each_time(tmp_path, agency):
    source = tmp_path / "in.pdf"
    blank_pdf(source, 66_000)
    credential, ask = credential_of(agency), asker(agency)

    def ours():
        sign_pdf(source, tmp_path / "ours.pdf", credential=credential, sign=ask, at=NOW)

    simple = signers.SimpleSigner.load_pkcs12(str(agency.path), passphrase=agency.password.encode())
    metadata = signers.PdfSignatureMetadata(field_name="S", md_algorithm="sha256", subfilter=SigSeedSubFilter.PADES)

    def theirs():
        with source.open("rb") as stream, (tmp_path / "theirs.pdf").open("w+b") as output:
            signers.sign_pdf(IncrementalPdfFileWriter(stream), metadata, signer=simple, output=output)

    assert seconds(theirs) > 4 * seconds(ours)


def seconds(action):
    action()
    begin = time.process_time()
    for _ in range(5):
        action()
    return time.process_time() - begin


MEMORY = """
import sys
from pathlib import Path
from lienthong_conformance.pki import KeyFile
from signing.workshop import sign

small, large, target, p12, password = sys.argv[1:]
key = KeyFile(path=Path(p12), password=password, certificate=b"")
for source in (small, large):
    sign(Path(source), Path(target), key)
    print(Path("/proc/self/status").read_text("ascii"))
"""


@pytest.mark.parametrize(
    ("size", "most"),
    [(60 * MB, 150), pytest.param(250 * MB, 120, marks=pytest.mark.skipif(not NIGHTLY, reason="long"))],
)
def test_memory_does_not_grow_with_the_document(letter, tmp_path, agency, check, size, most):
    large, target = tmp_path / "large.pdf", tmp_path / "signed.pdf"
    blank_pdf(large, size)
    answer = subprocess.run(
        [sys.executable, "-c", MEMORY, letter, large, target, agency.path, agency.password],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
        check=True,
    )
    before, after = (int(kb) / 1024 for kb in re.findall(r"VmHWM:\s+(\d+)", answer.stdout))
    assert after - before < 20, "megabytes"
    assert after < most, "megabytes of the whole process"
    assert check(target).verdict is Verdict.VALID
