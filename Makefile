# `make` says what there is. Python is the first of these that fits; to use another:
# make setup PYTHON=/opt/python3.12/bin/python3
FITS := import ensurepip, sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))
PYTHON ?= $(shell for name in python3 python3.13 python3.12 python3.11; do \
	$$name -c '$(FITS)' 2>/dev/null && echo $$name && break; done)

VENV := .venv
BIN := $(VENV)/bin
MADE := $(VENV)/.made
INSTALLED := $(VENV)/.installed
BENCH := $(VENV)/.bench
MODELS := models
ARGS :=
# Two processes for two CPUs; each takes up to 2 GiB with the compilers that it starts.
PARALLEL := -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder
# Bytecode is kept, also where a container's environment says not to: over a hundred
# processes import the same modules.
PYTEST := PYTHONDONTWRITEBYTECODE= $(BIN)/pytest

.DEFAULT_GOAL := help
.PHONY: help setup serve check test lint bench image-test lock

help: ## Show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' \
		$(MAKEFILE_LIST)

setup: $(INSTALLED) ## Make .venv and install into it

serve: $(INSTALLED) ## Serve models/, filled with demo models if empty (ARGS="--port 9000")
	@ls -A $(MODELS) 2>/dev/null | grep -q . || { \
		echo "Training the demo models, once:"; \
		$(BIN)/python -m demo.make_models $(MODELS); }
	$(BIN)/tandem serve $(MODELS) $(ARGS)

check: lint ## Check style and types, run the fast tests
	$(PYTEST) -q $(PARALLEL) -m "not slow" $(ARGS)

test: lint ## Check style and types, run the tests (ARGS="-k digits")
	$(PYTEST) $(PARALLEL) $(ARGS)

lint: $(INSTALLED) ## Check style and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

bench: $(BENCH) ## Measure each figure against its target (ARGS="calls --quick")
	$(BIN)/python -m benchmarks $(ARGS)

image-test: $(INSTALLED) ## Build the image, run it, play its Deployment, by Podman (ARGS=--help)
	$(BIN)/python -m deploy.image.check $(ARGS)

lock: $(MADE) ## Write constraints.txt anew, with the newest versions allowed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 \
		--all-extras --no-header --no-annotate --no-emit-index-url \
		pyproject.toml -o constraints.txt

$(INSTALLED): pyproject.toml constraints.txt | $(MADE)
	@echo "Installing into $(VENV): some minutes and 2.5 GB where nothing is cached."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		-c constraints.txt -e '.[test]'
	@touch $@
	@echo "Installed. Next: make serve, or make check."

$(BENCH): $(INSTALLED)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		-c constraints.txt -e '.[test,bench]'
	@touch $@

$(MADE):
	@python="$(PYTHON)"; \
	if test -z "$$python"; then echo "Tandem needs Python 3.11, 3.12 or 3.13 with" \
		"venv, and none is on the PATH. Install one (on Debian: python3," \
		"python3-venv), or name it: make setup PYTHON=/path/to/python" >&2; exit 1; \
	elif ! $$python -c '$(FITS)'; then \
		echo "$$python isn't Python 3.11, 3.12 or 3.13 with venv." >&2; exit 1; \
	else $$python -m venv $(VENV); fi
	@touch $@
