"""The README is true: its example loads, and its tables name exactly the keys and placeholders that there are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from lienthong_generic_rest import schema
from lienthong_generic_rest.mapping import CALL_SHAPES, load_mapping, secret_names
from lienthong_generic_rest.rest import RestConfig

README = Path(__file__).parents[1].joinpath("README.md").read_text("utf-8")
TABLES: dict[str, type[BaseModel]] = {
    "## The connection": RestConfig,
    "#### The file": schema.Mapping,
    '#### `[auth]` with `kind = "none"`': schema.NoAuth,
    '#### `[auth]` with `kind = "header"`': schema.HeaderAuth,
    '#### `[auth]` with `kind = "basic"`': schema.BasicAuth,
    '#### `[auth]` with `kind = "login"`': schema.LoginAuth,
    "#### A call": schema.Call,
    "#### `[answer]`, or `answer` of a call": schema.Answer,
    "#### `[outbox]`": schema.Outbox,
    "#### `paging` of a list": schema.Paging,
    "#### `[outbox.files]`": schema.Files,
    "#### `acknowledge`": schema.Acknowledge,
    "#### `[statuses]`": schema.Statuses,
    "#### A rule of `fields`": schema.Rule,
    "#### `[inbox]`": schema.Inbox,
    "#### `[inbox_status]`": schema.InboxStatus,
    "#### `lookup`": schema.Lookup,
    "#### `[directory]`": schema.Directory,
}


def rows(heading: str) -> list[tuple[str, str]]:
    """The key and default of each row of the table below a heading."""
    section = README.split(f"\n{heading}\n", 1)[1].split("\n#", 1)[0]
    return re.findall(r"^\| `(\w+)` \| ([^|]*?) ?\|", section, re.MULTILINE)


def default_of(model: type[BaseModel], name: str) -> str:
    info = next(info for key, info in model.model_fields.items() if (info.alias or key) == name)
    if info.is_required():
        return "required"
    plain = isinstance(info.default, str | int | float) and info.default != ""
    return f"`{str(info.default).lower() if isinstance(info.default, bool) else info.default}`" if plain else ""


@pytest.mark.parametrize("heading", TABLES)
def test_a_key_table_names_the_keys_of_its_model_and_their_defaults(heading: str) -> None:
    model = TABLES[heading]
    keys = [info.alias or name for name, info in model.model_fields.items()]
    assert rows(heading) == [(key, default_of(model, key)) for key in keys]


def test_every_model_of_a_mapping_has_its_table() -> None:
    models = {kind for kind in vars(schema).values() if isinstance(kind, type) and issubclass(kind, BaseModel)}
    written = {kind for kind in models if kind.__module__ == schema.__name__ and not kind.__name__.endswith("Rules")}
    assert written - {BaseModel} <= set(TABLES.values())


def test_the_example_is_a_mapping_without_mistakes(tmp_path: Path) -> None:
    example = next(block for block in re.findall(r"```toml\n(.*?)```", README, re.DOTALL) if "[outbox]" in block)
    (path := tmp_path / "example.toml").write_text(example, "utf-8")
    assert secret_names(load_mapping(path)) == {"user", "password"}


def test_the_placeholder_table_is_what_is_checked() -> None:
    table = README.split("| call | placeholders |\n|---|---|\n", 1)[1].split("\n\n", 1)[0]
    written = {}
    for line in table.splitlines():
        calls, names = (re.findall(r"`([\w.]+)`", cell) for cell in line.strip("|").split("|"))
        written.update({call: set(names) for call in calls})
    assert written == {".".join(map(str, call)): {*shapes, "secret"} for call, shapes in CALL_SHAPES.items()}
