"""Crash reports on disk: bounded in number and size, readable by the next supervisor, never a reason to fail."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from whalefall.supervisor.edge.dossiers import FILE_BYTES_MAX, KEPT, Dossiers


def dossier(at: float, instance: str = "web.1", lines: int = 1) -> dict[str, Any]:
    return {"at": at, "instance": instance, "what": "it died", "lines": [f"line {n}" for n in range(lines)]}


def test_the_next_supervisor_reads_what_the_last_one_kept(tmp_path: Path) -> None:
    Dossiers(str(tmp_path / "crashes")).keep(dossier(1.0))
    later = Dossiers(str(tmp_path / "crashes"))
    later.keep(dossier(2.0))
    assert [each["at"] for each in later.about(["web.1"], 10)] == [1.0, 2.0]
    assert [each["at"] for each in later.about(["web.1"], 1)] == [2.0]
    assert later.about(["other.1"], 10) == []


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    dossiers = Dossiers(str(tmp_path))
    for at in range(1_000, 1_000 + 3 * KEPT):
        dossiers.keep(dossier(float(at)))
    files = sorted(tmp_path.glob("*.json"))
    assert len(files) == KEPT
    assert json.loads(files[-1].read_text())["at"] == 1_000 + 3 * KEPT - 1
    assert len(dossiers.recent) == KEPT


def test_a_large_one_loses_its_oldest_lines(tmp_path: Path) -> None:
    big = {**dossier(1.0), "lines": [f"{n:06} " + "x" * 4_000 for n in range(200)]}
    Dossiers(str(tmp_path)).keep(big)
    (file,) = tmp_path.glob("*.json")
    assert file.stat().st_size <= FILE_BYTES_MAX
    assert json.loads(file.read_text())["lines"][-1].startswith("000199 ")


def test_a_disk_that_does_not_take_them_is_reported_once_and_survived(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    dossiers = Dossiers(str(tmp_path / "file" / "crashes"))
    assert "cannot keep crash reports" in dossiers.keep(dossier(1.0))
    assert dossiers.keep(dossier(2.0)) == ""
    assert len(dossiers.about(["web.1"], 10)) == 2


def test_the_locale_does_not_matter(tmp_path: Path) -> None:
    """A service says what it likes; in a Latin-1 locale its crash report once ended PID 1."""
    found = {**dossier(1.0), "lines": ["\u2192 \u9be8"]}
    code = f"from whalefall.supervisor.edge.dossiers import Dossiers; Dossiers({str(tmp_path)!r}).keep({found!a})"
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONPATH": ":".join(sys.path)}
    subprocess.run([sys.executable, "-c", code], env=ascii_only, timeout=60, check=True)
    assert Dossiers(str(tmp_path)).about(["web.1"], 1) == [found]


def test_strange_files_are_passed_over(tmp_path: Path) -> None:
    for name, text in [("1.json", "{"), ("2.json", "[]"), ("3.json", "{}"), ("4.json", '"x"')]:
        (tmp_path / name).write_text(text)
    dossiers = Dossiers(str(tmp_path))
    dossiers.keep(dossier(5.0))
    assert len(dossiers.about(["web.1"], 10)) == 1


def test_without_a_directory_they_are_kept_in_memory() -> None:
    dossiers = Dossiers("")
    assert dossiers.keep(dossier(1.0)) == ""
    assert len(dossiers.about(["web.1"], 10)) == 1
