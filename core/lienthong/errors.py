"""Every error that leaves a public function of lienthong.

LienthongError
├── ConfigError              the configuration cannot be used; the daemon does not start
├── ContentError             an item's content cannot be used as it is (broken packet, not a PDF, missing metadata)
├── Refused                  a rule of Decision 28 or of the province says no
├── SigningError             no signature could be made (wrong PIN, expired certificate)
├── StoreError               the store could not do it
│   ├── KeyConflict          the same key came with different bytes
│   ├── LeaseLost            somebody else holds the work now: drop the result
│   └── StorageFull          the disk is full: nothing was accepted
├── PluginError              a plugin does not work
│   └── ContractViolation    a hook broke its contract: a bug, not weather
└── PeerError                what a peer answered, or did not
    ├── Rejected             permanent: the same input gets the same answer
    ├── Unavailable          nothing happened at the peer: safe to retry, after ``retry_after`` seconds if given
    │   └── Unauthorized     the peer does not accept our credentials; the document is not at fault
    └── OutcomeUnknown       it was sent and the answer is lost: reconcile, never resend blindly

An error carries a stable ``code``; ``texts.toml`` holds what happened and what to do next for each code, in English and
Vietnamese. ``where`` names the place (config key, field, XPath, URL); ``facts`` fill the text.
"""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from typing import Literal

Language = Literal["en", "vi"]


class LienthongError(Exception):
    """The root. ``code`` is stable and may be matched by machines; texts may change."""

    def __init__(self, code: str, /, *, where: str = "", **facts: object) -> None:
        super().__init__(code)
        self.code = code
        self.where = where
        self.facts = facts

    def __str__(self) -> str:
        return self.text("en")

    def __reduce__(self) -> tuple[object, ...]:
        # Errors cross the signing pool's process border.
        return (_rebuild, (type(self), self.code, self.where, self.facts))

    def text(self, language: Language) -> str:
        """What happened, where, and what to do next, in one paragraph."""
        entry = catalogue().get(self.code, {})
        known = {name: str(value) for name, value in self.facts.items()}
        what = entry.get(language, self.code).format_map(_Blanks(known))
        advice = entry.get(f"next_{language}", "").format_map(_Blanks(known))
        place = f" [{self.where}]" if self.where else ""
        return f"{what}{place}" + (f" → {advice}" if advice else "")


class _Blanks(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return "?"


def _rebuild(kind: type[LienthongError], code: str, where: str, facts: dict[str, object]) -> LienthongError:
    return kind(code, where=where, **facts)


@cache
def catalogue() -> dict[str, dict[str, str]]:
    """All texts: code -> {en, vi, next_en, next_vi}."""
    tables = tomllib.loads(files("lienthong").joinpath("texts.toml").read_text("utf-8"))
    return {f"{group}.{name}": texts for group, entries in tables.items() for name, texts in entries.items()}


class ConfigError(LienthongError):
    """The configuration cannot be used."""


class ContentError(LienthongError):
    """An item's content cannot be used as it is."""


class Refused(LienthongError):
    """A rule says that the document must not go on."""


class SigningError(LienthongError):
    """No signature could be made."""


class StoreError(LienthongError):
    """The store could not do what was asked."""


class KeyConflict(StoreError):
    """The same idempotency key came with different bytes."""


class LeaseLost(StoreError):
    """The lease ended while the work was being done; the result must be dropped."""


class StorageFull(StoreError):
    """The disk is full; nothing was accepted."""


class PluginError(LienthongError):
    """A plugin cannot be loaded or used."""


class ContractViolation(PluginError):
    """A hook returned what its contract forbids."""


class PeerError(LienthongError):
    """Something about a peer. ``peer_code`` and ``peer_text`` in ``facts`` are the peer's own words."""


class Rejected(PeerError):
    """Permanent: the same input would get the same answer."""


class Unavailable(PeerError):
    """Nothing happened at the peer. ``retry_after`` (seconds) is the peer's own wish, if it had one."""

    @property
    def retry_after(self) -> float | None:
        value = self.facts.get("retry_after")
        return float(value) if isinstance(value, int | float) else None


class Unauthorized(Unavailable):
    """The peer does not accept our credentials."""


class OutcomeUnknown(PeerError):
    """The request left and the answer is lost."""
