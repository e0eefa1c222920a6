# One word each; every target sets up what it needs.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: setup demo run test test-slow test-systemd vllm test-vllm lint audit format bench bench-extract install upgrade uninstall wheels clean

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

# The long proofs: a hundred kills of the daemon, fifty of the whole pipeline, two hundred rounds of everything that can go wrong, the real streams,
# ten thousand abusive requests.
test-slow: setup
	LOREFEED_ABUSE=10000 $(BIN)/pytest -q tests/test_serving_abuse.py
	LOREFEED_KILLS=100 $(BIN)/pytest -q --timeout 3600 tests/test_service_kill.py
	LOREFEED_KILLS=50 LOREFEED_CHAOS=200 $(BIN)/pytest -q -m slow --timeout 3600

# vLLM's CPU build in an environment of its own: 3.5 GB, four minutes. torch comes first, as above. The rest is a complete list, taken without
# looking for more: what vLLM would bring along besides (torchvision, torchaudio, torchcodec) is built for CUDA and stops it from starting.
vllm: .venv-vllm/.done

.venv-vllm/.done: constraints-vllm.txt pyproject.toml
	$(PYTHON) -m venv .venv-vllm
	.venv-vllm/bin/pip install --quiet --disable-pip-version-check "$$(grep '^torch==' constraints-vllm.txt)"
	.venv-vllm/bin/pip install --quiet --disable-pip-version-check --no-deps -r constraints-vllm.txt
	.venv-vllm/bin/pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

# Serving, proven on a real vLLM: aliases, rollbacks, damage, kills, load. VLLM_TESTS: only some of its files.
test-vllm: setup vllm
	$(BIN)/pytest -q -m vllm --timeout 3600 $(VLLM_TESTS)

# A Debian of its own (debootstrap, systemd-nspawn; needs root and about 5 GB) is booted, and everything an administrator does is done to it.
test-systemd: setup wheels
	$(BIN)/pytest -q -m systemd --timeout 3600 tests/test_systemd_boot.py

# The system service: see systemd/install. On a machine without network, give it WHEELS=DIR.
install upgrade:
	systemd/install $@

uninstall:
	systemd/install uninstall $(if $(PURGE),--purge)

# Every package that installing takes, for machines without network.
WHEELS_IN ?= build/wheels
wheels: setup $(WHEELS_IN)/.done
$(WHEELS_IN)/.done: pyproject.toml constraints.txt
	mkdir -p $(WHEELS_IN)
	$(BIN)/pip download --quiet --disable-pip-version-check -d $(WHEELS_IN) "$$(grep '^torch==' constraints.txt)"
	$(BIN)/python -c 'import tomllib; print("\n".join([*tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"], "setuptools>=77"]))' > $(WHEELS_IN)/requirements.txt
	$(BIN)/pip download --quiet --disable-pip-version-check -d $(WHEELS_IN) --find-links $(WHEELS_IN) -c constraints.txt -r $(WHEELS_IN)/requirements.txt
	@touch $@

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Code and dependencies against what is known to be unsafe. In an environment of its own, so that its tools are not looked at too; asks the network.
AUDIT_IN := build/audit
audit: setup
	test -d $(AUDIT_IN) || $(PYTHON) -m venv $(AUDIT_IN)
	$(AUDIT_IN)/bin/pip install --quiet --disable-pip-version-check 'bandit>=1.9' 'pip-audit>=2.10'
	$(AUDIT_IN)/bin/bandit --quiet --recursive --configfile pyproject.toml daemon registry sources
	$(AUDIT_IN)/bin/pip-audit --path "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" --skip-editable

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The embedded model's table, the extraction figures.
bench: setup bench-extract
	$(BIN)/python -m daemon.embedded.evaluate
	$(BIN)/python -m sources.bench ../shared/data

# Precision, recall and F1 of extraction, both halves of each set, the replayed streams and the documents a second.
bench-extract: setup
	$(BIN)/python -m daemon.extraction.bench ../shared/data

clean:
	rm -rf .venv .venv-vllm .sample build dist *.egg-info
