"""Where files may go: private, ours, no links; and the one secret."""

import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from whalefall.errors import ConfigError
from whalefall.planner.directories import make_data_dir, make_private, make_run_dir, secret_key, stored_secret_key

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a file to somebody else")


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_a_run_dir_is_made_private_with_its_parents() -> None:
    with tempfile.TemporaryDirectory() as short:  # pytest's own directories may leave no room for a socket's path
        make_run_dir(Path(short) / "a" / "run")
        assert mode(Path(short) / "a" / "run") == 0o700


def test_an_open_one_of_ours_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "run"
    path.mkdir()
    path.chmod(0o777)
    make_run_dir(path)
    assert mode(path) == 0o700


def test_a_stricter_one_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "nginx"
    path.mkdir(mode=0o700)
    make_private(path, "RUN_DIR", 0o711)
    assert mode(path) == 0o700


def test_a_link_is_refused_even_to_a_directory_of_ours(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "run").symlink_to(tmp_path / "real")
    with pytest.raises(ConfigError, match=r"^RUN_DIR: .*/run is no directory \(a link, perhaps somebody else's\)"):
        make_run_dir(tmp_path / "run")


def test_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(ConfigError, match="is no directory"):
        make_run_dir(tmp_path / "run")


@as_root
def test_somebody_elses_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    os.chown(tmp_path / "run", 65_534, 65_534)
    with pytest.raises(ConfigError, match="belongs to user 65534, not to us"):
        make_run_dir(tmp_path / "run")


def test_a_path_that_sockets_cannot_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"is too long for the sockets in it \(\d+ bytes of 107\)"):
        make_run_dir(tmp_path / ("x" * 100))
    assert not list(tmp_path.iterdir())


def test_the_longest_service_decides_what_is_too_long() -> None:
    with pytest.raises(ConfigError, match="too long"):
        make_run_dir(Path("/tmp/whalefall-test"), "w" * 80)


def test_a_data_dir_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "var"
    path.mkdir()
    path.chmod(0o770)
    make_data_dir(path)
    assert mode(path) == 0o770


def test_a_secret_is_generated_once_and_kept(tmp_path: Path) -> None:
    assert stored_secret_key(tmp_path) == ""
    first = secret_key(tmp_path)
    assert len(first) == 64
    assert secret_key(tmp_path) == stored_secret_key(tmp_path) == first
    assert mode(tmp_path / "secret_key") == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["secret_key"]


def test_many_that_start_at_once_agree_on_one_secret(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: secret_key(tmp_path), range(32)))
    assert len(found) == 1
    assert [each.name for each in tmp_path.iterdir()] == ["secret_key"]


@pytest.mark.parametrize("content", ["", "short\n", "\xff" * 40])
def test_a_secret_that_is_none_is_refused_and_not_replaced(tmp_path: Path, content: str) -> None:
    (tmp_path / "secret_key").write_text(content, encoding="latin-1")
    with pytest.raises(ConfigError, match=r"^DATA_DIR: .*/secret_key (holds too short a secret|cannot be read)"):
        secret_key(tmp_path)
    assert (tmp_path / "secret_key").read_text(encoding="latin-1") == content


def test_a_directory_in_the_secrets_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret_key").mkdir()
    with pytest.raises(ConfigError, match="cannot be read"):
        secret_key(tmp_path)
