"""Prometheus' own checker: the one on PATH, or from Debian's package, unpacked and not installed."""

import functools
import shutil
import subprocess
import tempfile
from pathlib import Path

_CACHE = Path(__file__).parents[2] / "build" / "promtool"
_WITHIN_S = 180


@functools.cache
def promtool() -> Path | None:
    """None where there is none and none can be had."""
    if found := shutil.which("promtool"):
        return Path(found)
    if not _CACHE.exists() and shutil.which("apt-get") and shutil.which("dpkg"):
        try:
            _unpack(_CACHE)
        except (subprocess.SubprocessError, OSError):
            return None
    return _CACHE if _CACHE.exists() else None


def _unpack(target: Path) -> None:
    """Into place by a rename: several test processes may want it at once."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as directory:
        for command in (["apt-get", "download", "-q", "prometheus"], ["dpkg", "-x", "prometheus.deb", "."]):
            for package in Path(directory).glob("prometheus_*.deb"):
                package.rename(Path(directory) / "prometheus.deb")
            subprocess.run(command, cwd=directory, capture_output=True, timeout=_WITHIN_S, check=True)
        (Path(directory) / "usr/bin/promtool").rename(target)


def told(*words: str, stdin: bytes = b"", cwd: Path | None = None) -> tuple[int, str]:
    """Its exit code and all that it said."""
    program = promtool()
    assert program is not None
    done = subprocess.run([program, *words], input=stdin, cwd=cwd, capture_output=True, timeout=60, check=False)
    return done.returncode, (done.stdout + done.stderr).decode()
