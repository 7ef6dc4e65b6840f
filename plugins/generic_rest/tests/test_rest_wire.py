"""Templates, bodies and field rules as pure functions, with whatever hypothesis can think of."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import tracemalloc
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rest_world import FINANCE, HEALTH, Blobs, document

from lienthong import VIETNAM, ContentError, Part, PartRole, Priority, StatusCode
from lienthong_conformance.simulators.office import MAPPING
from lienthong_generic_rest.bodies import write_body
from lienthong_generic_rest.mapping import load_mapping
from lienthong_generic_rest.schema import Call, Rule
from lienthong_generic_rest.templates import Content, render, render_headers, render_path, render_text
from lienthong_generic_rest.wire import document_from, field_value, status_from

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
MAPPED = load_mapping(MAPPING)
ITEM = {
    "soKyHieu": "12/QĐ-STC",
    "trichYeu": "Về việc",
    "ngayBanHanh": "22/11/2026",
    "noiNhan": [{"maDinhDanh": "H37.SYT", "tenDonVi": "Sở Y tế"}],
    "doMat": "Thường",
}
STATUS = {"vanBan": {"ma": "H37.SYT,2026/11/20,7/SYT"}, "trangThai": "TIEP_NHAN", "thoiDiem": 1795309445000}


def rule(**facts: Any) -> Rule:
    return Rule.model_validate({"from": "v", **facts}, context={"tables": MAPPED.tables})


def value_of(hint: object, value: object, **facts: Any) -> object:
    return field_value(hint, rule(**facts), {"v": value}, MAPPED.tables, "field")


@pytest.mark.parametrize(
    ("value", "facts"),
    [
        ("2026-11-22", {}),
        ("2026-11-22T08:00:00", {}),
        ("2026-11-21T17:00:00Z", {}),
        ("2026-11-22T00:00:00+07:00", {}),
        ("22/11/2026", {"format": "%d/%m/%Y"}),
        ("22-11-2026 23:59", {"format": "%d-%m-%Y %H:%M"}),
        (1795280400000, {"format": "epoch-ms"}),
        ("1795280400000", {"format": "epoch-ms"}),
    ],
)
def test_a_day_is_the_day_in_vietnam(value: object, facts: dict[str, str]) -> None:
    assert value_of(date, value, **facts) == date(2026, 11, 22)


def test_a_time_without_a_zone_is_vietnam_time() -> None:
    assert value_of(datetime, "2026-11-22T08:00:00") == datetime(2026, 11, 22, 8, tzinfo=VIETNAM)


@pytest.mark.parametrize(
    ("hint", "value", "facts", "expected"),
    [
        (str, 12, {}, "12"),
        (str, 1088.0, {}, "1088"),
        (str, "  Sở \n", {}, "Sở"),
        (str, None, {"default": "x"}, "x"),
        (str, "", {"default": "x"}, "x"),
        (str, " ", {}, None),
        (int, "3", {}, 3),
        (int, "2.0", {}, 2),
        (bool, "TRUE", {}, True),
        (bool, 0, {}, False),
        (bool, "N", {}, False),
        (Priority, "Hỏa tốc", {"table": "urgency"}, Priority.FLASH),
        (Priority, 2, {}, Priority.VERY_URGENT),
        (StatusCode, "06", {}, StatusCode.COMPLETED),
        (str, "12/2026/QĐ-STC", {"take": "number"}, "12"),
        (str, "12/2026/QĐ-STC", {"take": "notation"}, "2026/QĐ-STC"),
        (tuple[str, ...], "a; b;;", {"split": ";"}, ("a", "b")),
        (tuple[str, ...], [], {}, None),
    ],
)
def test_a_value_becomes_its_field_s_type(hint: object, value: object, facts: dict[str, Any], expected: object) -> None:
    assert value_of(hint, value, **facts) == expected


@pytest.mark.parametrize(
    ("hint", "value", "facts", "code"),
    [
        (str, {}, {}, "rest.field-text"),
        (str, True, {}, "rest.field-text"),
        (str, "\ud800", {}, "rest.field-text"),
        (int, "2.5", {}, "rest.field-number"),
        (int, "1e999", {}, "rest.field-number"),
        (int, "nan", {}, "rest.field-number"),
        (bool, 2, {}, "rest.field-boolean"),
        (date, "22/11/2026", {}, "rest.field-date"),
        (date, 1e18, {"format": "epoch-ms"}, "rest.field-date"),
        (Priority, 9, {}, "rest.field-enum"),
        (Priority, "Gấp", {"table": "urgency"}, "rest.field-table"),
        (tuple[str, ...], "a", {}, "rest.field-list"),
        (str, "12-QĐ", {"take": "number"}, "rest.field-code"),
    ],
)
def test_a_value_that_does_not_fit_names_field_and_value(
    hint: object, value: object, facts: dict[str, Any], code: str
) -> None:
    with pytest.raises(ContentError) as caught:
        value_of(hint, value, **facts)
    assert (caught.value.code, caught.value.where) == (code, "field")


@given(broken=st.dictionaries(st.sampled_from([*ITEM, "donViGui", "nguoiKy", "nghiepVu", "guiBanGiay"]), JSON))
def test_no_item_raises_anything_but_a_content_error(broken: dict[str, Any]) -> None:
    with contextlib.suppress(ContentError):
        found = document_from({**ITEM, **broken}, MAPPED.outbox.fields, MAPPED.tables, (FINANCE,))
        assert found.subject.encode("utf-8")


@given(broken=st.dictionaries(st.sampled_from([*STATUS, "canBo", "ghiChu"]), JSON))
def test_no_status_raises_anything_but_a_content_error(broken: dict[str, Any]) -> None:
    with contextlib.suppress(ContentError):
        found = status_from({**STATUS, **broken}, MAPPED.statuses.fields, MAPPED.tables, (FINANCE,))
        assert found.about.organ


@given(item=JSON)
def test_no_json_at_all_raises_anything_but_a_content_error(item: object) -> None:
    with pytest.raises(ContentError):
        document_from(item, MAPPED.outbox.fields, MAPPED.tables, (FINANCE,))


@pytest.mark.parametrize("agencies", [(), (FINANCE, HEALTH)])
def test_an_unstated_sender_needs_exactly_one_agency(agencies: tuple[Any, ...]) -> None:
    with pytest.raises(ContentError) as caught:
        document_from(ITEM, MAPPED.outbox.fields, MAPPED.tables, agencies)
    assert caught.value.code == "rest.sender"


def test_tables_are_read_backwards_for_what_goes_in() -> None:
    """What an office says and hears of a value is the same word: the two directions are inverse."""
    for table, hint in (("urgency", Priority), ("status", StatusCode)):
        for theirs in MAPPED.tables[table]:
            ours = value_of(hint, theirs, table=table)
            assert render(f"{{x|{table}}}", {"x": ours}, MAPPED.tables) == theirs


@given(text=st.text())
def test_doubled_braces_stand_for_themselves(text: str) -> None:
    escaped = text.replace("{", "{{").replace("}", "}}")
    assert render(escaped, {}, {}) == text


SCOPE = {"document": document(), "n": 5, "none": None, "many": ("a", "b"), "at": datetime(2026, 11, 21, 17, tzinfo=UTC)}


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{n}", 5),
        ("{n|text}", "5"),
        ("{none}", None),
        ("no {none}", "no "),
        ("{many}", ["a", "b"]),
        ("{many|text}", "a; b"),
        ("{at}", "2026-11-22T00:00:00+07:00"),
        ("{at|%d/%m}", "22/11"),
        ("{document.promulgated}", "2026-11-20"),
        ("{document.priority}", 0),
        ("{document.priority|urgency}", "Thường"),
        ("{document.recipients.name}", ["Sở Tài chính"]),
        ("{document.code} {{{n}}}", "7/SYT-KHTC {5}"),
        ("{document.due|%d/%m/%Y}", None),
        ("{document.number|number}", 7),
        ({"a": ["{n}", 1, True]}, {"a": [5, 1, True]}),
    ],
)
def test_a_template_keeps_types_and_formats(template: object, expected: object) -> None:
    assert render(template, SCOPE, MAPPED.tables) == expected


@pytest.mark.parametrize(
    ("template", "code"), [("{document.subject|number}", "rest.not-a-number"), ("{n|urgency}", "rest.not-in-table")]
)
def test_a_value_that_a_filter_cannot_express_is_a_content_error(template: str, code: str) -> None:
    with pytest.raises(ContentError) as caught:
        render(template, SCOPE, MAPPED.tables)
    assert caught.value.code == code


def test_a_table_inside_a_text_place_becomes_json() -> None:
    assert json.loads(render_text({"a": "{many}"}, SCOPE, {})) == {"a": ["a", "b"]}


@given(value=st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_no_value_reaches_another_path(value: str) -> None:
    try:
        path = render_path("/a/{x}/b", {"x": value}, {})
    except ContentError:
        assert value.strip() in ("", ".", "..")
        return
    assert path.count("/") == 3
    assert path.isascii()
    assert "?" not in path
    assert "#" not in path


@given(value=st.text())
def test_no_header_value_ends_its_line(value: str) -> None:
    try:
        headers = render_headers({"X": "{x}"}, {"x": value}, {})
    except ContentError:
        return
    assert headers["X"].isascii()
    assert not set(headers["X"]) & set("\r\n\0")


def written(call: Call, scope: dict[str, object], blobs: Blobs) -> bytes:
    write_body(call, (), scope, {}, sink := io.BytesIO(), blobs.open)
    return sink.getvalue()


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
BODIES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


@given(body=BODIES)
def test_a_streamed_body_is_the_json_of_its_template(body: object) -> None:
    call = Call.model_validate({"path": "/", "body": "{x}"})
    assert json.loads(written(call, {"x": body}, Blobs())) == body


@given(content=st.binary(max_size=300))
def test_streamed_base64_is_the_base64_of_the_file(content: bytes) -> None:
    blobs = Blobs()
    part = blobs.part("a.pdf", content)
    call = Call.model_validate({"path": "/", "body": {"data": "{part.base64}", "after": 1}})
    raw = written(call, {"part": {"base64": Content(part=part)}}, blobs)
    assert json.loads(raw) == {"data": base64.b64encode(content).decode(), "after": 1}


def test_memory_does_not_grow_with_a_file(tmp_path: Path) -> None:
    size = 32 * 1024 * 1024
    with (tmp_path / "large.pdf").open("wb") as file:
        file.truncate(size)
    part = Part(role=PartRole.MAIN, name="large.pdf", media_type="application/pdf", size=size, sha256="0" * 64)
    call = Call.model_validate({"path": "/", "body": {"data": "{part.base64}"}})
    with (tmp_path / "body").open("wb") as sink:
        tracemalloc.start()
        write_body(call, (), {"part": {"base64": Content(part=part)}}, {}, sink, lambda _: file_of(tmp_path))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert (tmp_path / "body").stat().st_size > size * 4 // 3
    assert peak < 2 * 1024 * 1024


def file_of(folder: Path) -> BinaryIO:
    return (folder / "large.pdf").open("rb")
