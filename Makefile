# Every target does its own set-up. `make check` is what CI runs.
PYTHON ?= python3
BIN := .venv/bin
.DEFAULT_GOAL := help

help:  ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.venv/.installed: pyproject.toml hatch_build.py modelcar/holder/SHA256SUMS
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "modelcar needs Python 3.11 or newer; PYTHON=... names another")'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "installing into .venv" && $(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

install: .venv/.installed  ## .venv with the commands modelcar and registry-shim

.PHONY: help install
