"""Crash dossiers: what was known when a life ended badly, kept in memory and as JSON files with a bound on both."""

import contextlib
import json
import os
from collections import deque
from typing import Any

from whalefall.plan.records import field, mutable
from whalefall.supervisor.edge import files

KEPT = 20  # the newest; a crash loop must not push out more than itself
FILE_BYTES_MAX = 262_144  # 200 lines of a kilobyte each, with room
LINES = 200


@mutable
class Dossiers:
    """`directory` "" keeps them in memory only."""

    directory: str
    recent: deque[dict[str, Any]] = field(factory=lambda: deque(maxlen=KEPT))
    complaint: str = ""  # why the disk does not take them, said once

    def keep(self, dossier: dict[str, Any]) -> str:
        """The complaint to report, "" when all is well or it was said already."""
        self.recent.append(dossier)
        if not self.directory:
            return ""
        try:
            self._write(dossier)
            self.complaint = ""
        except OSError as error:
            before, self.complaint = self.complaint, f"cannot keep crash reports in {self.directory}: {error.strerror}"
            return "" if before else self.complaint
        return ""

    def about(self, names: list[str], count: int) -> list[dict[str, Any]]:
        """The newest `count` of these instances, oldest first; those of earlier supervisors come from the disk."""
        known = {(each["at"], each["instance"]): each for each in [*self._stored(), *self.recent]}
        chosen = [known[key] for key in sorted(known) if key[1] in names]
        return chosen[-count:] if count > 0 else []

    def _write(self, dossier: dict[str, Any]) -> None:
        os.makedirs(self.directory, 0o700, exist_ok=True)
        text = json.dumps(dossier, ensure_ascii=False)
        while len(text) > FILE_BYTES_MAX and dossier["lines"]:
            dossier = {**dossier, "lines": dossier["lines"][len(dossier["lines"]) // 2 + 1 :]}
            text = json.dumps(dossier, ensure_ascii=False)
        fresh = f"{self.directory}/.new"
        files.write(fresh, text)
        os.replace(fresh, f"{self.directory}/{dossier['at']:.3f}-{dossier['instance']}.json")
        for old in self._files()[:-KEPT]:
            files.remove(old)

    def _stored(self) -> list[dict[str, Any]]:
        stored = []
        with contextlib.suppress(OSError):
            for file in self._files() if self.directory else []:
                with contextlib.suppress(OSError, ValueError):
                    found = json.loads(files.read(file))
                    if isinstance(found, dict) and {"at", "instance", "lines"} <= found.keys():
                        stored.append(found)
        return stored

    def _files(self) -> list[str]:
        """Oldest first: their names begin with their times."""
        names = sorted(name for name in os.listdir(self.directory) if name.endswith(".json"))
        return [f"{self.directory}/{name}" for name in names]
