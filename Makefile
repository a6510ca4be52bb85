# The commands of the README. `make setup` creates .venv with pinned packages; the rest call it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
OUT ?= runs/demo

.PHONY: setup search test test-slow test-lowest lint docs

setup: $(STAMP)

$(STAMP): pyproject.toml requirements.lock
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint requirements.lock --editable '.[test]'
	touch $@

search: setup
	$(BIN)/autobert-zero search --preset demo --out $(OUT)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: setup
	$(BIN)/python tools/build_docs.py

test: lint docs
	$(BIN)/pytest -m "not slow" -n 2

test-slow: setup
	$(BIN)/pytest -m slow

test-lowest: setup
	$(BIN)/python tools/lowest.py $(or $(LOWEST),/tmp/autobert-zero-lowest)
