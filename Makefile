# `make serve` runs the service, `make test` the tests; `make help` lists the rest.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# What is installed in editable mode: the client, whose stubs the service needs, and the service.
PROJECTS := pyproject.toml clients/python/pyproject.toml
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check --editable clients/python --editable
PROTO := protos/contactsvc/v1/contact_methods.proto

# The shape of the proto at the last release, which `make check` compares with. The changelog names that release. To make
# a new one: date its section in CHANGELOG.md; set the version in contactsvc/__init__.py, in pyproject.toml (the
# requirement contactsvc-client), in contactsvc_client/__init__.py of clients/python, and in package.json and
# package-lock.json of clients/typescript; run `make release-descriptor`; commit the new descriptor together with them.
# Older descriptors stay, for clients of those releases.
RELEASE := $(shell sed -n 's/^\#\# \[\([0-9][^]]*\)\].*/\1/p' CHANGELOG.md | head -n 1)
RELEASE_DESCRIPTOR := protos/releases/$(RELEASE).binpb

.DEFAULT_GOAL := help
.PHONY: help serve first-calls test test-long check bench robustness robustness-soak format protos typescript docs release-descriptor runtime sbom audit clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# One marker per set of extras: `make serve` installs no test tools.
$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "contactsvc needs Python 3.11 or newer; choose one with: make PYTHON=python3.12 ..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.serve: $(PROJECTS) $(VENV)/.created
	$(INSTALL) '.[embedded,fast]'
	@touch $@

$(VENV)/.dev: $(PROJECTS) $(VENV)/.created
	$(INSTALL) '.[embedded,fast,dev]'
	@touch $@ $(VENV)/.serve

$(VENV)/.bench: $(PROJECTS) $(VENV)/.created
	$(INSTALL) '.[embedded,fast,bench]'
	@touch $@

serve: $(VENV)/.serve first-calls ## Run the service on the embedded database, or on CONTACTSVC_MONGODB_URI
	@exec $(BIN)/contactsvc serve

ADDRESS = $(or $(CONTACTSVC_LISTEN),localhost:50051)
GRPCURL = $(firstword $(wildcard $(BIN)/grpcurl) $(shell command -v grpcurl))
RPCS := contactsvc.v1.ContactMethodsService

define CALLS_WITH_GRPCURL
  $(GRPCURL) -plaintext -d '{"client_id": "client_abc123", "type": "CONTACT_METHOD_TYPE_EMAIL", "value": "juan@example.com"}' $(ADDRESS) $(RPCS)/CreateContactMethod
  $(GRPCURL) -plaintext -d '{"client_id": "client_abc123"}' $(ADDRESS) $(RPCS)/ListClientContactMethods
  $(GRPCURL) -plaintext $(ADDRESS) describe $(RPCS)
endef

define CALLS_WITH_PYTHON
  $(BIN)/python -c 'from contactsvc_client import *; print(ContactsClient("$(ADDRESS)").contact_methods.create(client_id="client_abc123", type="email", value="juan@example.com"))'
  $(BIN)/python -c 'from contactsvc_client import *; print(ContactsClient("$(ADDRESS)").contact_methods.list_by_client("client_abc123"))'
  $(BIN)/python -c 'from contactsvc_client import *; help(ContactMethods)'
endef

define FIRST_CALLS
When the service listens, try from another terminal: create, list, describe.
$(if $(GRPCURL),$(CALLS_WITH_GRPCURL),$(CALLS_WITH_PYTHON))
README.md and docs/ have the rest.
endef

# On standard error: the service prints its address, and nothing else, on standard output.
first-calls: export TEXT = $(FIRST_CALLS)
first-calls: $(VENV)/.serve
	@printf '%s\n' "$$TEXT" >&2

# Each of the two processes has its own embedded database. The tests of a file stay together, since they share servers.
# Files run in alphabetical order: by default, those with the fewest tests come last, which are the slowest.
PYTEST := $(BIN)/pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

test: $(VENV)/.dev ## Run the test suite
	$(PYTEST)

test-long: $(VENV)/.dev ## Run the test suite with more generated examples, and with the tests marked `long`
	$(PYTEST) --long

check: $(VENV)/.dev ## Check style, types, proto rules, imports, and that generated files are fresh
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/buf lint
	$(BIN)/buf format --diff --exit-code
	$(BIN)/buf breaking --against $(RELEASE_DESCRIPTOR)
	$(BIN)/lint-imports --no-logo --no-cache
	for page in docs/generate_*.py; do $(BIN)/python $$page --check || exit 1; done
	$(BIN)/pytest -q tests/unit/test_generated.py

bench: $(VENV)/.bench ## Measure against a bare echo and plain services (BENCH=--quick takes four to five minutes)
	$(BIN)/python -m benchmarks $(BENCH)

robustness: $(VENV)/.dev ## Make 100,000 calls during 200 faults and attacks, and check every answer (25 minutes; ROBUSTNESS="--seed 2")
	$(BIN)/python -m tests.robustness $(ROBUSTNESS)

robustness-soak: $(VENV)/.dev ## Make calls for 20 minutes, with restarts, and check that memory and latency stay flat
	$(BIN)/python -m tests.robustness --soak --minutes 20 $(ROBUSTNESS)

format: $(VENV)/.dev ## Format Python and proto files
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/buf format --write

protos: $(VENV)/.dev ## Generate what follows from the proto: stubs of the clients and of examples/go, the blocking client, and the descriptor for Envoy
	$(BIN)/python clients/python/generate_stubs.py
	$(BIN)/python -m grpc_tools.protoc -I protos --include_source_info --descriptor_set_out=contactsvc/v1/contact_methods.binpb $(PROTO)
	$(BIN)/python clients/python/generate_blocking.py
	$(BIN)/python deploy/envoy/generate_descriptor.py
	@if command -v go > /dev/null; then cd examples/go && go mod download && ../../$(BIN)/buf generate; \
	else echo "Go is not installed: the code of examples/go was not generated" >&2; fi
	@if command -v npm > /dev/null; then cd clients/typescript && npm ci && ../../$(BIN)/buf generate; \
	else echo "npm is not installed: the code of the TypeScript client was not generated" >&2; fi

typescript: $(VENV)/.dev ## Install and build the TypeScript client and run its tests; `make test` does so as well
	$(BIN)/pytest tests/clients/test_typescript.py

docs: $(VENV)/.dev ## Generate the pages of the API and of the settings, and the picture of the dashboard
	for page in docs/generate_*.py; do $(BIN)/python $$page || exit 1; done

release-descriptor: $(VENV)/.dev ## Write the descriptor of the release that the changelog names last
	@test ! -e $(RELEASE_DESCRIPTOR) || { echo "$(RELEASE_DESCRIPTOR) exists: add the section of the new release to CHANGELOG.md first" >&2; exit 1; }
	$(BIN)/buf build --exclude-source-info --output $(RELEASE_DESCRIPTOR)

# What the image installs, in an environment of its own: neither the tools nor the embedded database belong to it.
RUNTIME := $(VENV)/runtime
# Both Apache-2.0, and in an environment of their own: their dependencies are not the service's.
SUPPLY_CHAIN := 'cyclonedx-bom>=7.5,<8' 'pip-audit>=2.10,<3'
SBOM ?= contactsvc.cdx.json

$(VENV)/.tools: Makefile $(VENV)/.created
	$(PYTHON) -m venv $(VENV)/tools
	$(VENV)/tools/bin/pip install --quiet --disable-pip-version-check $(SUPPLY_CHAIN)
	@touch $@

runtime: $(VENV)/.tools
	@rm -rf $(RUNTIME)
	$(PYTHON) -m venv --without-pip $(RUNTIME)
	$(VENV)/tools/bin/pip --python $(RUNTIME)/bin/python install --quiet --disable-pip-version-check ./clients/python '.[fast]'

# The copy of pyproject.toml has the version, which the build reads from the package.
sbom: runtime ## Write a CycloneDX list of what the service runs on (SBOM=FILE; contactsvc.cdx.json by default)
	@sed "s/^dynamic = \[\"version\"\]/version = \"$$($(RUNTIME)/bin/python -c 'import contactsvc; print(contactsvc.__version__)')\"/" pyproject.toml > $(VENV)/pyproject.toml
	$(VENV)/tools/bin/cyclonedx-py environment --pyproject $(VENV)/pyproject.toml --output-reproducible --output-file $(SBOM) $(RUNTIME)/bin/python

# pip-audit exits with 1 for a finding and without an answer, but writes its report only after all answers.
audit: runtime ## Look for known vulnerabilities, which asks a service on the internet (AUDIT="-s osv --osv-url URL")
	@rm -f $(VENV)/audit.txt
	@$(VENV)/tools/bin/pip-audit --path "$$($(RUNTIME)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" \
	  --progress-spinner off --desc on --output $(VENV)/audit.txt $(AUDIT) 2>$(VENV)/audit.log; code=$$?; \
	if [ $$code -eq 0 ]; then tail -n 1 $(VENV)/audit.log; \
	elif [ -s $(VENV)/audit.txt ]; then cat $(VENV)/audit.txt; exit 1; \
	elif [ $$code -eq 2 ]; then cat $(VENV)/audit.log >&2; exit 2; \
	else echo "make audit: nothing was checked: no answer from the vulnerability service; details are in $(VENV)/audit.log" >&2; exit 1; fi

clean: ## Remove the virtual environment and caches; keep data
	rm -rf $(VENV) benchmarks/node/node_modules clients/typescript/node_modules clients/typescript/dist clients/typescript/test/build clients/typescript/test/guide examples/typescript/node_modules examples/typescript/build benchmarks/results .pytest_cache .mypy_cache .ruff_cache .hypothesis
