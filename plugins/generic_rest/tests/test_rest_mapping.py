"""Every mistake in a mapping is reported with its line, and all of them at once."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rest_world import edited

from lienthong import ConfigError
from lienthong.errors import catalogue
from lienthong.tomltext import key_lines
from lienthong_conformance.simulators.office import MAPPING
from lienthong_generic_rest.mapping import load_mapping, secret_names

MISTAKES = tomllib.loads(Path(__file__).with_name("mistakes.toml").read_text("utf-8"))["mistake"]


def loaded(text: str, folder: Path) -> Path:
    (path := folder / "office.toml").write_text(text, "utf-8")
    load_mapping(path)
    return path


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake["name"])
def test_a_mistake_is_reported_at_its_line(mistake: dict[str, str], tmp_path: Path) -> None:
    text = edited((mistake["was"], mistake["becomes"]))
    with pytest.raises(ConfigError) as caught:
        loaded(text, tmp_path)
    line = next(number for number, content in enumerate(text.splitlines(), 1) if mistake["marker"] in content)
    assert (caught.value.code, caught.value.where) == (mistake["code"], f"{tmp_path / 'office.toml'}:{line}")
    assert mistake["named"] in caught.value.text("en")


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake["name"])
def test_a_mistake_is_told_in_both_languages_with_all_facts(mistake: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(edited((mistake["was"], mistake["becomes"])), tmp_path)
    error = caught.value
    texts = catalogue()[error.code].values()
    placeholders = {name for text in texts for name in re.findall(r"\{([a-z_]+)\}", text)}
    assert placeholders <= set(error.facts)


def test_all_mistakes_are_reported_together_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = edited(
        ('path = "/phien"', 'pfad = "/phien"'),
        ("{document.subject}", "{document.topic}"),
        ("lifetime_seconds = 1200", 'lifetime_seconds = "long"'),
    )
    with pytest.raises(ConfigError) as caught:
        loaded(text, tmp_path)
    codes = [each.code for each in caught.value.facts["mistakes"]]
    assert codes == ["mapping.wrong-type", "mapping.placeholder", "mapping.missing-key", "mapping.unknown-key"]
    assert all(each.where in caught.value.text("vi") for each in caught.value.facts["mistakes"])


def test_a_file_that_is_not_there_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_mapping(tmp_path / "nothing.toml")


def test_a_file_that_is_not_utf_8_is_a_configuration_error(tmp_path: Path) -> None:
    (path := tmp_path / "office.toml").write_bytes('a = "Sở"'.encode("utf-16"))
    with pytest.raises(ConfigError) as caught:
        load_mapping(path)
    assert caught.value.code == "mapping.unreadable"


def test_a_text_that_ends_too_early_is_reported_at_its_last_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded("a = 1\nb = [1,\n2,", tmp_path)
    assert caught.value.where.endswith(":3")


def test_the_secrets_that_a_mapping_needs_are_known() -> None:
    assert secret_names(load_mapping(MAPPING)) == {"user", "password"}


def test_braces_outside_of_templates_mean_nothing(tmp_path: Path) -> None:
    text = edited(
        ("outbox", "size = 20", 'start = "{secret}{"'), ("outbox.fields", '"lyDo"', '{ from = "lyDo", default = "{" }')
    )
    assert secret_names(load_mapping(loaded(text, tmp_path))) == {"user", "password"}


def test_keys_are_found_in_every_kind_of_table() -> None:
    text = """\
top = 1
[a.b]          # a implied
x.y = 2
"quoted.key" = 3
inline = { one = 1, two = { three = "]}" } }
many = [
  { k = 1 },   # }]
  { k = 2 },
]
text = '''
fake = 1
[fake]
'''
[[c]]
n = 1
[[c]]
n = 2
[c.d]
z = [[1], [2]]
"""
    lines = key_lines(text)
    wanted = {
        ("top",): 1,
        ("a",): 2,
        ("a", "b", "x", "y"): 3,
        ("a", "b", "quoted.key"): 4,
        ("a", "b", "inline", "two", "three"): 5,
        ("a", "b", "many"): 6,
        ("a", "b", "many", 1, "k"): 8,
        ("a", "b", "text"): 10,
        ("c", 0, "n"): 15,
        ("c", 1): 16,
        ("c", 1, "n"): 17,
        ("c", 1, "d"): 18,
        ("c", 1, "d", "z"): 19,
    }
    assert {path: lines.get(path) for path in wanted} == wanted
    assert ("fake",) not in lines


_KEYS = st.text("abc .\"'é-_", min_size=1, max_size=4)
_LEAVES = st.integers() | st.booleans() | st.floats(allow_nan=False) | st.text("a\"'\\#[]{}=,\n é", max_size=8)
_VALUES = st.recursive(
    _LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=3), max_leaves=6
)


@given(data=st.dictionaries(_KEYS, _VALUES, max_size=4))
def test_every_key_of_any_toml_is_found_at_a_line_that_holds_it(data: dict[str, Any]) -> None:
    text = "".join(
        f"# [x]\n{json.dumps(key, ensure_ascii=False)} = {as_toml(value)}\n\n" for key, value in data.items()
    )
    assert tomllib.loads(text) == data
    lines = key_lines(text)
    assert set(lines) == set(paths(data))
    content = text.splitlines()
    named = [(path, line) for path, line in lines.items() if isinstance(path[-1], str)]
    assert all(json.dumps(path[-1], ensure_ascii=False) in content[line - 1] for path, line in named)


def as_toml(value: Any) -> str:
    """A value in TOML, lists over several lines."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k, ensure_ascii=False)} = {as_toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[\n" + "".join(f"  {as_toml(each)}, # ]\n" for each in value) + "]"
    return repr(value).lower() if isinstance(value, bool | float) else json.dumps(value, ensure_ascii=False)


def paths(value: Any, above: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in entries:
        yield (*above, key)
        yield from paths(inner, (*above, key))
