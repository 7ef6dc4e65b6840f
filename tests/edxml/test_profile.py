from __future__ import annotations

import os

import pytest

from lienthong import ConfigError
from lienthong.edxml.codes import KNOWN_CHILDREN, key_of
from lienthong.edxml.profile import (
    ALWAYS,
    DEFAULT_PROFILE,
    OPTIONAL,
    RULE_IDS,
    Severity,
    TypeNumbers,
    WriteProfile,
    load_profile,
    profile_names,
)


@pytest.fixture
def refused(tmp_path):
    """Writes a profile file, loads it and gives the error."""

    def load(text: str, name: str = "tinh.toml") -> ConfigError:
        (tmp_path / name).write_text(text, "utf-8")
        with pytest.raises(ConfigError) as refusal:
            load_profile(str(tmp_path / name))
        return refusal.value

    return load


@pytest.fixture
def loaded(tmp_path):
    def load(text: str):
        (tmp_path / "tinh.toml").write_text(text, "utf-8")
        return load_profile(str(tmp_path / "tinh.toml"))

    return load


# --- built-in -----------------------------------------------------------------------------------------------------


def test_the_built_in_profiles_are_packaged():
    assert profile_names() == ("lenient", "qcvn102", "strict")


@pytest.mark.parametrize("name", ["lenient", "qcvn102", "strict"])
def test_a_built_in_profile_is_whole(name):
    profile = load_profile(name)
    assert profile.name == name
    assert profile.title
    assert profile.severities.keys() <= RULE_IDS
    assert profile.lengths["Subject"] == 500


def test_the_default_writes_what_the_writer_writes_by_itself():
    assert load_profile(DEFAULT_PROFILE).write == WriteProfile()


def test_the_default_leaves_every_rule_its_own_severity():
    assert load_profile(DEFAULT_PROFILE).severities == {}


def test_under_the_strict_profile_every_rule_is_an_error():
    assert load_profile("strict").severities == dict.fromkeys(RULE_IDS, Severity.ERROR)


def test_the_strict_profile_allows_no_more_than_the_default():
    strict, usual = load_profile("strict"), load_profile(DEFAULT_PROFILE)
    assert strict.type_values <= usual.type_values
    assert strict.priorities <= usual.priorities
    assert all(strict.lengths[path] <= most for path, most in usual.lengths.items())
    assert strict.write.document_id_form == "triple"


def test_the_lenient_profile_never_makes_anything_worse_than_the_default():
    lenient, usual = load_profile("lenient"), load_profile(DEFAULT_PROFILE)
    assert Severity.ERROR not in lenient.severities.values()
    assert lenient.type_values > usual.type_values
    assert 18 in lenient.type_values
    assert all(lenient.lengths[path] >= most for path, most in usual.lengths.items())
    assert lenient.max_packet_bytes > usual.max_packet_bytes


def test_the_default_limits_are_those_of_decree_30():
    lengths = load_profile(DEFAULT_PROFILE).lengths
    assert (lengths["Code/CodeNumber"], lengths["Code/CodeNotation"], lengths["SignerInfo/FullName"]) == (11, 30, 50)
    assert lengths["From/OrganName"] == lengths["To/OrganName"] == 200


def test_what_stands_always_are_elements_of_the_format():
    known = {name for children in KNOWN_CHILDREN.values() for name in children}
    assert {key_of(step) for name in OPTIONAL for step in name.split("/")} <= known
    assert ALWAYS <= OPTIONAL
    assert {"OrganAdd", "Content", "TypeName", "OrganName", "ResponseFor/DocumentId"} <= ALWAYS


def test_a_profile_cannot_be_changed_by_whoever_uses_it():
    with pytest.raises(TypeError):
        load_profile("strict").severities["ENV-01"] = Severity.OFF


# --- a file of one's own ------------------------------------------------------------------------------------------


def test_a_file_changes_a_few_keys_of_the_profile_that_it_extends(loaded):
    profile = loaded(
        """
        title = "Tỉnh Bến Lức"
        extends = "strict"
        [write]
        zip_parts = true
        [severity]
        "ENV-14" = "off"
        [length]
        "Subject" = 300
        [values]
        document_type = [18]
        """
    )
    strict = load_profile("strict")
    assert (profile.name, profile.title) == ("tinh", "Tỉnh Bến Lức")
    assert profile.write.zip_parts
    assert profile.write.type_codes == strict.write.type_codes == "table"
    assert profile.severities == {**strict.severities, "ENV-14": Severity.OFF}
    assert profile.lengths == {**strict.lengths, "Subject": 300}
    assert profile.type_values == {18}


def test_a_file_that_says_nothing_is_the_default(loaded):
    profile, usual = loaded("# nothing\n"), load_profile(DEFAULT_PROFILE)
    assert (profile.write, profile.lengths, profile.title) == (usual.write, usual.lengths, usual.title)


def test_a_file_may_extend_another_beside_it(tmp_path):
    (tmp_path / "bases").mkdir()
    (tmp_path / "bases" / "vung.toml").write_text('extends = "lenient"\n[limits]\nclock_skew_seconds = 60\n')
    (tmp_path / "tinh.toml").write_text('extends = "bases/vung.toml"\n[write]\ncid_in_both = false\n')
    profile = load_profile(str(tmp_path / "tinh.toml"))
    assert profile.clock_skew_seconds == 60
    assert not profile.write.cid_in_both
    assert profile.max_packet_bytes == load_profile("lenient").max_packet_bytes


def test_every_way_of_writing_can_be_chosen(loaded):
    write = loaded(
        """
        [write]
        always = ["OrganName", "OrganAdd"]
        type_codes = "row"
        document_id_form = "uuid"
        types = { "Công văn" = { type = 1 }, "Hồ sơ" = { type = 4, detail = -1 } }
        trace_attributes = { version = "1.0", mustUnderstand = "1" }
        """
    ).write
    assert write == WriteProfile(
        always=frozenset({"OrganName", "OrganAdd"}),
        type_codes="row",
        document_id_form="uuid",
        types=(TypeNumbers(name="Công văn", type_code=1), TypeNumbers(name="Hồ sơ", type_code=4, detail=-1)),
        trace_attributes=(("version", "1.0"), ("mustUnderstand", "1")),
    )


def test_a_file_saved_with_a_byte_order_mark_is_read(tmp_path):
    (tmp_path / "tinh.toml").write_text('title = "Tỉnh"\n', "utf-8-sig")
    assert load_profile(str(tmp_path / "tinh.toml")).title == "Tỉnh"


# --- mistakes -----------------------------------------------------------------------------------------------------


def test_every_mistake_is_told_at_once_with_file_line_and_key(refused):
    error = refused('title = ""\n[write]\nzip_part = true\n[severity]\n"ENV-99" = "off"\n"ENV-14" = "quiet"\n')
    assert error.code == "packet.profile-invalid"
    assert error.facts["count"] == 4
    told = error.facts["mistakes"].split("\n  ")
    assert [line.split("tinh.toml:")[1].split(": ")[:2] for line in told] == [
        *(["1", "title"], ["3", "write.zip_part"], ["5", "severity.ENV-99"], ["6", "severity.ENV-14"]),
    ]
    assert "did you mean 'zip_parts'" in told[1]
    assert "there is no such rule" in told[2]


@pytest.mark.parametrize(
    ("text", "key", "what"),
    [
        ('[write]\ncid_in_both = "yes"', "write.cid_in_both", "boolean"),
        ("[limits]\nmax_packet_bytes = 0", "limits.max_packet_bytes", "greater than 0"),
        ("[limits]\nclock_skew_seconds = -1", "limits.clock_skew_seconds", "greater than or equal to 0"),
        ('[length]\n"Subject" = "500"', "length.Subject", "integer"),
        ('[length]\n"Subjekt" = 500', "length.Subjekt", "no such element"),
        ('[length]\n"Code/OrganName" = 5', "length.Code/OrganName", "no such element"),
        ('[write]\nalways = ["OrganAdd", "From"]', "write.always.1", "no optional element"),
        ('[write]\ntype_codes = "both"', "write.type_codes", "'as-given', 'table' or 'row'"),
        ('[write]\ndocument_id_form = "free"', "write.document_id_form", "'uuid'"),
        ('[write.types]\n"Công văn" = { detail = 1 }', "write.types.Công văn.type", "required"),
        ('[write.types]\n"Công văn" = { type = 1 }\n"công văn" = { type = 2 }', "write.types", "one document type"),
        ('[write.trace_attributes]\nxmlns = "a"', "write.trace_attributes.xmlns", "'mustUnderstand'"),
        ("[values]\ndocument_type = []", "values.document_type", "at least 1"),
        ("[values]\npriority = [true]", "values.priority.0", "integer"),
        ("extends = 1", "extends", "string"),
        ("colour = 1", "colour", "not permitted"),
        ("write = 1", "write", "dictionary"),
    ],
)
def test_a_mistake_is_named(refused, text, key, what):
    error = refused(text)
    assert error.code == "packet.profile-invalid"
    assert f": {key}: " in error.facts["mistakes"]
    assert what in error.facts["mistakes"]


def test_a_mistake_in_the_extended_file_is_told_there(refused, tmp_path):
    (tmp_path / "vung.toml").write_text('\n[severity]\n"ENV-1" = "off"\n')
    error = refused('extends = "vung.toml"\n')
    assert "vung.toml:3: severity.ENV-1: " in error.facts["mistakes"]


def test_a_file_that_stands_alone_must_hold_every_key(refused):
    error = refused('extends = ""\ntitle = "Một mình"\n')
    assert error.code == "packet.profile-invalid"
    assert error.facts["count"] == 5


def test_profiles_that_extend_each_other_are_refused(refused, tmp_path):
    (tmp_path / "b.toml").write_text('extends = "tinh.toml"\n')
    assert refused('extends = "b.toml"\n').code == "packet.profile-circle"


def test_a_profile_that_extends_itself_is_refused(refused):
    assert refused('extends = "tinh.toml"\n').code == "packet.profile-circle"


@pytest.mark.parametrize("name", ["", "qcvn", "../qcvn102", "QCVN102"])
def test_an_unknown_name_is_answered_with_the_known_ones(name):
    with pytest.raises(ConfigError) as refusal:
        load_profile(name)
    assert refusal.value.code == "packet.profile-unknown"
    assert refusal.value.facts["known"] == "lenient, qcvn102, strict"


@pytest.mark.parametrize("text", ["title = ", "[write", "a = 1\na = 2", "a = " + "[" * 5000 + "]" * 5000])
def test_what_is_no_toml_is_refused(refused, text):
    assert refused(text).code == "packet.profile-syntax"


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "latin.toml").write_bytes(b'title = "T\xe1"')
    (tmp_path / "folder.toml").mkdir()
    for name in ("missing.toml", "latin.toml", "folder.toml"):
        with pytest.raises(ConfigError) as refusal:
            load_profile(os.path.join(tmp_path, name))
        assert refusal.value.code == "packet.profile-unreadable"
        assert refusal.value.where.endswith(name)
