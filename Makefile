# Two commands for a newcomer: `make demo` and `make test`. Both do all set-up themselves.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
SEED ?= 1

.PHONY: demo test unit check format sandbox sandbox-down toolchain crds hpa-vectors lock bench clean help

help:  ## Show the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

demo: toolchain  ## Run the quickstart on an embedded cluster with recorded traffic; report in demo-report/
	@$(BIN)/python -m sandbox demo --seed $(SEED)

sandbox: toolchain  ## Bring the embedded cluster up with the operator and leave it running
	@$(BIN)/python -m sandbox up --quickstart

sandbox-down: $(READY)  ## End the embedded cluster
	@$(BIN)/python -m sandbox down

test: check toolchain  ## Linters, types, import contracts and every test that needs no GPU
	@$(BIN)/python -m pytest

unit: $(READY)  ## The pure tests only
	@$(BIN)/python -m pytest tests/unit tests/seeds

check: $(READY)  ## ruff, mypy --strict, import contracts
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --config pyproject.toml

format: $(READY)
	@$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

toolchain: $(READY)  ## Build or find the control plane, Prometheus, kubectl and helm (once)
	@$(BIN)/python -m sandbox toolchain

crds: $(READY)  ## Generate crds/ from the pydantic models
	@$(BIN)/python -m inferencefleet.api.crd --write crds

hpa-vectors: $(READY)  ## Ask the genuine HorizontalPodAutoscaler controller again what it computes (needs Go)
	@PYTHON=$(abspath $(BIN)/python) tests/hpa/regenerate.sh

lock: $(READY)  ## Refresh requirements.lock from pyproject.toml
	@$(BIN)/python -m pip install -q uv && $(BIN)/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --no-emit-index-url --no-header -q -o requirements.lock

bench: toolchain  ## All benchmarks; tables under benchmarks/
	@$(BIN)/python -m benchmarks.all

$(READY): pyproject.toml requirements.lock
	@echo "== virtual environment: $(VENV) (about a minute, once)"
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version) if sys.version_info < (3, 11) else None'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -q --disable-pip-version-check -r requirements.lock
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps -e .
	@touch $@

clean: sandbox-down  ## Remove what make made here
	rm -rf $(VENV) .sandbox demo-report
