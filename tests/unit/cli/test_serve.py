"""What `serve` says when it cannot become the supervisor."""

from pathlib import Path

import pytest

from whalefall.cli import serve
from whalefall.errors import ConfigError
from whalefall.plan import Plan


def test_a_python_that_this_user_may_not_run_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interpreter = tmp_path / "python"  # as below /root for whoever is not root
    interpreter.touch(mode=0o644)
    monkeypatch.setattr(serve.python, "supervisor", lambda: [str(interpreter)])
    with pytest.raises(ConfigError, match=f"cannot run {interpreter}: Permission denied"):
        serve.become_supervisor(Plan((), run_dir=str(tmp_path)))
