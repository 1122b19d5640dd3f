# make demo | make test: each sets up .venv first. Further arguments: make test ARGS="-k reml".
# PYTHON=... names the interpreter to build .venv with.
.DEFAULT_GOAL := help
.PHONY: help venv install demo test test-thinned test-all slow-tests coverage lint format laws boundary modes fuzz docs examples oldest wheel clean-posteriors bench-python bench-waits bench-reml bench-glmm bench-structures bench-growth bench-anysize bench-posterior agree calibrate clean

BIN := .venv/bin
STAMP := .venv/.installed
PYTHON ?=
ARGS ?=
NUTS_ARGS ?=

# A name on PATH may be a pyenv shim that refuses to run here, so each candidate is run, not just looked up.
CANDIDATES := python3.13 python3.12 python3 $${PYENV_ROOT:-$$HOME/.pyenv}/versions/3.1[2-4]*/bin/python3
OLDEST_CANDIDATES := python3.12 $${PYENV_ROOT:-$$HOME/.pyenv}/versions/3.12*/bin/python3 $(BIN)/python
VERSION_FITS := import sys; sys.exit(not (3, 12) <= sys.version_info[:2] <= (3, 14))

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

venv: $(BIN)/python  ## create .venv with a Python of 3.12 to 3.14

$(BIN)/python:
	@bare=; \
	for python in $(if $(PYTHON),"$(PYTHON)",$(CANDIDATES)); do \
	  "$$python" -c '$(VERSION_FITS)' >/dev/null 2>&1 || continue; \
	  if ! "$$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then bare="$$python"; continue; fi; \
	  echo "Creating .venv with $$("$$python" --version) ..."; \
	  "$$python" -m venv --clear .venv && exit 0; \
	  rm -rf .venv; exit 1; \
	done; \
	if [ -n "$$bare" ]; then \
	  echo "$$bare cannot create virtual environments: install its venv module (on Debian or Ubuntu: apt install python3-venv) and run make again." >&2; \
	else \
	  echo "bayeslmm needs Python 3.12, 3.13 or 3.14, and none was found$(if $(PYTHON), at $(PYTHON)): install one, or name it with 'make PYTHON=/path/to/python3'." >&2; \
	fi; \
	exit 1

install: $(STAMP)  ## install the package and its tools into .venv

$(STAMP): pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing into .venv (a few minutes the first time) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@$(BIN)/python -m bayeslmm compile
	@touch $@

demo: $(STAMP)  ## fit two data sets both ways; pictures go to build/
	@$(BIN)/python -m bayeslmm demo $(ARGS)

test: $(STAMP)  ## run the tests, some minutes; what is slower is left to test-all
	@$(BIN)/python -m pytest -n 2 -m "not slow" $(ARGS)

test-thinned: $(STAMP)  ## run the tests and one in four of those that make test leaves out
	@$(BIN)/python -m pytest -n 2 -m "not slow or thinned" $(ARGS)

test-all: $(STAMP)  ## run all tests
	@$(BIN)/python -m pytest -n 2 $(ARGS)

slow-tests: $(STAMP)  ## run all tests and write those that take long into tests/slow.txt
	@$(BIN)/python -m pytest -n 2 -q --junitxml=build/durations.xml $(ARGS) || true
	@$(BIN)/python tests/slow.py build/durations.xml

coverage: $(STAMP)  ## run the tests and show which lines and branches they reach
	@$(BIN)/python -m coverage erase
	@$(BIN)/python -m coverage run -m pytest -n 2 -q $(ARGS)
	@$(BIN)/python -m coverage combine --quiet
	@$(BIN)/python -m coverage report --skip-covered --sort=miss

lint: $(STAMP)  ## check style, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP)  ## put the code into the one format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.venv/.docs: pyproject.toml constraints.txt | $(STAMP)
	@echo "Installing what builds pages and runs notebooks ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[docs]"
	@touch $@

laws: $(STAMP)  ## try the laws of mixed models on thousands of random designs, some minutes
	@LAWS=$(or $(TIMES),20) $(BIN)/python -m pytest -n 2 -q -m hypothesis --hypothesis-seed=$(or $(SEED),1) $(ARGS)

boundary: $(STAMP)  ## judge fits of 1,000 data sets at zero variances and correlations of 1, some minutes
	@$(BIN)/python tests/boundary.py $(ARGS)

modes: $(STAMP)  ## judge 400 posteriors under priors that the data contradict, some minutes
	@$(BIN)/python tests/modes.py $(ARGS)
	@$(BIN)/python tests/modes_of_counts.py

clean-posteriors: $(STAMP)  ## draw hard models of real data with ten seeds each, print their verdicts
	@$(BIN)/python tests/clean_posteriors.py $(ARGS)

fuzz: $(STAMP)  ## fit 20,000 strange formulas, some minutes
	@$(BIN)/python tests/fuzz_formulas.py $(ARGS)

docs: .venv/.docs  ## build the documentation site into build/docs; warnings are errors
	@$(BIN)/python -m sphinx -q -W --keep-going -b html docs build/docs
	@echo "Open build/docs/index.html"

examples: .venv/.docs  ## run the notebooks of examples/ and write their output into them
	@$(BIN)/python examples/run.py $(ARGS)

bench-reml: $(STAMP)  ## time the point fits beside lme4 and statsmodels, into benchmarks/README.md
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -r benchmarks/requirements.txt
	@$(BIN)/python benchmarks/reml.py $(ARGS)

bench-glmm: $(STAMP) .venv/peers/.installed  ## time the point fits of other families beside glmer, glmmTMB and Python packages
	@$(BIN)/python benchmarks/glmm.py --python .venv/peers/bin/python $(ARGS)

bench-python: $(STAMP) .venv/peers/.installed  ## time the point fits beside those of other Python packages
	@$(BIN)/python benchmarks/peers.py --python .venv/peers/bin/python $(ARGS)

.venv/peers/.installed: benchmarks/peers.txt | $(STAMP)
	@echo "Installing other packages for mixed models beside .venv ..."
	@$(BIN)/python -m venv --clear .venv/peers
	@.venv/peers/bin/python -m pip install --quiet --disable-pip-version-check -r benchmarks/peers.txt
	@touch $@

bench-waits: $(STAMP)  ## time what users wait for: first fits, verbs, refits; ARGS=--compile also compiling
	@$(BIN)/python benchmarks/waits.py $(ARGS)

bench-structures: $(STAMP)  ## time structures of effects beside nlme, glmmTMB, metafor and mgcv
	@$(BIN)/python benchmarks/structures.py $(ARGS)

bench-growth: $(STAMP)  ## time and memory of fits up to 10,000,000 rows, into benchmarks/README.md
	@$(BIN)/python benchmarks/growth.py $(ARGS)

bench-anysize: $(STAMP)  ## time and memory of 10,000,000 rows in memory, in Parquet files and on workers of Dask
	@$(BIN)/python benchmarks/anysize.py $(ARGS)

bench-posterior: $(STAMP) .venv/bambi/.installed  ## time the posterior beside Bambi and rstanarm, into benchmarks/README.md
	@$(BIN)/python benchmarks/posterior.py --bambi .venv/bambi/bin/python $(ARGS)
	@$(BIN)/python benchmarks/nuts.py --bambi .venv/bambi/bin/python $(filter --no-write,$(ARGS)) $(NUTS_ARGS)

.venv/bambi/.installed: benchmarks/bambi.txt | $(STAMP)
	@echo "Installing Bambi beside .venv, since it needs an older formulae ..."
	@$(BIN)/python -m venv --clear .venv/bambi
	@.venv/bambi/bin/python -m pip install --quiet --disable-pip-version-check -r benchmarks/bambi.txt
	@touch $@

oldest: .venv/oldest/.installed  ## run the tests with the oldest versions that pyproject.toml allows
	@.venv/oldest/bin/python -m pytest -n 2 -p no:cacheprovider -W ignore::DeprecationWarning $(ARGS)

.venv/oldest/.installed: pyproject.toml constraints-oldest.txt | $(STAMP)
	@echo "Installing the oldest versions beside .venv, with Python 3.12 if there is one ..."
	@for python in $(OLDEST_CANDIDATES); do \
	  "$$python" -c '$(VERSION_FITS)' >/dev/null 2>&1 && "$$python" -m venv --clear .venv/oldest && break; \
	done
	@.venv/oldest/bin/python -m pip install --quiet --disable-pip-version-check -c constraints-oldest.txt -e . \
	  pytest hypothesis pytest-xdist
	@touch $@

wheel: $(STAMP)  ## build sdist and wheel, check both, install the wheel into an empty environment, fit a model there
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[release]"
	@rm -rf dist build/lib .venv/wheel
	@$(BIN)/python -m build --quiet --outdir dist . && $(BIN)/python -m twine check --strict dist/*
	@$(BIN)/python -m venv --clear .venv/wheel
	@.venv/wheel/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt dist/*.whl
	@.venv/wheel/bin/python -m pip check
	@cd /tmp && "$(CURDIR)/.venv/wheel/bin/bayeslmm" fit sleepstudy "Reaction ~ Days + (Days | Subject)" --reml \
	  --posterior --seed 1 --report "$(CURDIR)/build/wheel.html" > /dev/null && echo "The wheel works."

agree: $(STAMP)  ## the exact sampler against NUTS on twelve structures, some minutes
	@$(BIN)/python tests/agreement.py $(ARGS)

calibrate: $(STAMP)  ## check samplers and intervals on 12,000 simulated data sets, into docs/calibration.md
	@$(BIN)/python tests/calibration.py --write $(ARGS)

clean:  ## remove .venv and everything that was built
	rm -rf .venv build dist .coverage* *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find bayeslmm tests -name __pycache__ -type d -prune -exec rm -rf {} +
