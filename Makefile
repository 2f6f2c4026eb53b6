# Two commands for a fresh machine with Python 3.11 and a package index: `make demo`, `make test`.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check --quiet -c constraints.txt

.PHONY: demo test lint types bench soak clean

# Installs only what needs no compiler, then prepares, trains, scores and transcribes.
demo: $(VENV)/.demo
	@sh recipes/quickstart/demo.sh $(BIN)

# Everything that needs no GPU and no night.
test: lint types
	$(BIN)/python -m pytest -n 2

lint: $(VENV)/.all
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.all
	$(BIN)/mypy

# The long part: kill tests, fuzzing.
soak: $(VENV)/.all
	$(BIN)/python -m pytest -m soak

# Speed, as ratios against peers; minutes each. Results and commands: docs/benchmarks.md.
bench: $(VENV)/.all
	$(BIN)/python tools/bench_lstm.py
	$(BIN)/python tools/bench_training.py
	$(BIN)/python tools/bench_transcribe.py

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: $(VENV)/bin/python pyproject.toml constraints.txt
	@echo "installing (torch is large: a few minutes on the first run)"
	$(PIP) -e ".[quickstart]"
	@touch $@

$(VENV)/.all: $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP) -e ".[all]"
	@touch $@
