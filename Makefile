# Two commands matter: `make demo` and `make test`. Both need git, make, python3 and python3-venv.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
REDIS  ?=
KILLS  ?= 1000
SEED   ?=
BENCH  ?=
CYCLES ?= 10000

.PHONY: help demo test chaos faults bench images texts lint clean
.DEFAULT_GOAL := help

help:
	@echo 'make demo    see jobd run real jobs (Ctrl-C ends everything)'
	@echo 'make test    lint, types and all tests'
	@echo 'make chaos   kill KILLS=1000 processes, and take the server away, while jobs of every kind run'
	@echo '             (20 minutes; again with SEED=...)'
	@echo 'make faults  the long forms of the fault tests (hours; CYCLES=100 for minutes; SEED=...)'
	@echo 'make lint    ruff and mypy only'
	@echo 'make bench   measure jobd and its peers (40 minutes; BENCH=--quick for five)'
	@echo 'make images  take the pictures of the dashboard anew (docs/images)'
	@echo 'make texts   collect the texts of the dashboard for translators (jobd-web.pot)'
	@echo 'make clean   remove the virtual environment and caches'

# The stamps make a second run start at once, and a changed setup.py install again.
$(VENV)/.dev: setup.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

$(VENV)/.test: setup.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@

demo: $(VENV)/.dev
	@$(BIN)/jobd demo $(if $(REDIS),--redis $(REDIS))

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Figures are measured when nothing else is at work.
test: lint
	@sh tests/install-debian-packages.sh
	$(BIN)/pytest -n 4 --ignore=tests/faults/test_figures.py
	$(BIN)/pytest tests/faults/test_figures.py

chaos: $(VENV)/.test
	@$(BIN)/python -m tests.chaos --kills $(KILLS) $(if $(SEED),--seed $(SEED))

faults: $(VENV)/.test
	FAULTS_SEED=$(SEED) FAULTS_CYCLES=$(CYCLES) $(BIN)/pytest -n 2 -v -m minutes tests

images: $(VENV)/.test
	$(BIN)/python -m tests.screenshots

# By file, for numbers of lines would change with everything.
texts: $(VENV)/.test
	$(BIN)/pybabel extract -F pyproject.toml -k Text -k counted:1,2 --add-location file \
		--project jobd --copyright-holder 'the authors of jobd' -o jobd/web/locale/jobd-web.pot .

$(VENV)/.bench: setup.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[bench]'
	@touch $@

bench: $(VENV)/.bench
	$(BIN)/python -m benchmarks $(if $(REDIS),--redis $(REDIS)) $(BENCH)

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
