# Everything below needs Python 3.11+ and make, and installs into .venv only.
#
#   make demo    train a network on real digits
#   make test    the whole test suite
#   make test-long  the suite, and every NumPy function in every dtype, compiled too
#   make lint    style and types
#   make bench   compare with hand-written Numba and, where installed, with peers

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# pytest-xdist workers
JOBS ?= 2

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help demo test test-long lint bench clean
.DELETE_ON_ERROR:

help:
	@sed -n 's/^#   //p' Makefile

demo: $(VENV)/.installed-examples
	$(BIN)/python examples/digits.py

test: $(VENV)/.installed-test
	$(BIN)/python -m pytest tests/test_tiny.py
	$(BIN)/python -m pytest -n $(JOBS) --ignore tests/test_tiny.py

test-long: $(VENV)/.installed-test
	TRACEJIT_SWEEP_ROUNDS=30 TRACEJIT_SWEEP_COMPILED=0 \
	    $(BIN)/python -m pytest -n $(JOBS)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/.installed
	$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV)

# Stamp files: `.installed-NAME` says that the extra NAME was installed with the
# present pyproject.toml; a newer pyproject.toml installs again.
$(VENV)/.installed: pyproject.toml $(VENV)/.created
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/.installed-%: pyproject.toml $(VENV)/.created
	$(BIN)/python -m pip install --quiet --editable ".[$*]"
	@touch $@

$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "tracejit needs Python 3.11 or newer; $(PYTHON) is not." \
	         "Try: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	@touch $@
