# Two commands matter: `make demo` and `make test`. Both need git, make, python3 and python3-venv.
PYTHON ?= python3
# Its version and its path, also where pyenv has it and not PATH; empty where it does not run.
IS     := $(firstword $(foreach each,$(PYTHON) $(wildcard $(or $(PYENV_ROOT),$(HOME)/.pyenv)/versions/*/bin/$(PYTHON)),\
	$(shell $(each) -c 'import os, platform, sys; print(platform.python_version() + sys.abiflags, \
	os.path.realpath(sys._base_executable), sep=":")' 2>/dev/null)))
# Empty: the newest versions of what jobd needs. lowest: the lowest that setup.py allows.
DEPS   ?=
$(if $(filter-out lowest,$(DEPS)),$(error DEPS=$(DEPS) is unknown: use DEPS=lowest))
# Each interpreter has an environment of its own, and so have the lowest versions; .venv is that of
# python3.
VENV   ?= .venv$(if $(filter-out python3,$(PYTHON)),-$(firstword $(subst :, ,$(IS))))$(DEPS:%=-%)
BIN    := $(VENV)/bin
REDIS  ?=
KILLS  ?= 1000
SEED   ?=
BENCH  ?=
AGAINST ?=
CYCLES ?= 10000

.PHONY: help demo test chaos faults bench docs images texts lint clean FORCE
.DEFAULT_GOAL := help

help:
	@echo 'make demo    see jobd run real jobs (Ctrl-C ends everything)'
	@echo 'make test    lint, types and all tests (PYTHON=python3.13 or a path: with another Python;'
	@echo '             DEPS=lowest: with the lowest versions of what users install)'
	@echo 'make chaos   kill KILLS=1000 processes, and take the server away, while jobs of every kind run'
	@echo '             (20 minutes; again with SEED=...)'
	@echo 'make faults  the long forms of the fault tests (hours; CYCLES=100 for minutes; SEED=...)'
	@echo 'make lint    ruff and mypy only'
	@echo 'make bench   measure jobd and its peers (an hour; BENCH=--quick for ten minutes; with'
	@echo '             PYTHON=python3.12 or newer ardiq, too)'
	@echo 'make bench AGAINST=COMMIT  whether HEAD is slower than COMMIT (half an hour; BENCH=--quick)'
	@echo 'make docs    build the manual as a site (build/docs)'
	@echo 'make images  take the pictures of the dashboard again (docs/images)'
	@echo 'make texts   collect the texts of the dashboard for translators (jobd-web.pot)'
	@echo 'make clean   remove the virtual environments and caches'

# A new interpreter under an old name gets a new environment: a mixture of two has no modules.
$(VENV)/.python: FORCE
	@test -n '$(IS)' || { $(PYTHON) -c ''; \
		echo >&2 'PYTHON=$(PYTHON) does not run: give the name or the path of a Python'; exit 1; }
	@$(lastword $(subst :, ,$(IS))) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
		"jobd needs Python 3.11 or newer; PYTHON=$(PYTHON) is " + sys.version)'
	@test "$$(cat $@ 2>/dev/null)" = '$(IS)' || \
		{ $(lastword $(subst :, ,$(IS))) -m venv --clear $(VENV) && echo '$(IS)' >$@; }

PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check

$(VENV)/lowest.txt: $(VENV)/.python setup.py tests/lowest.py
	$(PIP) --no-deps --editable .
	$(BIN)/python -m tests.lowest >$@

# The stamps make a second run start at once, and a changed setup.py install again. The lowest versions
# come last: tools of the tests ask for newer ones of some. A framework that fits Starlette is found.
$(VENV)/.dev $(VENV)/.test $(VENV)/.bench $(VENV)/.docs: $(VENV)/.%: $(VENV)/.python setup.py $(DEPS:%=$(VENV)/%.txt)
	$(PIP) --editable '.[$*]' $(if $(DEPS),"$$(grep ^starlette= $(VENV)/lowest.txt)")
	$(if $(DEPS),$(PIP) --no-warn-conflicts --requirement $(VENV)/lowest.txt)
	@touch $@

# Peers of `make bench` whose requirements do not go with those of the others.
APART  := arq saq

$(APART:%=$(VENV)/.bench-%): $(VENV)/.bench-%: $(VENV)/.python setup.py
	$(BIN)/python -m venv --clear $(VENV)/bench-$*
	$(VENV)/bench-$*/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[bench-$*]'
	@touch $@

demo: $(VENV)/.dev
	@$(BIN)/jobd demo $(if $(REDIS),--redis $(REDIS))

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# What fails is run once more, alone: tests/again.py. Thousands of programs start meanwhile, and where
# PYTHONDONTWRITEBYTECODE is set each would compile what it imports. Types are those of the newest versions.
test: $(if $(DEPS),$(VENV)/.test,lint)
	@sh tests/install-debian-packages.sh
	@$(BIN)/python -m tests.interpreters
	@$(BIN)/python -m compileall -q jobd jobctl
	$(BIN)/pytest -n 6 --again $(DEPS:%=-rs)

chaos: $(VENV)/.test
	@$(BIN)/python -m tests.chaos --kills $(KILLS) $(if $(SEED),--seed $(SEED))

faults: $(VENV)/.test
	FAULTS_SEED=$(SEED) FAULTS_CYCLES=$(CYCLES) $(BIN)/pytest -n 2 -v -m minutes tests

# -W: a warning is an error. -E: what is not in Git any more is not in the site either.
docs: $(VENV)/.docs
	@rm -rf build/docs
	$(BIN)/python -m sphinx -qWE --keep-going -d build/doctrees docs build/docs
	@echo 'build/docs/index.html'

images: $(VENV)/.test
	$(BIN)/python -m tests.screenshots

# By file, for numbers of lines would change with everything.
texts: $(VENV)/.test
	$(BIN)/pybabel extract -F pyproject.toml -k Text -k counted:1,2 --add-location file \
		--project jobd --copyright-holder 'the authors of jobd' -o jobd/web/locale/jobd-web.pot .

bench: $(if $(AGAINST),$(VENV)/.dev,$(VENV)/.bench $(APART:%=$(VENV)/.bench-%))
	$(BIN)/python -m $(if $(AGAINST),benchmarks.against '$(AGAINST)',benchmarks \
		$(if $(REDIS),--redis $(REDIS))) $(BENCH)

clean:
	rm -rf $(VENV) .venv .venv-* build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
