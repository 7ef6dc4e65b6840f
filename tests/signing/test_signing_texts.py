from __future__ import annotations

import re
from pathlib import Path

import pytest

import lienthong.signing
from lienthong.errors import catalogue

RAISED = re.compile(r'"((?:sign|verify)\.[a-z0-9-]+)"')
CODES = {
    code
    for file in Path(lienthong.signing.__file__).parent.rglob("*.py")
    for code in RAISED.findall(file.read_text("utf-8"))
}


@pytest.mark.parametrize("code", sorted(CODES))
def test_every_code_says_what_happened_and_what_to_do_in_both_languages(code):
    texts = catalogue()[code]
    assert set(texts) == {"en", "vi", "next_en", "next_vi"}
    assert all(texts.values())
    english, vietnamese = (re.findall(r"\{(\w+)\}", texts[language]) for language in ("en", "vi"))
    assert english == [name.removesuffix("_vi") for name in vietnamese], "a fact may have a wording for each language"


def test_the_codes_were_found():
    assert {"sign.wrong-password", "verify.trust-file-missing"} <= CODES
