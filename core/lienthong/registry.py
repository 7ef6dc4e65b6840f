"""Entry points -> checked plugins -> open connections.

Each entry point is loaded on its own: one that breaks is listed with its reason and never stops the rest. Each
connection has its own pluggy manager that holds its plugin. ``OpenConnection.call`` is the one place where hooks are
called: it times the call, collects what went over the wire, and turns whatever is not in the contract into a
``ContractViolation``.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, BinaryIO, Literal

import pluggy
from pydantic import BaseModel

from lienthong.config import Config, plugin_config
from lienthong.errors import (
    ConfigError,
    ContentError,
    ContractViolation,
    LienthongError,
    OutcomeUnknown,
    PluginError,
    Rejected,
    SigningError,
    StorageFull,
    StoreError,
    Unavailable,
)
from lienthong.hookspecs import (
    HOOK_NAMES,
    PROJECT,
    AgencyListing,
    Batch,
    BrokenItem,
    Capabilities,
    Connection,
    Credential,
    DocumentItem,
    Hooks,
    Manifest,
    PacketItem,
    Pending,
    Probe,
    Receipt,
    Reconciliation,
    Save,
    Signature,
    StatusItem,
)
from lienthong.http import Exchange, HttpClient, HttpSettings, recording
from lienthong.model import Organization

GROUP = "lienthong.plugins"

_ANSWERS: dict[str, tuple[type, ...]] = {
    "save": (type(None),),
    "fetch": (Batch,),
    "credential": (Credential,),
    "sign": (Signature, Pending),
    "package": (bool,),
    "deliver": (Receipt,),
    "acknowledge": (bool,),
    "reconcile": (Reconciliation,),
    "directory": (AgencyListing,),
    "probe": (Probe,),
}
_ITEMS = (PacketItem, DocumentItem, StatusItem, BrokenItem)
_CONTRACT = (Rejected, Unavailable, OutcomeUnknown, ContentError, SigningError, ConfigError, StorageFull)
"""What may leave a hook. A full disk comes from the file that core gave it, a wrong key out of ``Connection.http``."""
_NEEDED: dict[str, frozenset[str]] = {
    "office": frozenset({"deliver"}),
    "axis": frozenset({"fetch", "package", "deliver", "acknowledge"}),
    "signer": frozenset({"credential", "sign"}),
}


@dataclass(frozen=True, kw_only=True)
class Plugin:
    """What is known of one entry point. ``problem`` empty means usable."""

    name: str
    distribution: str
    module: Any = None
    manifest: Manifest | None = None
    hooks: frozenset[str] = frozenset()
    problem: str = ""

    @property
    def state(self) -> Literal["usable", "broken"]:
        return "broken" if self.problem else "usable"


def discover(names: frozenset[str] | None = None) -> dict[str, Plugin]:
    """Load the installed plugins (all, or those named), each on its own."""
    found: dict[str, Plugin] = {}
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        if names is None or point.name in names:
            first = found.get(point.name)
            found[point.name] = _load(point) if first is None else _twice(first, point)
    return found


def _twice(first: Plugin, point: EntryPoint) -> Plugin:
    other = point.dist.name if point.dist else "?"
    problem = f"two distributions offer the plugin {point.name!r}: {first.distribution} and {other}"
    return Plugin(name=point.name, distribution=first.distribution, problem=problem)


def _load(point: EntryPoint) -> Plugin:
    distribution = f"{point.dist.name} {point.dist.version}" if point.dist else "?"
    try:
        module = point.load()
        hooks = _checked_hooks(module)
        manifest = module.describe()
        _check_manifest(point.name, manifest, hooks)
    except (Exception, SystemExit) as problem:  # the border to foreign code: a plugin may do anything while it loads
        text = problem.text("en") if isinstance(problem, LienthongError) else f"{type(problem).__name__}: {problem}"
        return Plugin(name=point.name, distribution=distribution, problem=text)
    return Plugin(name=point.name, distribution=distribution, module=module, manifest=manifest, hooks=hooks)


def _manager(module: Any) -> pluggy.PluginManager:
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(Hooks)
    manager.register(module)
    manager.check_pending()
    return manager


def _checked_hooks(module: Any) -> frozenset[str]:
    """The hooks that a module implements; a misspelt hook or argument is an error of the plugin."""
    manager = _manager(module)
    implemented = {name for name in HOOK_NAMES if getattr(manager.hook, name).get_hookimpls()}
    for name in implemented:
        wanted = [p for p in inspect.signature(getattr(Hooks, name)).parameters if p != "self"]
        function = getattr(manager.hook, name).get_hookimpls()[0].function
        given = list(inspect.signature(function).parameters)
        unknown = [p for p in given if p not in wanted]
        if unknown:
            raise PluginError("plugin.arguments", hook=name, unknown=", ".join(unknown), wanted=", ".join(wanted))
    if "describe" not in implemented:
        raise PluginError("plugin.no-manifest")
    return frozenset(implemented)


def _check_manifest(name: str, manifest: object, hooks: frozenset[str]) -> None:
    if not isinstance(manifest, Manifest):
        raise PluginError("plugin.no-manifest")
    if manifest.name != name:
        raise PluginError("plugin.name", manifest=manifest.name, entry_point=name)
    missing = _NEEDED[manifest.role] - hooks
    if missing:
        raise PluginError("plugin.hooks-missing", role=manifest.role, missing=", ".join(sorted(missing)))
    if manifest.capabilities.dedup == "lookup" and "reconcile" not in hooks:
        raise PluginError("plugin.hooks-missing", role=manifest.role, missing="reconcile (dedup is 'lookup')")


@dataclass(frozen=True, kw_only=True)
class Call:
    """One finished hook call: what it answered or raised, and what it put on the wire."""

    hook: str
    answer: Any
    error: LienthongError | None
    exchanges: tuple[Exchange, ...]
    seconds: float

    def result(self) -> Any:
        if self.error is not None:
            raise self.error
        return self.answer


@dataclass(frozen=True, kw_only=True)
class OpenConnection:
    """A configured plugin, ready to be called."""

    connection: Connection
    plugin: Plugin
    poll_seconds: float
    observe: Callable[[str, str, float, LienthongError | None], None] = field(default=lambda *_: None)

    @property
    def name(self) -> str:
        return self.connection.name

    @property
    def capabilities(self) -> Capabilities:
        return self.manifest.capabilities

    @property
    def manifest(self) -> Manifest:
        if self.plugin.manifest is None:
            raise PluginError("plugin.broken", plugin=self.plugin.name, problem=self.plugin.problem)
        return self.plugin.manifest

    def has(self, hook: str) -> bool:
        return hook in self.plugin.hooks

    @cached_property
    def _hooks(self) -> pluggy.HookRelay:
        return _manager(self.plugin.module).hook

    def call(self, hook: str, **arguments: Any) -> Call:
        """Call a hook. Nothing is raised: errors of the contract come back in the ``Call``, others as a violation."""
        return self._guarded(hook, lambda: getattr(self._hooks, hook)(connection=self.connection, **arguments))

    def save(self, save: Save, sink: BinaryIO) -> Call:
        """Let an offered item write its bytes to ``sink``."""
        return self._guarded("save", lambda: save(sink))

    def _guarded(self, hook: str, function: Callable[[], object]) -> Call:
        started = time.monotonic()
        answer, error = None, None
        with recording() as exchanges:
            try:
                answer = function()
                error = self._violation(hook, answer)
            except LienthongError as problem:
                error = self._allowed(hook, problem)
            except (Exception, SystemExit) as problem:  # the border to foreign code; a thread swallows SystemExit
                error = self._contract(hook, f"raised {type(problem).__name__}: {problem}")
                error.__cause__ = problem
        seconds = time.monotonic() - started
        self.observe(self.name, hook, seconds, error)
        return Call(hook=hook, answer=answer, error=error, exchanges=tuple(exchanges), seconds=seconds)

    def _allowed(self, hook: str, problem: LienthongError) -> LienthongError:
        """``problem`` if a hook may raise it. A plain ``StoreError`` is core's own, from a file that it gave the hook;
        the narrower ones, and ``Refused``, would speak for the store and the rules."""
        if isinstance(problem, _CONTRACT) or type(problem) is StoreError:
            return problem
        error = self._contract(hook, f"raised {type(problem).__name__}: {problem.text('en')}")
        error.__cause__ = problem
        return error

    def _violation(self, hook: str, answer: object) -> LienthongError | None:
        wanted = _ANSWERS[hook]
        if not isinstance(answer, wanted) or answer is False:
            names = " or ".join(kind.__name__ for kind in wanted)
            return self._contract(hook, f"returned {type(answer).__name__}, not {names}")
        problem = _batch_problem(answer) if isinstance(answer, Batch) else ""
        return self._contract(hook, problem) if problem else None

    def _contract(self, hook: str, problem: str) -> ContractViolation:
        return ContractViolation("plugin.contract", plugin=self.plugin.name, hook=hook, problem=problem)

    def close(self) -> None:
        self.connection.http.close()


def _batch_problem(batch: Batch) -> str:
    """What is wrong with a batch, in words; empty when nothing is."""
    if not isinstance(batch.items, tuple):
        return f"returned a Batch whose items are a {type(batch.items).__name__}, not a tuple"
    strange = [type(item).__name__ for item in batch.items if not isinstance(item, _ITEMS)]
    if strange:
        return f"returned a Batch with items that are none: {', '.join(sorted(set(strange)))}"
    if not isinstance(batch.cursor, str | None):
        return f"returned a Batch whose cursor is a {type(batch.cursor).__name__}, not a str"
    return ""


Observer = Callable[[str, str, float, LienthongError | None], None]


def open_connections(
    config: Config, folder: Path, now: Callable[[], datetime], observe: Observer = lambda *_: None
) -> dict[str, OpenConnection]:
    """Open every connection that an agency uses.

    A connection whose plugin is broken or whose keys are wrong stops the start with all mistakes named: a daemon that
    silently serves half of its agencies would be worse.

    :raises ConfigError: what is wrong, by file, line and key
    """
    used = [name for name in config.connection if config.role_of(name) is not None]
    plugins = discover(frozenset(config.connection[name].plugin for name in used))
    opened, problems = {}, []
    for name in used:
        try:
            opened[name] = open_connection(config, name, plugins, folder, now, observe)
        except LienthongError as problem:
            problems.append(problem)
    if problems:
        raise problems[0] if len(problems) == 1 else _together(problems)
    return opened


def _together(problems: list[LienthongError]) -> ConfigError:
    return ConfigError("config.invalid", count=len(problems), mistakes="\n  ".join(str(p) for p in problems))


def open_connection(
    config: Config,
    name: str,
    plugins: dict[str, Plugin],
    folder: Path,
    now: Callable[[], datetime],
    observe: Observer = lambda *_: None,
) -> OpenConnection:
    """Open one connection.

    :raises ConfigError: its plugin is unknown, broken, or for another role; or its keys are wrong
    """
    settings, where = config.connection[name], f"{config.file}: connection.{name}"
    plugin = plugins.get(settings.plugin)
    if plugin is None:
        known = ", ".join(sorted(point.name for point in entry_points(group=GROUP)))
        raise ConfigError("config.no-plugin", where=where, plugin=settings.plugin, known=known)
    if plugin.manifest is None:
        raise ConfigError("plugin.broken", where=where, plugin=plugin.name, problem=plugin.problem)
    role = config.role_of(name)
    if role is not None and role != plugin.manifest.role:
        raise ConfigError("config.role", where=where, plugin=plugin.name, role=plugin.manifest.role, wanted=role)
    model = plugin_config(plugin.manifest.config, config, name)
    workplace = folder / "connections" / name
    workplace.mkdir(parents=True, exist_ok=True)
    organizations: tuple[Organization, ...] = tuple(a.organization() for a in config.served_by(name))
    connection = Connection(
        name=name,
        agencies=organizations,
        config=model,
        http=HttpClient(_http_settings(model), peer=name, now=now),
        folder=workplace,
        now=now,
    )
    return OpenConnection(connection=connection, plugin=plugin, poll_seconds=settings.poll_seconds, observe=observe)


def _http_settings(model: BaseModel) -> HttpSettings:
    settings = getattr(model, "http", None)
    return settings if isinstance(settings, HttpSettings) else HttpSettings()
