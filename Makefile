# Every verb can be run again at any time. On a bare machine Python 3.11 or newer is enough: `make test` sets itself up.
#
#   make test PYTHON=python3.12                  another interpreter
#   make setup PIP_FLAGS="--index-url ADDRESS"   other sources of packages, such as one with CPU builds of torch
#   make test JOBS=8                             tests in so many processes, each with one thread

PYTHON ?= python3
VENV ?= .venv
PIP_FLAGS ?=
ARGS ?=

BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
JOBS ?= 2
# one thread for each process: the tests of two processes share the cores, and no number depends on the order of threads;
# files begin in the order of tests/conftest.py, the longest first
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow test-all check lint format types contracts docs base-model clean

help: ## say what the verbs do
	@echo "make VERB, where VERB is one of:"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' Makefile | expand -t 16

setup: $(STAMP) ## make .venv with thumbtune and its tools (once; then instant)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$(PYTHON) is older than Python 3.11; name a newer one: make setup PYTHON=python3.12"; exit 1; }
	@echo "==> $(VENV): a place of its own for the packages"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1" $(PIP_FLAGS)
	@echo "==> $(VENV): installing thumbtune and its tools, a few minutes the first time"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e . --group dev --group docs $(PIP_FLAGS)
	@touch $(STAMP)
	@echo "Done. Next: source $(BIN)/activate"

demo: setup ## from likes to a better model in minutes, on this machine's CPU
	$(BIN)/thumbtune demo $(ARGS)

test: setup ## the tests that take seconds
	$(PYTEST) -m "not slow" $(ARGS)

test-slow: setup ## the tests that take longer
	$(PYTEST) -m slow $(ARGS)

test-all: setup ## all tests
	$(PYTEST) $(ARGS)

check: lint types contracts test-all ## everything that a change must pass

lint: setup ## ruff: rules and layout
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: setup ## let ruff repair what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: setup ## pyright
	$(BIN)/pyright --pythonpath $(BIN)/python

contracts: setup ## import-linter: arrows only point down
	$(BIN)/lint-imports --no-logo

docs: setup ## the site of the documentation, build/site; a warning is an error
	OMP_NUM_THREADS=1 $(BIN)/python -m docs_site $(ARGS)

base-model: setup ## train the bundled model and its judge again (some seven hours, resumable; needs npm to fetch the emoji)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --group base-model $(PIP_FLAGS)
	$(BIN)/python -m base_model.sets
	$(BIN)/python -m base_model.words
	$(BIN)/python -m base_model.autoencoder
	$(BIN)/python -m base_model.decoder
	$(BIN)/python -m base_model.generator
	$(BIN)/python -m base_model.judge
	$(BIN)/python -m base_model.style
	$(BIN)/python -m base_model.assemble

clean: ## remove the environment and every cache; runs, demos and build/ stay
	rm -rf $(VENV) dist .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find src tests base_model docs_site -name __pycache__ -type d -prune -exec rm -rf {} +
