"""The public face: names that plugin authors may use, and hooks that say what they ask of a plugin."""

from __future__ import annotations

import inspect
import re
import typing
from types import ModuleType

import pytest

import lienthong
from lienthong import edxml, errors, hookspecs, http, model
from lienthong.hookspecs import HOOK_NAMES, Hooks
from lienthong.signing.keys import remote

# The hooks of the design, in the order of a document's way.
DESIGN = (
    "describe",
    "fetch",
    "credential",
    "sign",
    "package",
    "deliver",
    "acknowledge",
    "reconcile",
    "directory",
    "probe",
    "register_commands",
)
every_hook = pytest.mark.parametrize("name", HOOK_NAMES)


# --- names --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", [lienthong, http, edxml, remote], ids=lambda module: module.__name__)
def test_public_names_are_sorted_and_there(module):
    names = module.__all__
    assert names == sorted(names, key=as_constant_class_or_function)
    assert len(names) == len(set(names))
    assert [name for name in names if not hasattr(module, name)] == []


def as_constant_class_or_function(name: str) -> tuple[int, str]:
    """Constants first, then classes, then the rest, as the linter sorts them."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2), name


def test_nothing_else_looks_public():
    shown = {name for name, value in vars(lienthong).items() if not name.startswith("_")}
    shown -= {name for name in shown if isinstance(getattr(lienthong, name), ModuleType)}
    assert shown | {"__version__"} == set(lienthong.__all__)


@pytest.mark.parametrize("name", [name for name in lienthong.__all__ if inspect.isclass(getattr(lienthong, name))])
def test_every_public_class_comes_from_the_contract(name):
    assert getattr(lienthong, name).__module__ in (model.__name__, errors.__name__, hookspecs.__name__)


def test_errors_that_leave_a_hook_are_public():
    allowed = ("Rejected", "Unavailable", "OutcomeUnknown", "ContentError", "SigningError")
    assert [name for name in allowed if name not in lienthong.__all__] == []
    assert [name for name in allowed if f"``{name}``" not in (hookspecs.__doc__ or "")] == []


def test_what_a_hook_takes_and_gives_is_public():
    hints = [typing.get_type_hints(getattr(Hooks, name), vars(hookspecs) | THERE) for name in DESIGN[:-1]]
    named = {kind for given in hints for annotation in given.values() for kind in classes_in(annotation)}
    ours = {kind.__name__ for kind in named if kind.__module__.startswith("lienthong")}
    assert ours - set(lienthong.__all__) == set()


THERE = {"HttpClient": http.HttpClient}


def classes_in(annotation: object) -> set[type]:
    if isinstance(annotation, type) and not typing.get_args(annotation):
        return {annotation}
    return {kind for argument in typing.get_args(annotation) for kind in classes_in(argument)}


# --- hooks --------------------------------------------------------------------------------------------------------


def test_the_hooks_are_those_of_the_design():
    assert HOOK_NAMES == DESIGN


@every_hook
def test_every_hook_says_what_it_asks_of_a_plugin(name):
    text = inspect.getdoc(getattr(Hooks, name)) or ""
    assert len(text.splitlines()[0]) > 20
    assert re.search(r"\b(MUST|MAY)\b|:raises ", text)


@every_hook
def test_every_argument_and_answer_of_a_hook_has_a_type(name):
    signature = inspect.signature(getattr(Hooks, name))
    arguments = [parameter for parameter in signature.parameters.values() if parameter.name != "self"]
    assert [parameter.name for parameter in arguments if parameter.annotation is parameter.empty] == []
    assert signature.return_annotation is not signature.empty


@pytest.mark.parametrize("name", [name for name in HOOK_NAMES if name not in ("describe", "register_commands")])
def test_every_hook_is_called_for_one_connection(name):
    assert list(inspect.signature(getattr(Hooks, name)).parameters)[:2] == ["self", "connection"]


@pytest.mark.parametrize("name", [name for name in HOOK_NAMES if name != "register_commands"])
def test_every_hook_is_answered_by_one_plugin(name):
    assert getattr(Hooks, name).lienthong_spec["firstresult"]


@every_hook
def test_a_specification_is_not_an_implementation(name):
    hook = getattr(Hooks(), name)
    if name == "register_commands":
        assert hook(app=None) is None
        return
    arguments = dict.fromkeys(inspect.signature(hook).parameters)
    with pytest.raises(NotImplementedError):
        hook(**arguments)


def test_files_are_read_in_chunks_that_base64_needs_no_carry_for(tmp_path):
    file = tmp_path / "part"
    file.write_bytes(bytes(range(256)) * 1000)
    with file.open("rb") as source:
        chunks = list(lienthong.read_chunks(source))
    assert b"".join(chunks) == file.read_bytes()
    assert all(len(chunk) % 3 == 0 for chunk in chunks[:-1])
