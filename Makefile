PYTHON ?= python3
BIN := .venv/bin
INSTALL := $(BIN)/pip install -qq --disable-pip-version-check
RUN ?= runs/demo

.PHONY: demo test test-all test-batch lint clean

demo: .venv/demo  ## a folder of pictures, nothing named: trained, looked at, exported, served and asked
	@rm -rf $(RUN)/pictures
	@$(BIN)/python -m training split dense_digits_k8 --output $(RUN)/pictures
	@$(BIN)/python -m training train --dataset=$(RUN)/pictures --workdir=$(RUN)/run --minutes=1 --restart
	@$(BIN)/python -m training predict $(RUN)/run --input $(RUN)/pictures/test --verb encode --output $(RUN)/codes.npy
	@$(BIN)/python -m serving check $(RUN)/run/export
	@$(BIN)/python -m training generate $(RUN)/run --output $(RUN)/generated.png

test: .venv/test  ## lint, then the whole test suite
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .
	@$(BIN)/python -m pytest --numprocesses=2 --dist=loadfile --no-loadscope-reorder

test-all: .venv/test  ## as test, with every instance of every check
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .
	@$(BIN)/python -m pytest -m "" --numprocesses=2 --dist=loadfile --no-loadscope-reorder

test-batch: .venv-beam/test  ## the tests of batch jobs, in an environment with Beam
	@.venv-beam/bin/python -m pytest tests/test_batch.py

lint: .venv/test  ## put the code into the house's format
	@$(BIN)/ruff check --fix . && $(BIN)/ruff format .

clean:
	rm -rf .venv .venv-beam runs

.venv/bin/python:
	@$(PYTHON) -m venv .venv

# An installation is out of date when the lists of dependencies are newer.
.venv/demo: setup.cfg pyproject.toml | .venv/bin/python
	@echo "Installing into .venv (a minute or two) …"
	@$(INSTALL) --editable .
	@touch $@

.venv/test: setup.cfg pyproject.toml | .venv/bin/python
	@echo "Installing into .venv, with what the tests need (a minute or two) …"
	@$(INSTALL) --editable ".[test]"
	@touch $@ .venv/demo

.venv-beam/test: setup.cfg pyproject.toml
	@echo "Installing into .venv-beam, with Apache Beam (a minute or two) …"
	@$(PYTHON) -m venv .venv-beam
	@.venv-beam/bin/pip install -qq --disable-pip-version-check --editable ".[beam]" "pytest>=8.0" "pyspark==4.0.*"
	@.venv-beam/bin/pip install -qq --disable-pip-version-check --no-deps beam-pyspark-runner==0.0.3  # it asks for Beam 2.48
	@touch $@
