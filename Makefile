# make run: the whole path on the shipped photographs.  make test: the tests.  Both set up first.
PYTHON ?= python3
VENV   := .venv
HPO    := $(VENV)/bin/hpo

.PHONY: setup run test soak benchmark lint clean

run: setup
	$(HPO) run lowlight

test: setup
	$(VENV)/bin/python -m pytest -n 2

soak: setup
	$(VENV)/bin/python -m pytest -m soak --timeout=0 -s

benchmark: setup
	$(VENV)/bin/python -m tests.benchmarks.overhead
	$(VENV)/bin/python -m tests.benchmarks.workers

lint: setup
	$(VENV)/bin/ruff check . && $(VENV)/bin/ruff format --check .

setup: $(VENV)/ready

$(VENV)/ready: pyproject.toml constraints.txt setup.sh
	PYTHON=$(PYTHON) VENV=$(VENV) sh setup.sh
	touch $@

clean:
	rm -rf $(VENV) runs
