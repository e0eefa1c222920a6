"""Finished runs, a JSON line each, so that a bench that was killed goes on where it was. Knows no meaning of a row."""

import json
import os
from pathlib import Path
from typing import Any

Json = dict[str, Any]


class Ledger:
    """Rows by key. A key is everything that decides a result; a row is on the disk before it counts as finished."""

    def __init__(self, file: Path) -> None:
        self._file = file
        file.parent.mkdir(parents=True, exist_ok=True)
        self._rows: dict[str, Json] = {}
        for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else []:
            try:
                row = json.loads(line)
            except json.JSONDecodeError:
                continue  # the line that was being written when the process was killed: its run is done again
            self._rows[_name(row["key"])] = row
        self._mend()

    def find(self, key: Json) -> Json | None:
        return self._rows.get(_name(key))

    def rows(self) -> list[Json]:
        return list(self._rows.values())

    def add(self, key: Json, result: Json) -> Json:
        row = {"key": key, **result}
        with self._file.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(row) + "\n")
            lines.flush()
            os.fsync(lines.fileno())
        self._rows[_name(key)] = row
        return row

    def _mend(self) -> None:
        """A half line at the end would swallow the next row."""
        if self._file.exists() and (data := self._file.read_bytes()) and not data.endswith(b"\n"):
            with self._file.open("ab") as lines:
                lines.write(b"\n")


def _name(key: Json) -> str:
    return json.dumps(key, sort_keys=True)
