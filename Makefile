# Two commands do everything: `make demo` paints, `make test` checks. Both set up what is missing.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TYPES := .cache/types/velatura

.PHONY: demo test serve lint types contracts tests krita-trixie mutants pictures plugin release campaign-install campaign-kills campaign-fuzz clean

demo: $(VENV)/.run
	$(BIN)/velatura demo

serve: $(VENV)/.run
	$(BIN)/velatura serve

plugin: $(VENV)/.run
	$(BIN)/velatura plugin install

# What painters get: one zip a platform, in dist/.
release: $(VENV)/.run
	$(BIN)/python tools/release.py

# The installer, killed at 25 random moments.
campaign-install: $(VENV)/.dev
	$(BIN)/python -m benchmarks.install_kills

test: lint types contracts tests

lint: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/.dev $(TYPES)
	$(BIN)/mypy

contracts: $(VENV)/.dev
	$(BIN)/lint-imports --no-logo

# TESTS=--twice: what failed runs once more.
tests: $(VENV)/.dev
	$(BIN)/python tests/run.py $(TESTS)

# Workers, servers and connections killed, 100 of each; a million mutated messages and 10,000 files: an hour. Their
# short forms are among the tests.
RESULTS := benchmarks/results
campaign-kills: $(VENV)/.dev
	$(BIN)/python tests/campaigns/kills.py --out $(RESULTS)/campaign-kills.json

campaign-fuzz: $(VENV)/.dev
	$(BIN)/python tests/campaigns/fuzz_messages.py --out $(RESULTS)/campaign-fuzz-messages.json
	$(BIN)/python tests/campaigns/fuzz_files.py --out $(RESULTS)/campaign-fuzz-files.json

# Small changes of the code that no test notices; goes on where it stopped. See docs/mutants.md.
mutants: $(VENV)/.dev
	$(BIN)/python tests/mutants.py $(MUTANTS)

# The docker in its main states, photographed in a real Krita, as docs/docker-*.png.
pictures: $(VENV)/.dev
	$(BIN)/python tests/krita/pictures.py

# The real-Krita tests on a newer Krita than Debian 12's; see the script.
krita-trixie: $(VENV)/.dev
	tests/krita/trixie.sh

# mypy does not follow editable installs, so it gets the house as one tree of links.
$(TYPES):
	mkdir -p $@
	for part in protocol models server krita_plugin; do ln -sfn ../../../$$part $@/$$part; done

# Our own build in silence, then what it needs, which is there or comes with a bar.
$(VENV)/.run: pyproject.toml setup.py constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing Velatura and its libraries (several GB with PyTorch; a few minutes) ..."
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	$(BIN)/python -m pip install --constraint constraints.txt velatura
	touch $@

$(VENV)/.dev: $(VENV)/.run
	$(BIN)/python -m pip install --quiet --constraint constraints.txt "velatura[dev]"
	touch $@

clean:
	rm -rf $(VENV) .cache build demo-out
