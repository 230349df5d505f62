# Two commands do everything: `make serve` and `make test`. `make help` lists the rest.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PROTO := protos/contactsvc/v1/contact_methods.proto

.DEFAULT_GOAL := help
.PHONY: help serve test check bench robustness robustness-soak format protos docs clean

help: ## Show what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# One marker per set of extras: `make serve` installs no test tools.
$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "contactsvc needs Python 3.11 or newer; name one with: make PYTHON=python3.12 ..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.serve: pyproject.toml $(VENV)/.created
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[embedded,fast]'
	@touch $@

$(VENV)/.dev: pyproject.toml $(VENV)/.created
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[embedded,fast,dev]'
	@touch $@ $(VENV)/.serve

$(VENV)/.bench: pyproject.toml $(VENV)/.created
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[embedded,fast,bench]'
	@touch $@

serve: $(VENV)/.serve ## Run the service on the embedded database, or on CONTACTSVC_MONGODB_URI
	@exec $(BIN)/contactsvc serve

# Each of the two processes has an embedded database of its own; a file's tests stay together, for they share servers.
test: $(VENV)/.dev ## Run the whole suite
	$(BIN)/pytest --numprocesses 2 --dist loadfile

check: $(VENV)/.dev ## Lint, types and proto rules (stub freshness is part of the suite)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/buf lint
	$(BIN)/buf format --diff --exit-code
	$(BIN)/pytest -q tests/unit/test_generated.py

bench: $(VENV)/.bench ## Measure against a bare echo and plain services (BENCH=--quick for four minutes)
	$(BIN)/python -m benchmarks $(BENCH)

robustness: $(VENV)/.dev ## Drive 100,000 calls through 200 faults and check every answer (20 minutes; ROBUSTNESS="--seed 2" and more)
	$(BIN)/python -m tests.robustness $(ROBUSTNESS)

robustness-soak: $(VENV)/.dev ## Drive calls for 20 minutes, with restarts: flat memory, flat latency
	$(BIN)/python -m tests.robustness --soak --minutes 20 $(ROBUSTNESS)

format: $(VENV)/.dev ## Format Python and proto files
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/buf format --write

protos: $(VENV)/.dev ## Generate the stubs from the proto, and the blocking client from the asynchronous one
	$(BIN)/python -m grpc_tools.protoc -I protos --python_out=. --pyi_out=. --grpc_python_out=. $(PROTO)
	$(BIN)/python -m grpc_tools.protoc -I protos --include_source_info --descriptor_set_out=contactsvc/v1/contact_methods.binpb $(PROTO)
	$(BIN)/python clients/python/generate_blocking.py

docs: $(VENV)/.dev ## Generate docs/configuration.md from the table of settings
	$(BIN)/python docs/generate_configuration.py

clean: ## Remove the virtual environment and caches (data is kept)
	rm -rf $(VENV) benchmarks/node/node_modules benchmarks/results .pytest_cache .mypy_cache .ruff_cache .hypothesis
