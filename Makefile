# The front door. `make serve` and `make test` set up everything that they need; the rest is for the people who work here.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
unexport PYTHONDONTWRITEBYTECODE  # without bytecode each of the tests' thousand processes compiles us: a third of its start

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest

help:  ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "%-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.ready: pyproject.toml
	@bash .ci/python-venv "$(PYTHON)" $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[dev]'
	@touch $@

setup: $(VENV)/.ready  ## virtual environment and system packages
	@bash .ci/system-packages nginx

serve: setup  ## run the main job on embedded defaults: http://localhost:5000
	exec $(BIN)/python -m whalefall serve

test: setup lint  ## lint and the default test suite
	@bash .ci/system-packages redis postgresql
	$(PYTEST) -q -n 2 --dist loadfile -m "not container and not chaos and not browser and not heavy"

heavy: setup  ## a million runs on record, ten thousand random histories of the engine, long waits
	@bash .ci/system-packages redis postgresql
	$(PYTEST) -q -n 2 --dist loadfile -m heavy
	WHALEFALL_HISTORIES=10000 $(PYTEST) -q -n 2 tests/unit/supervisor/test_simulation.py

container: setup  ## build the image and run it for real (installs podman as root; skips with a reason where it cannot)
	$(PYTEST) -m container -q tests/container

bench: setup  ## measure beside supervisord, honcho, circus, s6 and runit (10 minutes); rewrites docs/explanation/measurements.md
	@bash .ci/system-packages s6 wrk
	$(BIN)/python -m bench

bench-scheduler: setup  ## the scheduler beside APScheduler, on SQLite and PostgreSQL (4 minutes); rewrites docs/explanation/measurements-scheduler.md
	@bash .ci/system-packages postgresql
	$(BIN)/python -m bench.scheduler

chaos: setup  ## deaths, hangs and storms under load; rewrites docs/reference/faults.md; WHALEFALL_CHAOS_S=600 for a long one
	@bash .ci/system-packages redis postgresql faketime
	WHALEFALL_WRITE_MATRIX=1 $(PYTEST) -q -m chaos tests/chaos

mutants: $(VENV)/.ready  ## break the engine on purpose and see that the tests notice
	$(BIN)/python tests/mutants.py

browser: setup  ## a real Chromium drives the pages through the real Nginx
	@bash .ci/system-packages chromium chinese
	$(PYTEST) -q -m browser tests/browser

lint: $(VENV)/.ready  ## ruff, mypy strict, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.ready  ## let ruff mend what it can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:  ## remove what make made
	rm -rf $(VENV) build dist .*_cache .hypothesis

.PHONY: help setup serve test heavy container bench bench-scheduler chaos browser mutants lint format clean
