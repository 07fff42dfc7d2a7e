"""Is the site's ledger in trouble? Asked from a shell beside its `.env`; nothing is made, migrated or changed."""

import dataclasses
from pathlib import Path

from whalefall.errors import ConfigError
from whalefall.settings import Settings


def trouble(settings: Settings, data_dir: Path) -> str:
    """What is wrong and how to mend it; "" for nothing, and where the first start has made no ledger yet."""
    from whalefall.scheduler import commands
    from whalefall.scheduler.errors import LedgerUnavailable
    from whalefall.scheduler.ledger.engine import file_of, make_engine
    from whalefall.scheduler.ledger.troubles import refuse_unwritable

    url = commands.office(dataclasses.replace(settings, data_dir=str(data_dir))).database_url
    try:
        engine = make_engine(url, make_directory=False)
    except ConfigError as error:
        return str(error)
    try:
        if file_of(engine) is not None:
            refuse_unwritable(engine)
    except LedgerUnavailable as error:
        return str(error)
    finally:
        engine.dispose()
    return ""
