# Two commands for a newcomer: `make demo` and `make test`. Both make what they need first.
PYTHON ?= python3
PORT ?= 5006
VENV ?= .venv
BIN := $(VENV)/bin
WORKERS ?= 2

.PHONY: demo test setup check-python lint types chromium postgres gallery clean help

help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "%-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: setup ## train a small family and serve the dashboard on it (PORT=N chooses the port)
	@$(BIN)/workbench demo --port $(PORT)

setup: $(VENV)/.installed ## make the environment only

check-python:
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed, found " + sys.version.split()[0] + ". Choose one with: make PYTHON=/path/to/python3.11")'

$(VENV)/.installed: pyproject.toml constraints.txt | check-python
	@echo "Setting up $(VENV) (a few minutes, once) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[all]'
	@touch $@

$(VENV)/.dev-installed: $(VENV)/.installed
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

chromium: $(VENV)/.dev-installed
	@$(BIN)/python tests/chromium.py

postgres: $(VENV)/.dev-installed
	@$(BIN)/python tests/postgres.py

lint: $(VENV)/.dev-installed ## ruff on everything
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(VENV)/.dev-installed ## mypy strict on the package
	@$(BIN)/mypy

test: $(VENV)/.dev-installed chromium postgres lint types ## run the whole suite
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup $(ARGS)

gallery: $(VENV)/.dev-installed chromium ## take the pictures under reports/gallery again
	@WORKBENCH_GALLERY=1 $(BIN)/python -m pytest -q tests/browser

clean: ## remove the environment and every build product
	rm -rf $(VENV) dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
