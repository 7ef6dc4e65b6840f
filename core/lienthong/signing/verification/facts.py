"""What a PDF's signatures say, as plain values: the part of a check that must touch the hostile file.

``reading`` makes these facts, in this process or in a confined one; ``verify`` judges them without the file. Nothing
here knows trust or time.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pydantic import ConfigDict, TypeAdapter, ValidationError

_AS_TEXT = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")


@dataclass(frozen=True, kw_only=True)
class TokenFacts:
    """An RFC 3161 token over a signature's value. ``reasons``: why it does not hold by itself; ``at``: its genTime."""

    __pydantic_config__ = _AS_TEXT

    at: datetime | None
    reasons: tuple[str, ...] = ()
    certificates: tuple[bytes, ...] = ()


@dataclass(frozen=True, kw_only=True)
class SignatureFacts:
    """One signature field. ``reasons``: what is wrong with the signature whoever made it, and whenever.

    ``certificates`` (DER) came inside the signature, the signer's first; none when it could not be read. ``revision``
    counts from 0. ``stated_at`` is the signer's statement, for a document timestamp the authority's genTime.
    ``names_signer``: the signed attributes name the signer's certificate (CAdES). ``security_store``: the revision
    that this signature closes has a document security store. ``gap``: from where to where in the file the signature
    itself stands, angle brackets included.
    """

    __pydantic_config__ = _AS_TEXT

    field_name: str
    reasons: tuple[str, ...] = ()
    document_timestamp: bool = False
    revision: int = 0
    format: str = ""
    certificates: tuple[bytes, ...] = ()
    stated_at: datetime | None = None
    timestamps: tuple[TokenFacts, ...] = ()
    names_signer: bool = False
    security_store: bool = False
    coverage: str = ""
    changes: str = ""
    algorithms: tuple[str, ...] = ()
    gap: tuple[int, int] = (0, 0)


@dataclass(frozen=True, kw_only=True)
class FileFacts:
    """All of a file's signatures in signing order, and what it brings along for judging them (DER).

    ``problem``: why the file as a whole cannot be checked; then there are no signatures.
    """

    __pydantic_config__ = _AS_TEXT

    problem: str = ""
    signatures: tuple[SignatureFacts, ...] = ()
    certificates: tuple[bytes, ...] = ()
    ocsps: tuple[bytes, ...] = ()
    crls: tuple[bytes, ...] = ()

    def to_json(self) -> str:
        return _FACTS.dump_json(self).decode()

    @staticmethod
    def from_json(text: str) -> FileFacts:
        """:raises ValueError: ``text`` is not what ``to_json`` wrote."""
        try:
            return _FACTS.validate_json(text)
        except ValidationError as problem:
            raise ValueError(f"{problem.error_count()} values of the facts are wrong") from None


_FACTS = TypeAdapter(FileFacts)
