# Everything is run from an environment of its own, .venv, made on first use. See `make help`.

MINUTES ?= 1
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/installed

.PHONY: help demo panel screenshots test test-long bench bench-quick lint format clean

help: ## Say what there is to make.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(STAMP) ## Train for a patient (MINUTES=1), register X-rays, write a report into demo-output/.
	$(VENV)/bin/xvregistration demo --minutes $(MINUTES) -o demo-output

panel: $(STAMP) ## Open the Slicer panel in a window of its own, with the demo's patient and three X-rays.
	$(PY) -m Testing.Host.demo_patient .demo-data
	$(PY) -m Testing.Host --data .demo-data

screenshots: $(STAMP) ## Go through the panel and the tutorial; pictures of their steps into Documentation/images.
	$(PY) -m Testing.Host.demo_patient .demo-data
	$(PY) -m Testing.Host.tour .demo-data Documentation/images/panel
	$(PY) -m Testing.Host.tutorial --pictures --data .demo-data .demo-data/tutorial

test: lint ## Check the code and run all tests that take seconds.
	$(PY) -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder --durations=10

test-long: lint ## As test, with the tests that take minutes.
	$(PY) -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder --durations=20 -m "long or not long"

bench: $(STAMP) ## Measure this project and its peers side by side, and print what each protocol reaches; hours.
	$(PY) Testing/Benchmarks/run.py

bench-quick: $(STAMP) ## The protocols' table alone, from 8 X-rays each; minutes.
	$(PY) Testing/Benchmarks/run.py baselines evaluation --xrays 8 --baselines 2

lint: $(STAMP) ## Check style and types.
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

format: $(STAMP) ## Bring the code into the style that lint checks.
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

clean: ## Remove the environment and everything made.
	rm -rf $(VENV) demo-output bench-output evaluation-output build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# torch goes first, by itself: its wheel is chosen by the pin alone and not by what the other packages would accept.
# The stamp is the last line, so an installation that was interrupted is repeated.
$(STAMP): pyproject.toml Testing/constraints.txt
	@set -e; found=""; \
	for python in $(PYTHON) python3 python3.13 python3.12 python3.11; do \
	  if "$$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; then \
	    found="$$python"; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
	  echo "Python 3.11, 3.12 or 3.13 is needed and was not found. Install one, or say where it is: make PYTHON=/path/to/python3.12" >&2; \
	  exit 1; \
	fi; \
	if ! "$$found" -m venv $(VENV); then \
	  echo "$$found cannot make a virtual environment. On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; \
	fi
	$(PY) -m pip install --quiet --disable-pip-version-check -c Testing/constraints.txt torch torchvision
	$(PY) -m pip install --quiet --disable-pip-version-check -c Testing/constraints.txt -e ".[standalone,demo,test,bench,panel]"
	@touch $@
