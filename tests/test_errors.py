"""Every error can be read in two languages and carried to another process; the catalogue and the source agree."""

from __future__ import annotations

import ast
import pickle
import re
import string
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lienthong import errors
from lienthong.errors import LienthongError, Unavailable, catalogue

ROOT = Path(__file__).parents[1]
KINDS = {
    name: kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, LienthongError) and not name.startswith("_")
}
CODE = re.compile(r"[a-z]+\.[a-z0-9]+(-[a-z0-9]+)*")
TEXTS = ("en", "vi", "next_en", "next_vi")


@dataclass(frozen=True)
class Raise:
    """One place in the source that makes an error with a literal code; ``facts`` None when they are not all literal."""

    place: str
    code: str
    facts: frozenset[str] | None


def placeholders(code: str, texts: tuple[str, ...] = TEXTS) -> set[str]:
    return {name for text in texts for _, name, _, _ in string.Formatter().parse(catalogue()[code][text]) if name}


@cache
def sources() -> tuple[tuple[Path, ast.Module], ...]:
    files = (file for top in ("core", "plugins", "conformance") for file in sorted((ROOT / top).rglob("*.py")))
    return tuple((file, ast.parse(file.read_text("utf-8"))) for file in files if "tests" not in file.parts)


def nodes(kind: type[ast.AST]) -> Iterator[tuple[Path, ast.AST]]:
    return ((file, node) for file, tree in sources() for node in ast.walk(tree) if isinstance(node, kind))


@cache
def constants() -> frozenset[str]:
    return frozenset(node.value for _, node in nodes(ast.Constant) if isinstance(node.value, str))


@cache
def assembled_groups() -> frozenset[str]:
    """Groups whose codes are put together at run time: ``f"verify.{reason}"``."""
    starts = (node.values[0] for _, node in nodes(ast.JoinedStr) if node.values)
    texts = (start.value for start in starts if isinstance(start, ast.Constant))
    return frozenset(text[:-1] for text in texts if re.fullmatch(r"[a-z]+\.", text))


@cache
def raises() -> tuple[Raise, ...]:
    found = []
    for file, call in nodes(ast.Call):
        name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        if name in KINDS and call.args and isinstance(call.args[0], ast.Constant):
            given = {keyword.arg for keyword in call.keywords}
            facts = None if None in given else frozenset(given) - {"where"}
            found.append(Raise(f"{file.relative_to(ROOT)}:{call.lineno}", call.args[0].value, facts))
    return tuple(found)


# --- source and catalogue ---------------------------------------------------------------------------------------


def test_the_search_finds_the_places_that_raise():
    assert len(raises()) > 100
    assert "config.missing" in {place.code for place in raises()}


def test_every_code_that_is_raised_is_in_the_catalogue():
    assert [place for place in raises() if place.code not in catalogue()] == []


def test_every_reason_code_is_in_the_catalogue():
    groups = {code.partition(".")[0] for code in catalogue()}
    alike = [text for text in constants() if CODE.fullmatch(text) and not text.endswith((".toml", ".lock"))]
    assert [code for code in alike if code.partition(".")[0] in groups and code not in catalogue()] == []


def test_every_text_names_only_facts_that_the_error_carries():
    told = [place for place in raises() if place.facts is not None and place.code in catalogue()]
    assert [place for place in told if not placeholders(place.code) <= place.facts] == []


def test_every_text_in_the_catalogue_is_used():
    assert [code for code in catalogue() if not is_used(code)] == []


def is_used(code: str) -> bool:
    group, _, name = code.partition(".")
    return code in constants() or (group in assembled_groups() and name in constants())


def test_every_entry_says_what_happened_and_what_to_do_in_both_languages():
    assert [code for code, entry in catalogue().items() if set(entry) != set(TEXTS)] == []
    assert [code for code, entry in catalogue().items() if not all(text.strip() for text in entry.values())] == []


def test_both_languages_tell_the_same_facts():
    differing = []
    for code in catalogue():
        own = {name.removesuffix("_vi") for name in placeholders(code, ("vi", "next_vi"))}
        if own != placeholders(code, ("en", "next_en")):
            differing.append(code)
    assert differing == []


def test_the_vietnamese_texts_have_their_marks():
    texts = {code: unicodedata.normalize("NFC", entry["vi"] + entry["next_vi"]) for code, entry in catalogue().items()}
    assert [code for code, text in texts.items() if not re.search("[à-ỹđ]", text.lower())] == []


def test_codes_are_lower_case_words_behind_a_group():
    assert [code for code in catalogue() if not CODE.fullmatch(code)] == []


# --- one error --------------------------------------------------------------------------------------------------


def test_an_error_says_what_happened_where_and_what_to_do_next():
    error = LienthongError("store.lease-lost", where="delivery 7", item="7")
    assert str(error).startswith("The lease of 7 ended while it was being worked on")
    assert "[delivery 7]" in str(error)
    assert str(error).endswith("→ Another worker has it now. If this repeats, raise adapter.lease_seconds.")
    assert error.text("vi").startswith("Hết hạn giữ 7 khi đang xử lý")


def test_an_error_keeps_its_facts_for_machines():
    error = LienthongError("peer.busy", where="here", peer="trục", status=503)
    assert (error.code, error.where, error.facts) == ("peer.busy", "here", {"peer": "trục", "status": 503})


def test_a_missing_fact_leaves_a_question_mark_and_never_a_crash():
    assert LienthongError("store.lease-lost").text("en").startswith("The lease of ? ended")


def test_an_unknown_code_is_shown_as_it_is():
    assert LienthongError("no.such-code", where="here").text("vi") == "no.such-code [here]"


@given(st.sampled_from(sorted(catalogue())), st.text())
def test_whatever_a_peer_says_can_stand_in_a_text(code, said):
    error = LienthongError(code, **dict.fromkeys(placeholders(code), said))
    for language in ("en", "vi"):
        assert said in error.text(language) or not placeholders(code, (language, f"next_{language}"))


@given(st.sampled_from(sorted(KINDS.values(), key=lambda kind: kind.__name__)), st.text(), st.text())
def test_an_error_comes_whole_out_of_another_process(kind, where, fact):
    error = kind("peer.rejected", where=where, peer="trục", peer_code=fact, code="a fact may have this name")
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is kind
    assert (copy.code, copy.where, copy.facts, str(copy)) == (error.code, error.where, error.facts, str(error))


@pytest.mark.parametrize(("wish", "seconds"), [(30, 30.0), (0.5, 0.5), (None, None), ("soon", None)])
def test_the_peers_wish_is_a_number_of_seconds_or_nothing(wish, seconds):
    assert Unavailable("peer.busy", retry_after=wish).retry_after == seconds


def test_a_peer_without_a_wish_has_none():
    assert Unavailable("peer.busy").retry_after is None


# --- the tree ---------------------------------------------------------------------------------------------------


def drawn() -> dict[str, str]:
    """Class -> parent, as the module's docstring draws them."""
    parents, above = {}, {}
    for line in (errors.__doc__ or "").splitlines():
        if match := re.match(r"([│ ]*)(?:[├└]── )?(\w+)(  |$)", line):
            depth = len(match[1]) // 4 + (1 if "── " in line else 0)
            above[depth] = match[2]
            if depth or match[2] == "LienthongError":
                parents[match[2]] = above.get(depth - 1, "Exception")
    return parents


def test_the_docstring_draws_the_tree_as_it_is():
    assert drawn() == {name: kind.__bases__[0].__name__ for name, kind in KINDS.items()}


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.__name__)
def test_every_kind_of_error_is_explained(kind):
    assert kind.__doc__
