"""The configuration file: what it becomes, every mistake with its line, secrets only by reference."""

from __future__ import annotations

import contextlib
import sys
from datetime import time
from pathlib import Path
from typing import Annotated

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, SecretStr

from lienthong import ConfigError
from lienthong.config import Config, load, plugin_config, resolve_secret
from lienthong.http import HttpSettings
from lienthong.tomltext import line_of, nearest

GOOD = """\
[adapter]
data = "kho"

[[agency]]
code = "000.00.01.H53"
name = "UBND huyện An Lạc"
office = "drop"
axis = "axis"
signer = "seal"

[[agency]]
code = "H53.02"
name = "UBND xã"
office = "drop"
axis = "axis"

[connection.drop]
plugin = "folder"

[connection.axis]
plugin = "sample-axis"
poll_seconds = 5
url = "https://axis.example.vn"

[connection.seal]
plugin = "pkcs12"

[connection.spare]
plugin = "folder"
"""


class Keys(BaseModel):
    """The keys of an imaginary plugin."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str
    secret: SecretStr | None = None
    secrets: dict[str, SecretStr] = {}
    folder: Path = Path("here")
    http: HttpSettings = HttpSettings()


class Account(BaseModel):
    user: str
    secret: SecretStr
    certificates: tuple[Path, ...] = ()


class DeepKeys(BaseModel):
    """Keys with secrets and paths in every place where a plugin may want them."""

    accounts: tuple[Account, ...] = ()
    by_name: dict[str, Account] = {}
    either: str | Account = ""
    lists: dict[str, list[SecretStr]] = {}
    pair: tuple[str, SecretStr] | None = None
    constrained: list[Annotated[SecretStr, Field(min_length=3)]] = []
    password: SecretStr | None = Field(None, alias="mat_khau")
    pin: SecretStr | None = Field(None, validation_alias=AliasChoices("ma_pin", "pin_code"))
    files: tuple[Path, ...] = ()


def mistakes(caught) -> list[str]:
    return caught.value.facts["mistakes"].split("\n  ")


def with_keys(configured, *lines: str) -> Config:
    """A configuration whose connection ``axis`` has these keys."""
    return load(configured(GOOD.replace('url = "https://axis.example.vn"', "\n".join(lines))))


# --- a good file ------------------------------------------------------------------------------------------------


def test_a_good_file_becomes_typed_settings(configured):
    config = load(configured(GOOD))
    assert config.adapter.data == Path("kho")
    assert config.connection["axis"].poll_seconds == 5.0
    assert config.connection["axis"].plugin_keys() == {"url": "https://axis.example.vn"}
    assert config.profile.morning_end == time(12, 0)


def test_agencies_are_found_by_code_and_by_connection(configured):
    config = load(configured(GOOD))
    assert config.agency_of("H53.02").name == "UBND xã"
    assert config.agency_of("H53.03") is None
    assert [agency.code for agency in config.served_by("seal")] == ["000.00.01.H53"]
    assert len(config.served_by("axis")) == 2
    assert config.agency_of("H53.02").organization().name == "UBND xã"


def test_a_connection_has_the_role_in_which_an_agency_uses_it(configured):
    config = load(configured(GOOD))
    roles = {name: config.role_of(name) for name in config.connection}
    assert roles == {"drop": "office", "axis": "axis", "seal": "signer", "spare": None}


def test_paths_are_relative_to_the_file(configured, tmp_path):
    config = load(configured(GOOD))
    assert config.path(Path("data")) == tmp_path / "data"
    assert config.path(Path("/srv/data")) == Path("/srv/data")


def test_settings_cannot_be_changed_while_the_daemon_runs(configured):
    with pytest.raises(ValueError, match="frozen"):
        load(configured(GOOD)).adapter.workers = 7


# --- mistakes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("good", "bad", "line", "says"),
    [
        ('data = "kho"', 'dat = "kho"', 2, "adapter.dat: Extra inputs are not permitted (did you mean 'data'?)"),
        ('data = "kho"', "workers = 0", 2, "adapter.workers: Input should be greater than or equal to 1"),
        ('data = "kho"', "workers = 'many'", 2, "adapter.workers: Input should be a valid integer"),
        ('code = "H53.02"', 'code = "H53/02"', 12, "agency.1.code: String should match pattern"),
        ('name = "UBND xã"\n', "", 11, "agency.1.name: Field required"),
        ("poll_seconds = 5", "poll_seconds = -5", 22, "connection.axis.poll_seconds: Input should be greater than 0"),
        ("[connection.spare]\nplugin", "[connection.spare]\nplugins", 28, "connection.spare.plugin: Field required"),
        ("[adapter]", "[adaptor]", 1, "adaptor: Extra inputs are not permitted (did you mean 'adapter'?)"),
    ],
)
def test_a_mistake_is_named_by_file_line_and_key(configured, good, bad, line, says):
    file = configured(GOOD.replace(good, bad, 1))
    with pytest.raises(ConfigError) as caught:
        load(file)
    assert caught.value.code == "config.invalid"
    assert [text for text in mistakes(caught) if text.startswith(f"{file}:{line}: {says}")]


def test_all_mistakes_are_named_at_once(configured):
    text = GOOD.replace("poll_seconds = 5", "poll_seconds = 0").replace("[adapter]", "[adapter]\nworkers = 0")
    with pytest.raises(ConfigError) as caught:
        load(configured(text))
    assert caught.value.facts["count"] == 2
    assert len(mistakes(caught)) == 2


def test_every_connection_that_is_not_there_is_named_with_its_line(configured):
    text = 'axis = "axes"'.join(GOOD.rsplit('axis = "axis"', 1)).replace('signer = "seal"', 'signer = "sael"')
    file = configured(text)
    with pytest.raises(ConfigError) as caught:
        load(file)
    assert mistakes(caught) == [
        f"{file}:9: agency.0.signer: agency 000.00.01.H53: signer = 'sael' names no [connection.sael]",
        f"{file}:15: agency.1.axis: agency H53.02: axis = 'axes' names no [connection.axes]",
    ]


def test_an_agency_stands_only_once(configured):
    file = configured(GOOD.replace("H53.02", "000.00.01.H53"))
    with pytest.raises(ConfigError) as caught:
        load(file)
    assert mistakes(caught) == [f"{file}:12: agency.1.code: two [[agency]] tables have the same code"]


def test_a_missing_file_says_where_it_was_looked_for(tmp_path):
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "lienthong.toml")
    assert (caught.value.code, caught.value.where) == ("config.missing", str(tmp_path / "lienthong.toml"))


def test_a_file_that_is_not_utf8_cannot_be_read(tmp_path):
    file = tmp_path / "lienthong.toml"
    file.write_bytes('name = "Ủy ban"'.encode("utf-16"))
    with pytest.raises(ConfigError) as caught:
        load(file)
    assert caught.value.code == "config.unreadable"


def test_a_folder_is_not_a_configuration(tmp_path):
    with pytest.raises(ConfigError) as caught:
        load(tmp_path)
    assert caught.value.code == "config.unreadable"


def test_wrong_syntax_is_named_with_its_line(configured):
    with pytest.raises(ConfigError, match="line 2") as caught:
        load(configured("[adapter]\ndata = \n"))
    assert caught.value.code == "config.syntax"


@pytest.mark.parametrize("text", ["a = " + "[" * 20000, "a = " + "{a = " * 9000, f"a = {'9' * 5000}"])
def test_what_cannot_be_read_to_its_end_is_wrong_syntax(configured, text):
    with pytest.raises(ConfigError) as caught:
        load(configured(text))
    assert caught.value.code == "config.syntax"


def test_a_name_that_no_file_can_have_cannot_be_read():
    with pytest.raises(ConfigError) as caught:
        load(Path("a\0b"))
    assert caught.value.code == "config.unreadable"


scalars = (
    st.booleans() | st.integers(-5, 5) | st.sampled_from(['""', '"axis"', "1.5", "{}", "[]", "[{}]", "2026-01-01"])
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, GOOD.count("\n")), scalars, st.sampled_from(["adapter", "agency", "connection", "api", "trust"]))
def test_whatever_the_file_says_nothing_but_a_mistake_of_the_configuration_comes_out(configured, cut, value, key):
    value = str(value).lower() if isinstance(value, bool) else value
    lines = GOOD.splitlines()[:cut]
    with contextlib.suppress(ConfigError):
        load(configured("\n".join([f"{key} = {value}", *lines])))


# --- lines ------------------------------------------------------------------------------------------------------

names = st.from_regex(r"[a-z][a-z0-9_-]{0,7}", fullmatch=True)


@given(st.lists(names, min_size=1, max_size=5, unique=True), st.lists(names, min_size=1, max_size=5, unique=True))
def test_every_key_is_found_on_its_line(tables, keys):
    lines, places = [], {}
    for table in tables:
        lines += ["", f"[{table}]  # a remark"]
        for key in keys:
            lines.append(f'{key} = "x = 1"')
            places[table, key] = len(lines)
    assert all(line_of("\n".join(lines), path) == number for path, number in places.items())


@given(st.integers(1, 5), st.integers(0, 4))
def test_a_key_of_the_nth_table_of_an_array_is_found_there(tables, index):
    text = "\n".join("[[agency]]\nname = 1" for _ in range(tables))
    expected = 2 * index + 2 if index < tables else 1
    assert line_of(text, ("agency", index, "name")) == expected


@pytest.mark.parametrize(
    ("text", "path", "line"),
    [
        ("", ("a",), 1),
        ("\na.b = 1", ("a", "b"), 2),
        ('\n["a.b"]\nc = 1', ("a.b", "c"), 3),
        ("\n[a]\nb = { c = 1, d = 2 }", ("a", "b", "d"), 3),
        ("\n[a]\nb = 1", ("a", "missing"), 2),
        ("\n[connection.axis]\nurl = 1", ("connection", "axis", "http", "tries"), 2),
    ],
)
def test_the_nearest_known_place_stands_for_a_key_that_is_not_there(text, path, line):
    assert line_of(text, path) == line


def test_the_nearest_key_is_offered_also_from_nested_tables():
    assert nearest("conect_seconds", Keys) == " (did you mean 'connect_seconds'?)"
    assert nearest("zzzzzz", Keys) == ""


# --- secrets ----------------------------------------------------------------------------------------------------


def secret_file(tmp_path, content: str, mode: int) -> str:
    file = tmp_path / "secret"
    file.touch(mode=mode)
    file.write_text(content, "utf-8")
    return "file:secret"


def resolved(tmp_path, reference: object) -> str:
    return resolve_secret(reference, tmp_path / "lienthong.toml", "connection.axis.secret").get_secret_value()


def test_a_secret_comes_from_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("AXIS_SECRET", "mật khẩu")
    assert resolved(tmp_path, "env:AXIS_SECRET") == "mật khẩu"


def test_a_secret_comes_from_a_file_without_its_last_line_end(tmp_path):
    assert resolved(tmp_path, secret_file(tmp_path, " mật khẩu \r\n", 0o600)) == " mật khẩu "


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660])
def test_a_secret_file_that_others_may_read_is_refused(tmp_path, mode):
    with pytest.raises(ConfigError) as caught:
        resolved(tmp_path, secret_file(tmp_path, "x", mode))
    assert caught.value.code == "config.secret-readable"
    assert "chmod 600" in caught.value.text("vi")


@pytest.mark.parametrize("reference", ["", "hunter2", "HTTP:x", "envNAME", 7, None, ["env:X"], {"env": "X"}])
def test_a_secret_written_out_is_refused_and_not_repeated(tmp_path, reference):
    with pytest.raises(ConfigError) as caught:
        resolved(tmp_path, reference)
    assert caught.value.code == "config.secret-in-clear"
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("reference", ["env:LIENTHONG_NOT_SET", "env:", "file:empty"])
def test_a_secret_that_is_not_there_is_named(tmp_path, reference):
    (tmp_path / "empty").touch(mode=0o600)
    with pytest.raises(ConfigError) as caught:
        resolved(tmp_path, reference)
    assert caught.value.code == "config.secret-empty"
    assert caught.value.where == f"{tmp_path / 'lienthong.toml'}: connection.axis.secret"


@pytest.mark.parametrize("reference", ["file:missing", "file:", "file:folder", "file:a\0b"])
def test_a_secret_file_that_cannot_be_read_is_named(tmp_path, reference):
    (tmp_path / "folder").mkdir(mode=0o700)
    tmp_path.chmod(0o700)
    with pytest.raises(ConfigError) as caught:
        resolved(tmp_path, reference)
    assert caught.value.code == "config.secret-unreadable"


def test_a_secret_comes_from_the_keyring_when_there_is_one(tmp_path, monkeypatch):
    (tmp_path / "keyring.py").write_text("def get_password(service, user):\n    return f'{service} of {user}'\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "keyring", raising=False)
    assert resolved(tmp_path, "keyring:axis/H53/02") == "axis of H53/02"
    monkeypatch.delitem(sys.modules, "keyring")


def test_a_keyring_that_fails_is_named(tmp_path, monkeypatch):
    (tmp_path / "keyring.py").write_text("def get_password(service, user):\n    raise RuntimeError('locked')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "keyring", raising=False)
    with pytest.raises(ConfigError, match="keyring:axis/H53: RuntimeError") as caught:
        resolved(tmp_path, "keyring:axis/H53")
    assert caught.value.code == "config.keyring-failed"
    monkeypatch.delitem(sys.modules, "keyring")


def test_a_keyring_that_is_not_installed_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(ConfigError) as caught:
        resolved(tmp_path, "keyring:axis/user")
    assert caught.value.code == "config.no-keyring"


API = '[api]\ntoken = "env:API_TOKEN"\n'


def test_the_token_of_the_api_is_a_secret_like_any_other(configured, monkeypatch):
    monkeypatch.setenv("API_TOKEN", "canary-7f3a")
    config = load(configured(API + GOOD))
    assert config.api.token.get_secret_value() == "canary-7f3a"
    assert "canary-7f3a" not in repr(config)


def test_the_token_of_the_api_does_not_stand_in_the_file(configured, tmp_path):
    with pytest.raises(ConfigError) as caught:
        load(configured(API.replace("env:API_TOKEN", "hunter2") + GOOD))
    assert caught.value.code == "config.secret-in-clear"
    assert caught.value.where == f"{tmp_path / 'lienthong.toml'}:2: api.token"


def test_a_wrong_secret_is_one_mistake_among_all(configured):
    file = configured('[api]\ntoken = "hunter2"\n' + GOOD.replace('name = "UBND xã"\n', "").replace("= 5", "= -5"))
    with pytest.raises(ConfigError) as caught:
        load(file)
    assert [text.split(": ")[:2] for text in mistakes(caught)] == [
        [f"{file}:2", "api.token"],
        [f"{file}:13", "agency.1.name"],
        [f"{file}:23", "connection.axis.poll_seconds"],
    ]
    assert "env:NAME" in mistakes(caught)[0]
    assert "hunter2" not in str(caught.value)


# --- a plugin's own keys ----------------------------------------------------------------------------------------


def test_a_plugins_keys_are_checked_by_its_own_model(configured, tmp_path, monkeypatch):
    monkeypatch.setenv("S", "canary-7f3a")
    lines = ('url = "https://a.vn"', 'secret = "env:S"', 'secrets = { one = "env:S" }', 'folder = "drop"')
    keys = plugin_config(Keys, with_keys(configured, *lines, 'http = { ca_file = "ca.pem", tries = 5 }'), "axis")
    assert keys.secret.get_secret_value() == keys.secrets["one"].get_secret_value() == "canary-7f3a"
    assert (keys.folder, keys.http.ca_file, keys.http.tries) == (tmp_path / "drop", tmp_path / "ca.pem", 5)
    assert "canary-7f3a" not in repr(keys)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('urls = "x"', "connection.axis.urls: Extra inputs are not permitted (did you mean 'url'?)"),
        ("http = { tries = 99 }", "connection.axis.http.tries: Input should be less than or equal to 10"),
        ("http = { verify = false }", "connection.axis.http.verify: Extra inputs are not permitted"),
    ],
)
def test_a_mistake_in_a_plugins_keys_is_named_by_file_line_and_key(configured, tmp_path, line, says):
    with pytest.raises(ConfigError) as caught:
        plugin_config(Keys, with_keys(configured, 'url = "https://a.vn"', line), "axis")
    assert [text for text in mistakes(caught) if text.startswith(f"{tmp_path / 'lienthong.toml'}:24: {says}")]


@pytest.mark.parametrize("line", ['secret = "hunter2"', 'secrets = { one = "hunter2" }'])
def test_a_plugins_secret_does_not_stand_in_the_file(configured, line):
    with pytest.raises(ConfigError) as caught:
        plugin_config(Keys, with_keys(configured, 'url = "https://a.vn"', line), "axis")
    assert caught.value.code == "config.secret-in-clear"
    assert caught.value.where.split(": ")[1].startswith("connection.axis.secret")


@pytest.mark.parametrize(
    "line",
    [
        'accounts = [{ user = "a", secret = "hunter2" }]',
        'by_name.x = { user = "a", secret = "hunter2" }',
        'either = { user = "a", secret = "hunter2" }',
        'lists.x = ["hunter2"]',
        'pair = ["user", "hunter2"]',
        'constrained = ["hunter2"]',
        'mat_khau = "hunter2"',
        'ma_pin = "hunter2"',
        'pin_code = "hunter2"',
    ],
)
def test_a_secret_does_not_stand_in_the_file_however_deep_its_place(configured, tmp_path, line):
    with pytest.raises(ConfigError) as caught:
        plugin_config(DeepKeys, with_keys(configured, "", line), "axis")
    assert caught.value.code == "config.secret-in-clear"
    assert caught.value.where.startswith(f"{tmp_path / 'lienthong.toml'}:24: connection.axis.{line.split()[0]}")


def test_secrets_and_paths_are_resolved_however_deep_their_place(configured, tmp_path, monkeypatch):
    monkeypatch.setenv("S", "canary-7f3a")
    account = '{ user = "a", secret = "env:S", certificates = ["ca.pem", "/etc/ca.pem"] }'
    lines = (f"accounts = [{account}]", f"by_name.x = {account}", 'pair = ["env:S", "env:S"]', 'ma_pin = "env:S"')
    keys = plugin_config(DeepKeys, with_keys(configured, *lines, 'files = ["a", "b"]'), "axis")
    secrets = (keys.accounts[0].secret, keys.by_name["x"].secret, keys.pair[1], keys.pin)
    assert {secret.get_secret_value() for secret in secrets} == {"canary-7f3a"}
    assert keys.pair[0] == "env:S"
    assert keys.accounts[0].certificates == (tmp_path / "ca.pem", Path("/etc/ca.pem"))
    assert keys.files == (tmp_path / "a", tmp_path / "b")


def test_every_wrong_secret_of_a_plugin_is_named_once(configured):
    config = with_keys(configured, 'constrained = ["env:LIENTHONG_NOT_SET"]', 'mat_khau = "hunter2"', "files = 1")
    with pytest.raises(ConfigError) as caught:
        plugin_config(DeepKeys, config, "axis")
    keys = [text.split(": ")[1] for text in mistakes(caught)]
    assert keys == ["connection.axis.constrained.0", "connection.axis.mat_khau", "connection.axis.files"]


def test_a_mistake_beside_a_secret_does_not_show_it(configured, monkeypatch):
    monkeypatch.setenv("S", "canary-7f3a")
    with pytest.raises(ConfigError) as caught:
        plugin_config(Keys, with_keys(configured, "url = 1", 'secret = "env:S"'), "axis")
    assert "canary-7f3a" not in str(caught.value) + repr(caught.value.__cause__)


# --- keys that contradict each other ----------------------------------------------------------------------------


def authority(seconds: float) -> str:
    return f'[[signing.timestamp_authority]]\nurl = "http://tsa.example.vn"\nseconds = {seconds}\n'


@pytest.mark.parametrize(
    ("level", "authorities", "lease", "fits"),
    [
        ("B-B", [], 1, True),
        ("B-T", [20], 50, True),
        ("B-T", [20], 49, False),
        ("B-T", [60, 30], 120, True),
        ("B-T", [60, 31], 120, False),
        ("B-LT", [20], 50, True),
        ("B-LTA", [20], 69, False),
        ("B-LTA", [20], 70, True),
    ],
)
def test_a_lease_must_outlast_the_authorities(configured, level, authorities, lease, fits):
    text = GOOD.replace("[adapter]", f"[adapter]\nlease_seconds = {lease}")
    text += f'\n[signing]\nlevel = "{level}"\n' + "".join(authority(seconds) for seconds in authorities)
    if fits:
        assert load(configured(text)).signing.level == level
        return
    with pytest.raises(ConfigError) as caught:
        load(configured(text))
    (mistake,) = mistakes(caught)
    assert ":2: adapter.lease_seconds: " in mistake
    assert f"{lease} s is too short" in mistake


def test_the_time_that_a_lease_needs_is_told_in_numbers(configured):
    with pytest.raises(ConfigError) as caught:
        load(configured(GOOD + '\n[signing]\nlevel = "B-LTA"\n' + authority(50) + authority(20)))
    (mistake,) = mistakes(caught)
    assert "2 timestamp(s) for B-LTA may take the 2 authorities 140 s" in mistake
    assert "raise it to 170" in mistake


def test_a_level_with_a_timestamp_needs_an_authority(configured):
    with pytest.raises(ConfigError) as caught:
        load(configured(GOOD + '\n[signing]\nlevel = "B-T"\n'))
    assert "signing.level: B-T needs at least one [[signing.timestamp_authority]]" in mistakes(caught)[0]


def test_a_seal_that_is_shown_needs_an_image(configured):
    text = GOOD.replace('signer = "seal"\n', 'signer = "seal"\n\n[agency.appearance]\nmain = true\n')
    with pytest.raises(ConfigError) as caught:
        load(configured(text))
    assert "agency.0.appearance.main: the seal cannot be shown without an image" in mistakes(caught)[0]


def test_an_agencys_appearance_is_no_part_of_its_name_on_packets(configured):
    config = load(
        configured(GOOD.replace('signer = "seal"\n', 'signer = "seal"\n\n[agency.appearance]\ncopies = true\n'))
    )
    assert config.agency[0].appearance.copies
    assert config.agency[0].organization().code == "000.00.01.H53"
