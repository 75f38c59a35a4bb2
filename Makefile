# `make speak` and `make test`: both create the virtual environment that they need.

PYTHON ?= python3
VENV ?= .venv
TEXT ?= Hello, my name is bark
OUT ?= hello.wav
ARGS ?=
WORK ?= runs/nano
export TEXT

# Versions to install, for example .ci/colab.txt
CONSTRAINTS ?=

BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip install --quiet
# Judges of the voice; what else they ask for, torchaudio and librosa, is not used.
JUDGES = distillmos==0.9.1 xls-r-sqa==0.1.0 Resemblyzer==0.1.4
# `make test-versions` runs these, without the tests in them that are marked `once`, and a notebook.
VERSIONS = checkpoints coarse codec files fine gpt main matmul notebook parallel pipeline sampling semantic train
NOTEBOOK = notebooks/01_architecture.ipynb

.PHONY: speak test test-versions test-browser site test-site notebooks drawings lint format package bench bench-gpu tpu-check nano soak clean help

help:
	@echo 'make speak TEXT="..."  speak a text to $(OUT) (ARGS="--checkpoint suno/bark-small --voice v2/en_speaker_6")'
	@echo 'make test              run all tests'
	@echo 'make test-versions     run a choice of tests and one notebook, for another version of Python or jax:'
	@echo '                       make test-versions PYTHON=python3.13 VENV=.venv-colab CONSTRAINTS=.ci/colab.txt'
	@echo 'make test-browser      use players in Chromium, and a panel in JupyterLab'
	@echo 'make site              build the site in build/site: notebooks as they were run, cheat sheet, voices, API'
	@echo 'make test-site         build it elsewhere, and open every page in Chromium, in light and dark'
	@echo 'make notebooks         run and clean all notebooks (ARGS="03" for one)'
	@echo 'make lint              check style and types'
	@echo 'make format            fix style where that can be done automatically'
	@echo 'make package           build dist/: the source distribution and the wheel'
	@echo 'make bench             measure the speed on this machine, compared with transformers'
	@echo 'make bench-gpu         the same on an NVIDIA GPU: the large shape, batches of 1, 8 and 32; writes bench.json'
	@echo 'make tpu-check         compile the programs of a tiny shape for one TPU and for eight, without one (minutes)'
	@echo 'make soak              generate 1,000 times in one process, then kill bulk jobs and training at random moments (hours)'
	@echo 'make nano              train a checkpoint of the recipe NANO from nothing in $(WORK) (many hours on two cores), in place of assets/nano'

speak: $(VENV)/.installed
	$(BIN)/python -m bark_jax speak "$$TEXT" -o "$(OUT)" --force $(ARGS)

test: $(VENV)/.installed-tests
	$(BIN)/python -m pytest $(ARGS)

# XLA compiles faster without most of its optimizations; results differ by rounding alone.
test-versions: $(VENV)/.installed-tests
	JAX_DISABLE_MOST_OPTIMIZATIONS=1 $(BIN)/python -m pytest --nbval-lax -m "not once" \
		$(VERSIONS:%=tests/test_%.py) $(NOTEBOOK) $(ARGS)

test-browser: $(VENV)/.installed-tests
	$(BIN)/python -m pytest -n0 tests/test_browser.py tests/test_browser_players.py $(ARGS)

site: $(VENV)/.installed-tests
	$(BIN)/python -m sphinx -q -W --keep-going -c docs . build/site

test-site: $(VENV)/.installed-tests
	$(BIN)/python -m pytest -n0 tests/test_site.py $(ARGS)

notebooks: drawings
	$(BIN)/python notebooks/make.py $(ARGS)

drawings: $(VENV)/.installed-tests
	$(BIN)/python assets/drawings/draw.py

lint: $(VENV)/.installed-lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

format: $(VENV)/.installed-lint
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

package: $(BIN)/python
	$(PIP) build twine
	rm -rf dist
	$(BIN)/python -m build
	$(BIN)/python -m twine check --strict dist/*

bench: $(VENV)/.installed-tests
	$(PIP) -e .[compare]
	$(BIN)/python -m bark_jax bench --against transformers $(ARGS)

bench-gpu: $(VENV)/.installed-tests
	$(PIP) -e .[compare] "jax[cuda13]"
	$(BIN)/python -m bark_jax bench --shape large --batch 1,8,32 --against transformers --json bench.json $(ARGS)

tpu-check: $(VENV)/.installed
	$(PIP) -e .[tpu]
	$(BIN)/python -m bark_jax scaling --target v5e:1x1 --shape tiny --batch 1 $(ARGS)
	$(BIN)/python -m bark_jax scaling --target v5e:2x4 --shape tiny --mesh 4x2 $(ARGS)

nano: $(VENV)/.installed-tests
	$(PIP) -e .[teacher]
	$(BIN)/python -m bark_jax.train.nano -o $(WORK) --to assets/nano $(ARGS)

soak: $(VENV)/.installed-tests
	$(BIN)/python tests/soak.py generate
	$(BIN)/python tests/soak.py batch
	$(BIN)/python tests/soak.py train

clean:
	rm -rf .venv .venv-* build *.egg-info

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(PIP) --upgrade pip

$(VENV)/.installed: pyproject.toml $(CONSTRAINTS) | $(BIN)/python
	$(PIP) -e . $(CONSTRAINTS:%=-c %)
	touch $@

$(VENV)/.installed-tests: pyproject.toml requirements.txt $(CONSTRAINTS) | $(BIN)/python
	$(PIP) -r requirements.txt $(CONSTRAINTS:%=-c %)
	$(PIP) --no-deps $(JUDGES)
	touch $@

$(VENV)/.installed-lint: $(VENV)/.installed-tests
	$(PIP) -e .[lint]
	touch $@
