# The course in one word each. Everything runs in .venv, which is made on first use.
#   make lab               open the course          make test              every check
#   make notebooks         run and write notebooks  make notebooks-check   compare them with their sources
#   make reproduce         the table of claims      make benchmark         how fast the members train
# Words after ARGS= are handed on: make test ARGS=unit, make notebooks ARGS=03, make reproduce ARGS="--scale ci"

IS_SUITABLE := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
FIND_PYTHON := for p in python3.11 python3.12 python3.13 python3; do $$p -c '$(IS_SUITABLE)' 2>/dev/null && echo $$p && break; done
PYTHON ?= $(shell $(FIND_PYTHON))
BIN := .venv/bin
INSTALLED := .venv/installed
AS_ROOT := $(if $(filter 0,$(shell id -u)),--allow-root)
NO_NEWS := --LabApp.news_url=None --LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate
SETTINGS := .venv/share/jupyter/lab/settings
NO_QUESTION := {"@jupyterlab/apputils-extension:notification": {"fetchNews": "false"}}

.PHONY: lab test notebooks notebooks-check reproduce benchmark install clean

lab: install
	$(BIN)/jupyter lab $(AS_ROOT) $(NO_NEWS) --LabApp.default_url=/lab/tree/notebooks/00_start_here.ipynb $(ARGS)

test: install
	$(BIN)/python tests/everything.py $(ARGS)

notebooks: install
	$(BIN)/python notebooks/build.py refresh $(ARGS)

notebooks-check: install
	$(BIN)/python notebooks/build.py check $(ARGS)

reproduce: install
	$(BIN)/wdlab reproduce $(ARGS)

benchmark: install
	$(BIN)/python benchmarks/run.py $(ARGS)

install: $(INSTALLED)

$(INSTALLED): requirements.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "wdlab needs Python 3.11, 3.12 or 3.13: make PYTHON=/path/to/python3.11"; exit 1; }
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --disable-pip-version-check -r requirements.txt
	mkdir -p $(SETTINGS) && echo '$(NO_QUESTION)' >$(SETTINGS)/overrides.json # no question about news at the first start
	touch $@

clean: # what checks and builds leave behind; .venv stays
	rm -rf build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -path ./.venv -prune -o -name __pycache__ -type d -exec rm -rf {} +
