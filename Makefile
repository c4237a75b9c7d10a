# demo and test need Python 3.11, a C compiler and make; everything else goes into .venv.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
JOBS ?= 2

.PHONY: demo test laws docs format clean
.DEFAULT_GOAL := help

help:
	@echo "make demo    build, install into .venv, evaluate the bundled positions"
	@echo "make test    all tests, lint, types and docs"
	@echo "make laws    resolutions of ten times as many random venues and crashes; TIMES=100 for more"
	@echo "make docs    the documentation, into docs/_build/html"
	@echo "make format  format the code"
	@echo "make clean   remove what the above made"

.venv/pip:
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	@touch $@

# Reinstalled when the build or the kernel changes; the Python code is used in place.
.venv/installed: .venv/pip pyproject.toml setup.py riskpolicy/_rational.pyx riskpolicy/kernel/_kernel.pyx $(wildcard riskpolicy/kernel/*.pxi)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

.venv/tested: .venv/installed pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test,docs]'
	@touch $@

demo: .venv/installed
	@$(BIN)/python examples/demo.py

test: .venv/tested
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile

laws: .venv/tested
	RISKPOLICY_LAWS=$(or $(TIMES),10) $(BIN)/python -m pytest -q -n $(JOBS) tests/engines/test_laws.py tests/test_shipped_resolutions.py

docs: .venv/tested
	$(BIN)/python -m sphinx -q -W -b html docs docs/_build/html

format: .venv/tested
	$(BIN)/python -m ruff format .
	$(BIN)/python -m ruff check --fix .

clean:
	rm -rf .venv build dist *.egg-info docs/_build .pytest_cache .mypy_cache .ruff_cache .hypothesis
	rm -f riskpolicy/_rational.c riskpolicy/kernel/_kernel.c riskpolicy/*.so riskpolicy/kernel/*.so
