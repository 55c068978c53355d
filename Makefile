# Everything here works on a fresh machine: Python 3.11+ and make are all it needs.
SHELL := /bin/bash
# The first of these that is Python 3.11 or newer; choose another with `make PYTHON=…`.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo $$p; break; }; done)
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check --progress-bar off --constraint constraints.txt

.PHONY: help demo test dev bench soak lint train stubs browser exiftool clean
.DEFAULT_GOAL := help

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "ImageGenX needs Python 3.11 or newer; found none. Install one, or run: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv .venv

.venv/.installed: .venv/bin/python pyproject.toml constraints.txt
	@echo "Installing ImageGenX into .venv (once, one to three minutes) …"
	@$(PIP) --quiet --editable .
	@touch $@

.venv/.installed-dev: .venv/.installed
	@echo "Installing the development tools into .venv (once) …"
	@$(PIP) --quiet --editable '.[dev]'
	@touch $@

demo: .venv/.installed ## Paint the shipped catalog and show where its gallery is
	@$(BIN)/imagegenx demo

dev: .venv/.installed ## Run the whole stack on this machine
	@$(BIN)/imagegenx dev

# Files in their order: largest first, as xdist has it, leaves the few long tests to one worker at the end.
test: .venv/.installed-dev lint browser exiftool ## Check style, types and imports, then run every test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

lint: .venv/.installed-dev ## Check style, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: .venv/.installed-dev ## Run every benchmark
	@$(BIN)/imagegenx bench

soak: .venv/.installed-dev ## Kill and restart everything under load, then run steady traffic (about an hour)
	@$(BIN)/imagegenx bench soak

train: .venv/.installed-dev ## Train the next built-in model, or go on where that stopped (hours on a CPU)
	$(BIN)/python -m training.scenes.run

stubs: .venv/.installed-dev ## Make the gRPC stubs from the proto file again
	$(BIN)/python -m gateway.stubs.generate

# The browser tests use Chromium. Where it is missing and we may install it, we do; elsewhere they say how to get it.
browser:
	@command -v chromium chromium-browser google-chrome >/dev/null 2>&1 || \
		{ [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1 && echo "Installing Chromium for the browser tests …" && \
		apt-get update -qq >/dev/null && apt-get install -y -qq chromium >/dev/null; } || \
		echo "No Chromium here: the browser tests will be skipped, or fail where CI is set. Install it to run them (Debian: apt-get install chromium)."

# Tests read our pictures back with exiftool, as other people's tools do.
exiftool:
	@command -v exiftool >/dev/null 2>&1 || \
		{ [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1 && echo "Installing exiftool for the tests …" && \
		apt-get update -qq >/dev/null && apt-get install -y -qq libimage-exiftool-perl >/dev/null; } || \
		echo "No exiftool here: tests that need it will be skipped, or fail where CI is set. Install it to run them (Debian: apt-get install libimage-exiftool-perl)."

clean: ## Remove the virtual environment and all generated data
	rm -rf .venv var *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
