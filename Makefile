# make run: the whole path on the shipped photographs.  make check: lint and tests.  All targets set up first.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

SOAK_SECONDS ?= 3600

.PHONY: setup run check lint test slow-test docs docs-test soak bench postgresql chromium clean

run: setup
	$(BIN)/hpo run lowlight

check: lint test

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict hpo
	$(BIN)/mypy --explicit-package-bases objectives studies
	$(BIN)/lint-imports --no-cache

test: setup postgresql chromium
	$(BIN)/python -m pytest -n 2

# Processes that are killed, disks that are full, databases and clusters that go away, and whole paths.
slow-test: setup postgresql chromium
	$(BIN)/python -m pytest -m "slow and not soak and not slurm" -n 2

docs: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet
	@echo site/index.html

# Every command and code block of docs/, and the pages themselves.
docs-test: setup postgresql
	$(BIN)/python -m pytest -m docs -n 2

soak: setup postgresql
	SOAK_SECONDS=$(SOAK_SECONDS) $(BIN)/python -m pytest -m soak --timeout=0 -s

# docs/bench.md and the table of README.md, in about an hour; BENCH="overhead startup" measures these parts alone.
bench: setup
	$(BIN)/python -m tests.benchmarks.page $(BENCH)

# Programs that tests need and pip cannot bring. Where one is missing and cannot be installed, its tests are skipped, and
# the last lines of `make test` name them.
postgresql:
	@ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null || \
	    $(call install,postgresql,many machines)

chromium:
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || \
	    $(call install,chromium,the report in a browser)

# $(call install,PACKAGE,WHAT IS NOT TESTED WITHOUT IT): as root of a Debian; otherwise it says which command to give.
define install
{ test "$$(id -u)" = 0 && command -v apt-get >/dev/null && apt-get update -qq && \
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(1) >/dev/null; } || \
    echo "WARNING: $(2) will NOT be tested: $(1) is not installed; give the command: sudo apt-get install $(1)" >&2
endef

setup: $(VENV)/ready

$(VENV)/ready: pyproject.toml constraints.txt panoramas.txt setup.sh
	PYTHON=$(PYTHON) VENV=$(VENV) sh setup.sh
	touch $@

clean:
	rm -rf $(VENV) runs site
