"""``signing/README.md`` says what is true: its configuration loads, and every test that it names is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lienthong.config import load
from lienthong.errors import catalogue

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "core" / "lienthong" / "signing" / "README.md").read_text("utf-8")
NAMED = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)
CODES = re.findall(r"`((?:sign|peer)\.[a-z-]+)`", PAGE)


def test_the_configuration_on_the_page_is_one(configured):
    keys, signing, appearance = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    connections = keys.index("[connection.office]")
    config = load(configured("\n".join([keys[:connections], appearance, keys[connections:], signing])))
    assert config.agency[0].appearance.main
    assert config.signing.level == "B-T"


@pytest.mark.parametrize(("file", "test"), NAMED, ids=[test for _, test in NAMED])
def test_what_the_page_calls_proven_is(file, test):
    assert f"def {test}(" in (ROOT / file).read_text("utf-8")


def test_every_trouble_has_its_test_and_its_text():
    troubles = [line for line in PAGE.splitlines() if line.startswith("|") and "`awaiting-" in line]
    assert troubles
    assert all("::test_" in line for line in troubles)
    assert [code for code in CODES if code not in catalogue()] == []
