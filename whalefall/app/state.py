"""What `install` leaves in an application: one frozen value in `app.extensions["whalefall"]`."""

import time
from dataclasses import dataclass
from pathlib import Path

from flask import Flask, current_app

from whalefall.settings import Settings

_KEY = "whalefall"


@dataclass(frozen=True, slots=True)
class AppState:
    """`is_builtin` is false inside somebody's own application: then only our own addresses are ours to shape."""

    settings: Settings
    run_dir: Path
    started_at: float
    is_builtin: bool


def put(app: Flask, settings: Settings, *, is_builtin: bool) -> AppState:
    """Remembers the settings; paths are taken relative to the working directory, where the Procfile is."""
    state = AppState(settings, settings.run_path(Path.cwd()), time.time(), is_builtin)
    app.extensions[_KEY] = state
    return state


def app_state() -> AppState:
    """The state of the current application."""
    state: AppState = current_app.extensions[_KEY]
    return state
