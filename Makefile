# What one does with this checkout. Needs python3 (3.11 or later), make and git, and nothing else;
# another interpreter: make PYTHON=python3.12 run

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
SCRIPTS := examples/porch-kpt

.DEFAULT_GOAL := help
.PHONY: help run check test bench docs clean

help:
	@echo 'make run    install into .venv and run the agent on ./var/handoff, with example files'
	@echo 'make check  quick: lint, types, import rules, unit tests'
	@echo 'make test   all tests that need neither root nor Debian packages'
	@echo 'make bench  measure; writes docs/benchmarks.md'
	@echo 'make docs   write the generated pages of docs/reference again'
	@echo 'make clean  remove what these made: .venv, var, build and caches'

run: .venv/.installed var/.examples
	$(BIN)/conductor-loop --config examples/agent.toml run

check: .venv/.tools
	$(BIN)/ruff check . $(SCRIPTS)
	$(BIN)/ruff format --check . $(SCRIPTS)
	$(BIN)/mypy
	$(BIN)/mypy $(SCRIPTS)
	$(BIN)/lint-imports
	$(BIN)/pytest -m 'not slow and not root and not promtool' tests/unit

test: .venv/.tools
	$(BIN)/pytest -m 'not root and not promtool'

bench: .venv/.tools
	$(BIN)/python tests/bench/run.py

docs: .venv/.installed
	$(BIN)/python docs/reference/generate.py

clean:
	rm -rf .venv var build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The example files are dropped in once; `rm var/.examples` has them dropped again.
var/.examples:
	mkdir -p var/handoff var/state var/out
	cp examples/intents/*.json var/handoff/
	touch $@

.venv/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo '$(PYTHON) is too old or missing; needed is Python 3.11 or later: make PYTHON=python3.11 ...' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
	  || { echo '$(PYTHON) cannot make virtual environments; on Debian: apt-get install python3-venv' >&2; exit 1; }
	$(PYTHON) -m venv .venv
	touch $@

.venv/.installed: .venv/.created pyproject.toml
	$(PIP) --editable .
	touch $@

# Older versions of pip do not know the groups of pyproject.toml, so the list is read out of it.
.venv/.tools: .venv/.installed
	$(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["dependency-groups"]["dev"], sep="\n")' > .venv/tools.txt
	$(PIP) --requirement .venv/tools.txt
	touch $@
