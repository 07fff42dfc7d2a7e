"""A start on a database of this release must not load Alembic: 9 MB in every worker, for one comparison."""

import subprocess
import sys
from pathlib import Path

from alembic.config import Config
from alembic.script import ScriptDirectory

from whalefall.scheduler.ledger import migrate

_OPEN = """
import sys
from whalefall.scheduler.ledger.engine import make_engine
from whalefall.scheduler.ledger.migrate import migrate
migrate(make_engine(sys.argv[1]))
print("alembic" in sys.modules)
"""


def test_the_numbers_of_the_files_name_the_same_heads_as_alembic() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(migrate.__file__).with_name("migrations")))
    config.set_main_option("path_separator", "os")
    assert migrate.newest() == set(ScriptDirectory.from_config(config).get_heads())


def test_alembic_is_loaded_for_a_migration_and_not_for_a_start(tmp_path: Path) -> None:
    def start() -> str:
        command = [sys.executable, "-c", _OPEN, f"sqlite:///{tmp_path}/ledger.db"]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout

    assert [start(), start()] == ["True\n", "False\n"]
