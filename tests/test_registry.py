"""Plugins are found, checked and called; a plugin that breaks is named and never stops the rest."""

from __future__ import annotations

import io
import sys
from textwrap import dedent

import pytest
from peers import answer

from lienthong import ConfigError, ContractViolation, Rejected, Unavailable
from lienthong.config import load
from lienthong.errors import StorageFull, StoreError
from lienthong.registry import discover, open_connections

HEAD = """\
from lienthong import *
from pydantic import BaseModel


class Config(BaseModel):
    url: str = ""


@hookimpl
def describe() -> Manifest:
    return Manifest(name="{name}", version="1", role="{role}", summary="a test", config=Config)
"""

OFFICE = """

@hookimpl
def deliver(connection, delivery):
    return Receipt(peer_id="7")
"""

AXIS = (
    OFFICE
    + """

@hookimpl
def fetch(connection, cursor):
    return Batch(cursor="2")


@hookimpl
def package(connection, message, open_part, sink):
    return True


@hookimpl
def acknowledge(connection, source_id, kind, stored, detail):
    return True
"""
)

CONFIGURATION = """\
[[agency]]
code = "H53"
name = "UBND"
office = "drop"
axis = "axis"

[connection.drop]
plugin = "drop"

[connection.axis]
plugin = "line"
url = "https://axis.example.vn"
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Puts a distribution with one plugin into a folder of its own on ``sys.path``, as pip would."""
    modules = []

    def distribution(name: str, source: str, *, role: str = "office", owner: str = "") -> None:
        owner, module = owner or f"lienthong-{name}", f"plugin_{name}_{len(modules)}"
        folder = tmp_path / "site" / owner
        info = folder / f"{owner.replace('-', '_')}-1.5.dist-info"
        info.mkdir(parents=True)
        (folder / f"{module}.py").write_text(dedent(source).replace("{name}", name).replace("{role}", role), "utf-8")
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {owner}\nVersion: 1.5\n")
        (info / "entry_points.txt").write_text(f"[lienthong.plugins]\n{name} = {module}\n")
        monkeypatch.syspath_prepend(folder)
        modules.append(module)

    yield distribution
    for module in modules:
        sys.modules.pop(module, None)


@pytest.fixture
def opened(install, configured, tmp_path, clock):
    """Opens a connection ``axis`` whose plugin is an axis with ``source`` appended."""
    connections = {}

    def make(source: str, observe=lambda *_: None):
        install("drop", HEAD + OFFICE)
        install("line", HEAD + AXIS + dedent(source), role="axis")
        connections.update(open_connections(load(configured(CONFIGURATION)), tmp_path, clock, observe))
        return connections["axis"]

    yield make
    for connection in connections.values():
        connection.close()


def problem_of(install, source: str, role: str = "office") -> str:
    install("broken", source, role=role)
    return discover()["broken"].problem


# --- discovery --------------------------------------------------------------------------------------------------


def test_a_strangers_distribution_is_found_beside_the_built_in_plugins(install):
    install("postman", HEAD + OFFICE, owner="stranger-plugins")
    found = discover()
    assert found["postman"].state == "usable"
    assert found["postman"].distribution == "stranger-plugins 1.5"
    assert found["postman"].hooks == {"describe", "deliver"}
    assert found["folder"].state == "usable"


def test_the_built_in_plugins_are_usable():
    assert [plugin for plugin in discover().values() if plugin.state == "broken"] == []


def test_only_the_plugins_that_are_named_are_loaded(install, tmp_path):
    install("touchy", f"open({str(tmp_path / 'loaded')!r}, 'w').close()\n")
    assert list(discover(frozenset({"folder"}))) == ["folder"]
    assert not (tmp_path / "loaded").exists()


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("def broken(:", "SyntaxError: "),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("", "The plugin has no describe() hook that returns a Manifest"),
        (HEAD.replace("return Manifest", "raise RuntimeError(1)\n    return Manifest"), "RuntimeError: 1"),
        (HEAD.replace("return Manifest", "return dict"), "The plugin has no describe() hook that returns a Manifest"),
        (HEAD.replace('name="{name}"', 'name="other"'), "The manifest says other, the entry point says broken"),
        (HEAD.replace('role="{role}"', 'role="postman"') + OFFICE, "postman"),
        (HEAD, "A plugin with the role office needs: deliver"),
        (HEAD + OFFICE.replace("@hookimpl\n", ""), "A plugin with the role office needs: deliver"),
        (HEAD + OFFICE.replace("deliver", "deliverr"), "unknown hook 'deliverr'"),
        (HEAD + OFFICE.replace("connection, delivery", "connection, document"), "document"),
        (
            HEAD + OFFICE.replace("delivery)", "delivery, urgent=False)"),
            "Hook deliver asks for urgent; the contract offers connection, delivery",
        ),
        (
            HEAD.replace('summary="a test"', 'summary="", capabilities=Capabilities(dedup="lookup")') + OFFICE,
            "A plugin with the role office needs: reconcile (dedup is 'lookup')",
        ),
    ],
)
def test_a_broken_plugin_is_named_with_its_reason_and_the_rest_goes_on(install, source, says):
    assert says in problem_of(install, source)
    assert discover()["broken"].state == "broken"
    assert discover()["folder"].state == "usable"


def test_a_hook_may_stand_under_another_function_name(install):
    source = OFFICE.replace("@hookimpl\ndef deliver", '@hookimpl(specname="deliver")\ndef hand_over')
    assert problem_of(install, HEAD + source) == ""
    assert discover()["broken"].hooks == {"describe", "deliver"}


@pytest.mark.parametrize("missing", ["fetch", "package", "deliver", "acknowledge"])
def test_an_axis_needs_four_hooks(install, missing):
    source = HEAD + AXIS.replace(f"@hookimpl\ndef {missing}(", f"def {missing}(")
    assert f"A plugin with the role axis needs: {missing}" in problem_of(install, source, role="axis")


def test_a_signer_needs_credential_and_sign(install):
    assert "A plugin with the role signer needs: credential, sign" in problem_of(install, HEAD, role="signer")


def test_a_name_that_two_distributions_offer_belongs_to_neither(install):
    install("postman", HEAD + OFFICE, owner="first")
    install("postman", HEAD + OFFICE, owner="second")
    plugin = discover()["postman"]
    assert plugin.state == "broken"
    assert "first" in plugin.problem
    assert "second" in plugin.problem


# --- opening ----------------------------------------------------------------------------------------------------


def test_a_connection_has_its_own_keys_folder_and_agencies(opened, tmp_path):
    connection = opened("").connection
    assert connection.config.url == "https://axis.example.vn"
    assert connection.folder == tmp_path / "connections" / "axis"
    assert connection.folder.is_dir()
    assert [agency.code for agency in connection.agencies] == ["H53"]


def open_all(configured, tmp_path, clock, text: str = CONFIGURATION):
    return open_connections(load(configured(text)), tmp_path, clock)


def test_a_plugin_that_is_not_installed_is_named_with_those_that_are(install, configured, tmp_path, clock):
    install("drop", HEAD + OFFICE)
    with pytest.raises(ConfigError, match=r"There is no plugin line; installed: .*drop.*folder.*connection\.axis"):
        open_all(configured, tmp_path, clock)


def test_a_broken_plugin_stops_the_start(install, configured, tmp_path, clock):
    install("drop", HEAD + OFFICE)
    install("line", "1 / 0")
    with pytest.raises(ConfigError, match="The plugin line cannot be used: ZeroDivisionError"):
        open_all(configured, tmp_path, clock)


def test_a_plugin_in_the_wrong_role_stops_the_start(install, configured, tmp_path, clock):
    install("drop", HEAD + OFFICE)
    install("line", HEAD + OFFICE)
    with pytest.raises(ConfigError, match=r"The plugin line is for the role office, but .* as axis"):
        open_all(configured, tmp_path, clock)


def test_everything_that_is_wrong_is_named_at_once(install, configured, tmp_path, clock):
    install("drop", "1 / 0")
    with pytest.raises(ConfigError) as caught:
        open_all(configured, tmp_path, clock)
    assert caught.value.facts["count"] == 2
    assert "The plugin drop cannot be used" in str(caught.value)
    assert "There is no plugin line" in str(caught.value)


def test_a_connection_that_no_agency_uses_is_not_opened(install, configured, tmp_path, clock):
    install("drop", HEAD + OFFICE)
    install("line", HEAD + AXIS, role="axis")
    text = CONFIGURATION + '[connection.spare]\nplugin = "not installed"\n'
    assert set(open_all(configured, tmp_path, clock, text)) == {"drop", "axis"}


# --- calling ----------------------------------------------------------------------------------------------------


def test_a_hooks_answer_is_handed_on(opened):
    call = opened("").call("fetch", cursor="1")
    assert call.error is None
    assert call.result().cursor == "2"
    assert call.seconds >= 0


REPLACED = """

@hookimpl
def fetch(connection, cursor):
    {}
"""


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("pass", "returned NoneType, not Batch"),
        ("return []", "returned list, not Batch"),
        ("return Batch", "returned type, not Batch"),
        ("raise KeyError('docId')", "raised KeyError: 'docId'"),
        ("return 1 / 0", "raised ZeroDivisionError: division by zero"),
        ("return fetch(connection, cursor)", "raised RecursionError"),
        ("raise SystemExit(3)", "raised SystemExit: 3"),
        ("return Batch(items=(1,))", "returned a Batch with items that are none: int"),
        ("return Batch(items=(None, 'a', None))", "returned a Batch with items that are none: NoneType, str"),
        ("return Batch(items=None)", "returned a Batch whose items are a NoneType, not a tuple"),
        ("return Batch(items=iter(()))", "returned a Batch whose items are a tuple_iterator, not a tuple"),
        ("return Batch(cursor=7)", "returned a Batch whose cursor is a int, not a str"),
    ],
)
def test_whatever_is_not_in_the_contract_is_a_violation(opened, body, says):
    call = opened(REPLACED.format(body)).call("fetch", cursor=None)
    assert isinstance(call.error, ContractViolation)
    assert call.error.text("en").startswith(f"Plugin line, hook fetch: {says}")
    with pytest.raises(ContractViolation):
        call.result()


def test_a_violation_keeps_its_cause_for_the_log(opened):
    call = opened(REPLACED.format("return 1 / 0")).call("fetch", cursor=None)
    assert isinstance(call.error.__cause__, ZeroDivisionError)


@pytest.mark.parametrize("answered", ["False", "None", "1"])
def test_a_hook_that_only_confirms_confirms_with_true(opened, answered):
    source = f"\n\n@hookimpl\ndef acknowledge(connection, source_id, kind, stored, detail):\n    return {answered}\n"
    call = opened(source).call("acknowledge", source_id="1", kind="edoc", stored=True, detail="")
    assert isinstance(call.error, ContractViolation)


def test_a_hook_that_the_plugin_does_not_have_is_a_violation_and_can_be_asked_for(opened):
    connection = opened("")
    assert not connection.has("probe")
    assert isinstance(connection.call("probe").error, ContractViolation)


@pytest.mark.parametrize("kind", ["Refused", "LeaseLost", "KeyConflict", "PluginError", "PeerError", "LienthongError"])
def test_a_plugin_does_not_speak_for_the_rules_or_the_store(opened, kind):
    body = f"from lienthong.errors import {kind}; raise {kind}('rules.secret', where='here')"
    error = opened(REPLACED.format(body)).call("fetch", cursor=None).error
    assert isinstance(error, ContractViolation)
    assert f"raised {kind}: " in error.text("en")
    assert error.__cause__.where == "here"


@pytest.mark.parametrize("problem", [StorageFull("store.full"), StoreError("store.no-such-blob", sha256="ab")])
def test_what_the_store_itself_says_goes_through_a_hook(opened, problem):
    def no_room(_sink):
        raise problem

    assert opened("").save(no_room, io.BytesIO()).error is problem


@pytest.mark.parametrize("kind", [Rejected, Unavailable])
def test_an_error_of_the_contract_comes_back_as_it_is(opened, kind):
    call = opened(REPLACED.format(f"raise {kind.__name__}('peer.busy', peer='x')")).call("fetch", cursor=None)
    assert type(call.error) is kind
    with pytest.raises(kind):
        call.result()


def test_an_items_bytes_are_saved_under_the_same_guard(opened):
    connection, sink = opened(""), io.BytesIO()
    assert connection.save(lambda file: file.write(b"x") and None, sink).error is None
    assert sink.getvalue() == b"x"
    failed = connection.save(lambda file: {}["missing"], sink)
    assert failed.error.text("en").startswith("Plugin line, hook save: raised KeyError")


def test_every_call_is_observed_with_its_outcome(opened):
    seen = []
    connection = opened(REPLACED.format("pass"), observe=lambda *call: seen.append(call))
    connection.call("fetch", cursor=None)
    ((name, hook, seconds, error),) = seen
    assert (name, hook) == ("axis", "fetch")
    assert seconds >= 0
    assert isinstance(error, ContractViolation)


def test_a_call_brings_along_what_it_put_on_the_wire_even_when_it_failed(opened, peer_of):
    url = peer_of(answer(200)).url
    body = f"connection.http.call('GET', '{url}', effect=False); raise Unavailable('peer.busy')"
    call = opened(REPLACED.format(body)).call("fetch", cursor=None)
    assert [exchange.status for exchange in call.exchanges] == [200]
    assert isinstance(call.error, Unavailable)
