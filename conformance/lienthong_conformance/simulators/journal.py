"""A simulator's own records: what it received and what it committed, for counting after a test."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path

_NOTES_KEPT = 50_000

Record = dict[str, object]


class Journal:
    """Append-only records with ``n`` (from 1), ``at`` (Unix seconds), ``event`` and the event's own facts. Thread-safe.

    ``commit`` writes to the file (JSON lines) and returns when they are on disk, so a restarted simulator has them all.
    ``note`` keeps a record in memory only: requests, crashes; the first 50,000 of them.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._lock = threading.Lock()
        self._records = _intact_lines(path) if path is not None and path.exists() else []
        self._noted = 0
        self._file = path.open("ab") if path is not None else None

    def commit(self, event: str, **facts: object) -> Record:
        with self._lock:
            record = self._append(event, facts)
            if self._file is not None:
                self._file.write(json.dumps(record, ensure_ascii=False).encode() + b"\n")
                self._file.flush()
                os.fsync(self._file.fileno())
            return record

    def note(self, event: str, **facts: object) -> None:
        with self._lock:
            self._noted += 1
            if self._noted <= _NOTES_KEPT:
                self._append(event, facts)

    def records(self, event: str = "", after: int = 0) -> list[Record]:
        """Records in order; of one event if named, with ``n`` greater than ``after``."""
        with self._lock:
            found = self._records[after:]
        return [record for record in found if not event or record["event"] == event]

    def clear(self) -> None:
        with self._lock:
            self._records.clear()
            self._noted = 0
            if self._file is not None:
                self._file.truncate(0)

    def close(self) -> None:
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None

    def _append(self, event: str, facts: Mapping[str, object]) -> Record:
        record: Record = {"n": len(self._records) + 1, "at": round(time.time(), 3), "event": event, **facts}
        self._records.append(record)
        return record


def _intact_lines(path: Path) -> list[Record]:
    """The records of an earlier run. A line cut by a crash is taken off the file, so that appending stays safe."""
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if whole != content:
        os.truncate(path, len(whole))
    return [{**json.loads(line), "n": number} for number, line in enumerate(whole.splitlines(), 1)]
