# `make` lists what can be made. Needs Python 3.11 or newer and nothing else; everything is installed into .venv.

PYTHON ?= python3
PRESET ?= quick
KDCORE_SITE ?=
PY := .venv/bin/python
BOOK := $(PY) -c "from jupyter_book.cli.main import main; main()"  # its script in .venv/bin names the folder, which a shell may have to read
STALE = $(PY) scripts/stale_chapters.py published  # a chapter is executed only where its code, rows or parameters changed
CHAPTERS = $(filter-out verdicts,$(notdir $(shell grep -o 'book/chapters/[a-z0-9_]*' _toc.yml)))  # verdicts are read from the others' pages
CODE = kdcore tests scripts benchmarks conftest.py book/_ext notebooks
# Neither browser nor training, and quick; the other files of tests/ are for `make test`.
QUICK = api chance confidence contracts contrasts divergence eigen losses metrics own_data provenance published_tables settings spec stats structure trials
SCRATCH = scratch=$$(mktemp -d) && trap 'rm -rf "$$scratch"' EXIT &&

# What is given reaches the recipes through the environment and as it is, and folders as "$$PWD": a blank, a quote or a $ in them is no syntax.
override NAME := $(value NAME)
override PRESET := $(value PRESET)
override PARAMS := $(value PARAMS)
override PYTHON := $(value PYTHON)
export NAME PRESET PARAMS PYTHON

# One thread per process: more threads are slower here, and sums keep their order.
export OMP_NUM_THREADS := 1
export PYTHONHASHSEED := 0

.PHONY: help env lint check book site pdf test plan chapter reproduce publish refresh faults bench clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' Makefile
	@echo '  NAME is a file of notebooks/ without .ipynb; papermill --help-notebook notebooks/NAME.ipynb lists its parameters.'

env: .venv/.stamp  ## install what is needed into .venv

.venv/.stamp: requirements.txt constraints.txt pyproject.toml
	@"$$PYTHON" -c "import sys; v = sys.version.split()[0]; sys.exit(sys.version_info < (3, 11) and f'Python 3.11 or newer is needed, this is {v}: name another with PYTHON=python3.x')"
	@echo "installing into .venv: once, a few minutes"
	@"$$PYTHON" -m venv .venv
	@$(PY) -m pip install --disable-pip-version-check --progress-bar on -r requirements.txt
	@$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@$(PY) -m pip check
	@touch $@

book: env  ## the book: every chapter from its published rows, then HTML (nothing is trained)
	$(PY) scripts/vendor_js.py $(if $(KDCORE_SITE),--required)
	@export KDCORE_TRAIN="$${KDCORE_TRAIN-0}" && $(STALE) $(CHAPTERS) | xargs -r -n 1 -P 2 $(PY) scripts/execute_chapter.py --preset published
	@$(STALE) verdicts | xargs -r -n 1 $(PY) scripts/execute_chapter.py --preset published
	$(BOOK) build . -n -W --keep-going -q
	$(PY) scripts/check_book.py $(if $(KDCORE_SITE),--site)
	@printf '%s\n' "$$PWD/_build/html/index.html"

site:  ## the book to publish: as `make book`, and a fault where a page would load anything from elsewhere (KDCORE_SITE=1 in the environment does the same)
	$(MAKE) book KDCORE_SITE=1

pdf: env  ## the built book as one tagged PDF, _build/pdf/book.pdf (needs Chromium)
	$(BOOK) build . --builder singlehtml --path-output _build/pdf --all -n -W --keep-going -q
	$(PY) scripts/print_book.py

# A store of its own, so that nothing trained before is used; interrupted, it goes on where it was; done, it is removed.
reproduce:  ## the book again from nothing: every published number is trained anew (hours); rows go to _build/reproduce/results
	KDCORE_TRAIN=1 KDCORE_RESULTS= KDCORE_STORE="$$PWD/_build/reproduce/store" KDCORE_PUBLISH="$$PWD/_build/reproduce/results" $(MAKE) book
	rm -rf _build/reproduce/store

publish: env  ## NAME=...: run the published preset and keep its rows in book/results/ (then read the diff)
	KDCORE_PUBLISH="$$PWD/book/results" $(PY) scripts/execute_chapter.py --preset published -- "$$NAME"

lint: env  ## ruff: rules and format of all code, the notebooks too
	$(PY) -m ruff check $(CODE)
	$(PY) -m ruff format --check $(CODE)

check: lint  ## lint, and the tests that need neither browser nor training: under a minute
	$(PY) -m pytest -q -n auto --dist loadfile $(QUICK:%=tests/test_%.py)

# Notebooks run against an empty store and no committed results: what is compared has been trained by this code.
test: env  ## unit tests, then every notebook against its committed outputs
	$(PY) -m pytest -n auto --dist loadfile tests
	@$(SCRATCH) KDCORE_STORE="$$scratch" KDCORE_RESULTS= $(PY) -m pytest --nbval --nbval-current-env -n auto --dist loadscope notebooks

plan: env  ## NAME=... PRESET=... PARAMS=...: what a chapter would cost, before anything is trained (a minute or two)
	$(PY) scripts/plan_chapter.py --preset="$$PRESET" --words="$$PARAMS" -- "$$NAME"

chapter: env  ## one page: NAME=low_fidelity PRESET=quick|published PARAMS="-p temperature 5 -p seeds 3"
	$(PY) scripts/execute_chapter.py --preset="$$PRESET" --words="$$PARAMS" -- "$$NAME"

refresh: env  ## NAME=...: run with the defaults from nothing and keep the outputs in notebooks/ (then read the diff)
	@$(SCRATCH) KDCORE_STORE="$$scratch" KDCORE_RESULTS= $(PY) scripts/execute_chapter.py --in-place -- "$$NAME"

# How many: KILLS=1000 FLIPS=2000 PARAMETERS=3000 PUBLICATIONS=60 make faults takes about half an hour.
faults: env  ## kills, flipped bits, bad parameters and the like, counted; ends with an error where anything is wrong
	$(PY) tests/faults.py _build/faults.csv

bench: env  ## speed, as ratios measured in one run
	$(PY) benchmarks/bench.py
	$(PY) benchmarks/attention.py
	$(PY) benchmarks/bookkeeping.py 10000

clean:  ## remove the built book and the executed chapters
	rm -rf _build book/chapters
