"""The design's rules about who may know whom, and how large things may grow.

    cli > api > daemon > pipeline > reports | evidence > views > registry | store
        > signing | edxml | rules > http > config | hookspecs | metadata > confined > errors | model | tomltext

Each layer imports only layers to its right; ``|`` stands between modules that do not know each other. Built-in
offices and all plugins see the public names only.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[1]
CORE = ROOT / "core" / "lienthong"
PLUGINS = ("lienthong_vnpt", "lienthong_viettel", "lienthong_generic_rest")
CONFORMANCE = "lienthong_conformance"
LAYERS = (
    {"cli"},
    {"api"},
    {"daemon"},
    {"pipeline"},
    {"reports", "evidence"},
    {"views"},
    {"registry", "store"},
    {"signing", "edxml", "rules"},
    {"http"},
    {"config", "hookspecs", "metadata"},
    {"confined"},
    {"errors", "model", "tomltext"},
)
PUBLIC = {"lienthong", "lienthong.http", "lienthong.edxml", "lienthong.signing.keys.remote"}
# A mapping file is TOML too, with lines to name; the drop folder and the API share their words.
SEEN_BY = {
    "lienthong_vnpt": PUBLIC,
    "lienthong_viettel": PUBLIC,
    "lienthong_generic_rest": PUBLIC | {"lienthong.tomltext"},
    "lienthong.offices": PUBLIC | {"lienthong.metadata"},
}
VENDORS = ("vnpt", "viettel", "vxp", "ioffice", "voffice", "bkav")
LONGEST_FILE, LONGEST_FUNCTION = 500, 60


@cache
def graph() -> grimp.ImportGraph:
    """All imports of the project that happen at run time; annotations may look further."""
    packages = ("lienthong", CONFORMANCE, *PLUGINS)
    return grimp.build_graph(*packages, include_external_packages=True, exclude_type_checking_imports=True)


def modules_of(package: str) -> set[str]:
    return {name for name in graph().modules if name == package or name.startswith(f"{package}.")}


def imports_of(package: str) -> set[str]:
    """What a package's modules import from elsewhere."""
    found = {name for module in modules_of(package) for name in graph().find_modules_directly_imported_by(module)}
    return found - modules_of(package)


def importers_of(library: str) -> set[str]:
    return set(graph().find_modules_that_directly_import(library)) if library in graph().modules else set()


def sources(*folders: Path) -> list[Path]:
    files = sorted(file for folder in folders for file in folder.rglob("*.py"))
    return [file for file in files if "tests" not in file.parts]


# --- who knows whom -----------------------------------------------------------------------------------------------


def test_imports_go_downwards_only():
    layers = [grimp.Layer(*(f"lienthong.{name}" for name in layer)) for layer in LAYERS]
    broken = graph().find_illegal_dependencies_for_layers(layers=layers)
    assert [(dependency.importer, dependency.imported) for dependency in broken] == []


def test_every_module_of_the_core_has_its_layer():
    placed = {name for layer in LAYERS for name in layer} | {"offices"}
    assert {name.split(".")[1] for name in modules_of("lienthong") if "." in name} <= placed


def test_the_core_knows_no_plugin_and_no_conformance():
    foreign = {name for name in imports_of("lienthong") if name.split(".")[0] in (*PLUGINS, CONFORMANCE)}
    assert foreign == set()


@pytest.mark.parametrize("package", SEEN_BY)
def test_plugins_see_the_public_names_only(package):
    ours = {name for name in imports_of(package) if name.startswith("lienthong")}
    assert ours <= SEEN_BY[package]


def test_every_plugin_is_among_them():
    folders = {folder.name for folder in (ROOT / "plugins").glob("*/lienthong_*")}
    assert folders == set(PLUGINS) <= set(SEEN_BY)


def test_conformance_knows_no_plugin():
    assert {name for name in imports_of(CONFORMANCE) if name.split(".")[0] in PLUGINS} == set()


@pytest.mark.parametrize(
    ("library", "allowed"),
    [
        ("httpx", {"lienthong.http"}),
        ("tenacity", {"lienthong.http"}),
        ("zeep", set()),
        ("pyhanko", {"lienthong.signing"}),
        ("lxml", {"lienthong.edxml", "lienthong_conformance.simulators"}),
        ("xmlsec", {"lienthong.edxml.signature.envelope"}),
        ("pypdfium2", {"lienthong.edxml.rules.pdf_facts", "lienthong.signing.stamp.pdfium"}),
        ("pkcs11", {"lienthong.signing.keys.pkcs11"}),
        ("pybase64", {"lienthong.edxml"}),
        ("sqlalchemy", {"lienthong.store", "lienthong.pipeline.lookup", "lienthong.api", "lienthong.views"}),
        ("fastapi", {"lienthong.api"}),
        ("reportlab", {"lienthong_conformance.letters"}),
        ("pluggy", {"lienthong.hookspecs", "lienthong.registry"}),
    ],
)
def test_a_library_is_known_in_its_own_place_only(library, allowed):
    astray = {name for name in importers_of(library) if not any(f"{name}.".startswith(f"{p}.") for p in allowed)}
    assert astray == set()


def test_sources_are_read_where_the_rules_say_that_they_are():
    assert importers_of("httpx") == {"lienthong.http"}
    assert len(graph().modules) > 50


# --- what is loaded when ------------------------------------------------------------------------------------------

HEAVY = ("pyhanko", "pkcs11", "lxml", "xmlsec", "pypdfium2", "reportlab", "sqlalchemy", "fastapi", "matplotlib")


@pytest.mark.parametrize(
    "module", ["lienthong", "lienthong.offices", "lienthong.signing", "lienthong.pipeline", *PLUGINS]
)
def test_importing_a_package_loads_nothing_heavy(module):
    probe = f"import {module}, sys; print([name for name in {HEAVY!r} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


# --- words --------------------------------------------------------------------------------------------------------


def words_of(tree: ast.AST) -> set[str]:
    """All identifiers and strings of a module, in lower case."""
    found = set()
    for node in ast.walk(tree):
        names = (getattr(node, field, None) for field in ("id", "attr", "name", "arg", "value", "module"))
        found.update(name.lower() for name in names if isinstance(name, str))
    return found


@pytest.mark.parametrize("file", sources(CORE), ids=lambda file: str(file.relative_to(CORE)))
def test_the_core_names_no_vendor(file):
    words = words_of(ast.parse(file.read_text("utf-8")))
    assert [word for word in words if any(vendor in word for vendor in VENDORS)] == []


# --- sizes --------------------------------------------------------------------------------------------------------


def functions_of(file: Path) -> list[tuple[str, int]]:
    """Each function with its length in lines."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    found = [node for node in ast.walk(ast.parse(file.read_text("utf-8"))) if isinstance(node, kinds)]
    return [(node.name, (node.end_lineno or 0) - node.lineno + 1) for node in found]


@pytest.mark.parametrize(
    "file", sources(ROOT / "core", ROOT / "plugins", ROOT / "conformance"), ids=lambda file: str(file.relative_to(ROOT))
)
def test_files_and_functions_stay_small(file):
    assert len(file.read_text("utf-8").splitlines()) <= LONGEST_FILE
    assert [name for name, lines in functions_of(file) if lines > LONGEST_FUNCTION] == []
