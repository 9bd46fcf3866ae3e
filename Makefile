# Needs Python 3.10 or newer, git and make. Everything else goes into .venv, made on first use and kept up to date
# with uv.lock; nothing outside this folder is touched but uv's package cache.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
LOWEST := .venvs/lowest
LOWEST_TESTS := tests/unit $(addprefix tests/integration/test_,api_client.py execute.py)
# What these install depends on programs of their own, which are the same for every version of our libraries.
LOWEST_SPARED := $(addprefix --ignore-glob=tests/unit/,environment/conda/* environment/test_engines.py \
	environment/test_project_*.py containers/test_environment.py)
NEWEST := .venvs/newest
# The first interpreter of a version that runs (a pyenv shim may be there and not work), else that of .venv.
python = $(or $(shell for p in python$(1) $$HOME/.pyenv/versions/$(1).*/bin/python; do \
	$$p -c '' 2>/dev/null && command -v $$p && break; done),$(BIN)/python)
LOWEST_PYTHON ?= $(call python,3.10)
NEWEST_PYTHON ?= $(call python,3.13)
# The environment that uv fills must be ours, whatever environment the caller is in.
UV := env -u VIRTUAL_ENV UV_PROJECT_ENVIRONMENT=$(VENV) $(BIN)/uv
PYTEST_WORKERS ?= auto
# Tests that mostly wait (for a signal's grace, for a server that is away) share a core.
WAITING_WORKERS ?= 4
# Tests that wait and tests that work together: three for each core, as it takes that many to keep them busy.
MIXED_WORKERS ?= $(shell expr 3 \* $$(nproc 2>/dev/null || echo 2))
# Tests start hundreds of interpreters; without compiled modules each of them would compile everything anew.
unexport PYTHONDONTWRITEBYTECODE
PYTEST := $(BIN)/python -m pytest -n $(PYTEST_WORKERS) --dist loadfile
# A selection that matches nothing (pytest's exit code 5) is no failure: rooms fill up release by release.
OR_NONE := || [ $$? -eq 5 ]

.DEFAULT_GOAL := help
.PHONY: help setup demo lint format test test-crash test-crash-all test-slow test-all test-peer test-engines test-lowest test-newest bench clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY) ## Make .venv with the project and all its tools

$(READY): pyproject.toml uv.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
		|| { echo 'Python 3.10 or newer is needed; name one with: make PYTHON=/path/to/python' >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) \
		|| { echo 'The venv module of $(PYTHON) does not work; on Debian and Ubuntu: apt install python3-venv' >&2; rm -rf $(VENV); exit 1; }
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@$(UV) sync --frozen --quiet
	@touch $@

demo: $(READY) ## Watch the agent take a task from a queue and run it (temporary server, nothing left behind)
	@$(BIN)/clearml-agent demo

lint: $(READY) ## Check style, types and the lock file
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(UV) lock --check --quiet

format: $(READY) ## Let ruff repair what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test: $(READY) ## The fast tests: units, the embedded server, the real SDK
	$(PYTEST) -m "not slow and not peer and not engine and not crash"

test-crash: $(READY) ## Kill the agent wherever it writes something down or talks to the server
	$(PYTEST) -n $(WAITING_WORKERS) --dist load -m "crash and not slow" $(OR_NONE)

test-crash-all: $(READY) ## The same at the moments in between too, which takes four times as long
	$(PYTEST) -n $(WAITING_WORKERS) --dist load -m crash $(OR_NONE)

test-slow: $(READY) ## Tests that take longer than ten seconds each
	$(PYTEST) -n $(WAITING_WORKERS) --dist worksteal -m "slow and not peer and not engine and not crash" $(OR_NONE)

test-peer: $(READY) ## The end-to-end flows with the classic agent as the worker
	$(PYTEST) -m peer $(OR_NONE)

test-all: $(READY) ## The four above at once, in less than half the time
	$(BIN)/python -m pytest -n $(MIXED_WORKERS) --dist loadscope --mixed -m "not engine and not (crash and slow)"

test-engines: $(READY) ## Tests that need docker, slurm, kubernetes or apptainer; skipped with the reason where there is none
	$(BIN)/python -m pytest -m engine $(OR_NONE)

# Warnings of years-old releases are theirs, so they are no errors here.
test-lowest: $(LOWEST)/.ready ## Units and server tests on the lowest versions that pyproject.toml allows (on Python 3.10 if it is there)
	$(LOWEST)/bin/python -m pytest -n $(PYTEST_WORKERS) --dist loadfile -W default -m "not slow and not peer and not engine and not crash and not sdk" $(LOWEST_SPARED) $(LOWEST_TESTS)

$(LOWEST)/.ready: $(READY) pyproject.toml
	@$(UV) venv --quiet --clear --python $(LOWEST_PYTHON) $(LOWEST)
	@$(UV) pip install --quiet --python $(LOWEST)/bin/python --resolution lowest-direct --editable '.[server]' --group test
	@touch $@

test-newest: $(NEWEST)/.ready ## Units on the newest versions, on Python 3.13 if it is there
	$(NEWEST)/bin/python -m pytest -n $(PYTEST_WORKERS) --dist loadfile -m "not slow and not peer and not engine and not crash" tests/unit

$(NEWEST)/.ready: $(READY) pyproject.toml
	@$(UV) venv --quiet --clear --python $(NEWEST_PYTHON) $(NEWEST)
	@$(UV) pip install --quiet --python $(NEWEST)/bin/python --editable '.[server]' --group test
	@touch $@

bench: $(READY) ## Measure this agent and the classic one, in turn, against the same server
	$(BIN)/python -m benchmarks $(BENCH_ARGS)

clean: ## Remove everything that make made
	rm -rf .venv .venvs .bench .demo .mypy_cache .ruff_cache .pytest_cache .hypothesis dist build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
