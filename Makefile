# make run: the whole path on the shipped photographs.  make test: the tests.  Both set up first.
PYTHON ?= python3
VENV   := .venv
HPO    := $(VENV)/bin/hpo

SOAK_SECONDS ?= 3600

.PHONY: setup run test soak benchmark lint clean postgresql

run: setup
	$(HPO) run lowlight

test: setup postgresql
	$(VENV)/bin/python -m pytest -n 2

soak: setup postgresql
	SOAK_SECONDS=$(SOAK_SECONDS) $(VENV)/bin/python -m pytest -m soak --timeout=0 -s

# A server for the tests of many machines. Without one they are skipped, and say so.
postgresql:
	@ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null || { \
	    test "$$(id -u)" = 0 && command -v apt-get >/dev/null && apt-get update -qq && \
	    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql >/dev/null; } || \
	    echo "WARNING: no PostgreSQL server, and none can be installed: many machines will NOT be tested" >&2

benchmark: setup
	$(VENV)/bin/python -m tests.benchmarks.overhead
	$(VENV)/bin/python -m tests.benchmarks.workers

lint: setup
	$(VENV)/bin/ruff check . && $(VENV)/bin/ruff format --check . && $(VENV)/bin/mypy hpo

setup: $(VENV)/ready

$(VENV)/ready: pyproject.toml constraints.txt setup.sh
	PYTHON=$(PYTHON) VENV=$(VENV) sh setup.sh
	touch $@

clean:
	rm -rf $(VENV) runs
