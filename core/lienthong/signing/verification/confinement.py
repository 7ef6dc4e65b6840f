"""Reading what strangers sent in processes of their own, for a program that must stay up (``confined``)."""

from __future__ import annotations

from pathlib import Path

from lienthong.confined import ConfinedFailure, ConfinedWorkers, FailureKind
from lienthong.errors import StoreError
from lienthong.signing.pdf import seconds_for
from lienthong.signing.verification.facts import FileFacts

_READ = "lienthong.signing.verification.reading:facts_as_json"
_MEMORY_BYTES = 1024 * 1024 * 1024
"""Address space, libraries included. Usual files stay far below; long tables of a hostile one do not."""
_SECONDS_TO_START = 10.0


class ConfinedReading:
    """``reading.read_facts`` in confined processes; thread-safe. Give it to ``verify.verify_pdf`` as ``read``."""

    def __init__(self) -> None:
        self._workers = ConfinedWorkers(memory_bytes=_MEMORY_BYTES)

    def __call__(self, path: Path) -> FileFacts:
        """The facts of one file. When the reading breaks off twice, they have the problem ``check-failed``.

        :raises StoreError: the file cannot be read from disk
        """
        try:
            with path.open("rb"):
                size = path.stat().st_size
        except OSError as problem:
            raise StoreError("verify.file-unreadable", where=path.name, reason=problem.strerror) from problem
        seconds = seconds_for(size) + _SECONDS_TO_START
        facts = self._tried(path, seconds) or self._tried(path, seconds)
        return facts or FileFacts(problem="check-failed")

    def close(self) -> None:
        self._workers.close()

    def _tried(self, path: Path, seconds: float) -> FileFacts | None:
        try:
            return FileFacts.from_json(str(self._workers.call(_READ, str(path.absolute()), seconds=seconds)))
        except ConfinedFailure as failure:
            # A child may die of what is not the file's fault; one that took its full time had its chance.
            return FileFacts(problem="check-failed") if failure.kind is FailureKind.TOO_SLOW else None
        except ValueError:
            return None
