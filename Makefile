# One word each; every target sets up what it needs.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: setup demo run test test-slow lint format bench clean

setup: .venv/.done

# torch first and alone: asked for later, or unpinned, pip takes the registry's largest build instead of this machine's.
.venv/.done: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check "$$(grep '^torch==' constraints.txt)"
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: setup
	$(BIN)/lorefeed demo

# The service on the sample, until Ctrl-C. Its home is ./.sample; remove it to start anew.
run: setup
	$(BIN)/lorefeed --home .sample demo --serve

test: setup
	$(BIN)/pytest -q

# The long proofs: fifty kills, the real streams.
test-slow: setup
	LOREFEED_KILLS=50 $(BIN)/pytest -q -m slow --timeout 3600

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The embedded model's table, the extraction figures.
bench: setup
	$(BIN)/python -m daemon.embedded.evaluate
	$(BIN)/python -m daemon.extraction.bench ../shared/data

clean:
	rm -rf .venv .sample build dist *.egg-info
