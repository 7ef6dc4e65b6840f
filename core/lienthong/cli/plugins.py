"""``plugins list`` and ``plugins show``: the truth about each plugin."""

from __future__ import annotations

from typing import Any

import typer

from lienthong.cli.printing import print_json, print_table
from lienthong.hookspecs import HOOK_NAMES
from lienthong.registry import Plugin, discover


def show_plugins(*, json_out: bool) -> None:
    plugins = [_described(plugin) for plugin in discover().values()]
    if json_out:
        print_json(plugins)
        return
    rows = [
        (*(p[k] for k in ("name", "role", "state", "tried", "distribution")), p["summary"] or p["problem"])
        for p in plugins
    ]
    print_table(("plugin", "role", "state", "tried on a real peer", "from", "what it is, or why not"), rows)


def show_plugin(name: str, *, json_out: bool) -> int:
    plugin = discover().get(name)
    if plugin is None:
        typer.echo(f"lienthong: no plugin {name!r}; see `lienthong plugins list`", err=True)
        return 1
    described = _described(plugin) | {"config": _config_keys(plugin)}
    if json_out:
        print_json(described)
        return 0
    for key in ("name", "role", "state", "problem", "summary", "distribution", "evidence", "hooks", "missing_hooks"):
        typer.echo(f"{key:14} {described[key]}")
    for key, value in described["capabilities"].items():
        typer.echo(f"{key:14} {value}")
    print_table(("key", "default", "meaning"), [(k["key"], k["default"], k["meaning"]) for k in described["config"]])
    return 0


def _described(plugin: Plugin) -> dict[str, Any]:
    manifest = plugin.manifest
    capabilities = manifest.capabilities if manifest else None
    return {
        "name": plugin.name,
        "role": manifest.role if manifest else "?",
        "state": plugin.state,
        "problem": plugin.problem,
        "distribution": plugin.distribution,
        "summary": manifest.summary if manifest else "",
        "tried": ("yes" if manifest.evidence else "unverified") if manifest else "",
        "evidence": (manifest.evidence or "unverified against a real peer") if manifest else "",
        "hooks": sorted(plugin.hooks),
        "missing_hooks": sorted(set(HOOK_NAMES) - plugin.hooks - {"register_commands"}),
        "capabilities": {
            "dedup": capabilities.dedup,
            "ack": capabilities.ack,
            "max_bytes": capabilities.max_bytes,
            "max_title": capabilities.max_title,
            "statuses": sorted(code.value for code in capabilities.statuses),
        }
        if capabilities
        else {},
    }


def _config_keys(plugin: Plugin) -> list[dict[str, str]]:
    if plugin.manifest is None:
        return []
    keys = []
    for name, field in plugin.manifest.config.model_fields.items():
        default = "(required)" if field.is_required() else str(field.get_default(call_default_factory=False))
        keys.append({"key": name, "default": default, "meaning": field.description or ""})
    return keys
