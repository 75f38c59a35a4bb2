# The two commands: `make speak` and `make test`. Both set up what they need in a virtual environment.

PYTHON ?= python3
VENV ?= .venv
TEXT ?= Hello, my name is bark
OUT ?= hello.wav
ARGS ?=
WORK ?= runs/nano
export TEXT

BIN = $(VENV)/bin
OLDEST = .venv-oldest
# Judges of the voice; what else they ask for, torchaudio and librosa, is not used.
JUDGES = distillmos==0.9.1 xls-r-sqa==0.1.0 Resemblyzer==0.1.4

.PHONY: speak test test-oldest test-browser notebooks drawings lint format bench bench-gpu nano soak clean help

help:
	@echo 'make speak TEXT="..."  speak a text into $(OUT) (ARGS="--checkpoint suno/bark-small --voice v2/en_speaker_6")'
	@echo 'make test              run all tests on the newest jax and flax'
	@echo 'make test-oldest       run them on the oldest supported pair'
	@echo 'make test-browser      open a notebook in JupyterLab in Chromium, and use its panel'
	@echo 'make notebooks         run and clean all notebooks (ARGS="03" for one)'
	@echo 'make lint              check style and types'
	@echo 'make format            mend what can be mended of the style'
	@echo 'make bench             measure the speed on this machine, beside transformers'
	@echo 'make bench-gpu         the same on an NVIDIA GPU: the large shape, batches of 1, 8 and 32; bench.json'
	@echo 'make soak              generate 1,000 times in one process, then kill bulk jobs and training at random moments (hours)'
	@echo 'make nano              make the checkpoint that comes with the package anew, from nothing, in $(WORK) (hours)'

speak: $(VENV)/.installed
	$(BIN)/python -m bark_jax speak "$$TEXT" -o "$(OUT)" --force $(ARGS)

test: $(VENV)/.installed-tests
	$(BIN)/python -m pytest $(ARGS)

test-oldest: $(OLDEST)/.installed-tests
	$(OLDEST)/bin/python -m pytest --nbval-lax $(ARGS)

test-browser: $(VENV)/.installed-tests
	$(BIN)/python -m pytest -n0 tests/test_browser.py $(ARGS)

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

bench: $(VENV)/.installed-tests
	$(BIN)/python -m bark_jax bench --against transformers $(ARGS)

bench-gpu: $(VENV)/.installed-tests
	$(BIN)/python -m pip install --quiet "jax[cuda13]"
	$(BIN)/python -m bark_jax bench --shape large --batch 1,8,32 --against transformers --json bench.json $(ARGS)

nano: $(VENV)/.installed-tests
	$(BIN)/python -m pip install --quiet -e .[teacher]
	$(BIN)/python -m bark_jax.train.nano -o $(WORK) --to assets/nano $(ARGS)

soak: $(VENV)/.installed-tests
	$(BIN)/python tests/soak.py generate
	$(BIN)/python tests/soak.py batch
	$(BIN)/python tests/soak.py train

clean:
	rm -rf .venv .venv-oldest build *.egg-info

%/bin/python:
	$(PYTHON) -m venv $*
	$@ -m pip install --quiet --upgrade pip

$(VENV)/.installed: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet -e .
	touch $@

$(VENV)/.installed-tests: pyproject.toml requirements.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet -r requirements.txt
	$(BIN)/python -m pip install --quiet --no-deps $(JUDGES)
	touch $@

$(VENV)/.installed-lint: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet -e .[lint,notebooks,test]
	touch $@

$(OLDEST)/.installed-tests: pyproject.toml requirements.txt .ci/oldest.txt | $(OLDEST)/bin/python
	$(OLDEST)/bin/python -m pip install --quiet -r requirements.txt -c .ci/oldest.txt
	$(OLDEST)/bin/python -m pip install --quiet --no-deps $(JUDGES)
	touch $@
