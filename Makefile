# Everything one does with Floodgate. `make help` lists it; the work is done by go and by the scripts in deploy/servers.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

include tools.mk

scripts := deploy/servers
modules = $(shell go list -m -f '{{.Dir}}')
# What is required comes before what requires it: tidying a module looks at the others as they are by then.
in_order = $(foreach place,proto pkg services deploy test,$(filter $(CURDIR)/$(place) $(CURDIR)/$(place)/%,$(modules)))
version = $(shell git describe --tags --always --dirty 2>/dev/null || echo unversioned)
stamp = -ldflags '-X github.com/floodgate-dev/floodgate/pkg/run.stamped=$(version)'

.PHONY: help
help: ## list what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: run
run: ## start the whole suite in one process and show an order's life; needs Go only (DEMO=off places none)
	@mkdir -p bin
	@go build $(stamp) -o bin/floodgate ./deploy/local/cmd/floodgate
	@exec bin/floodgate

.PHONY: test
test: $(GOTESTSUM) ## run every test on real servers, with the race detector
	@$(scripts)/test.sh $(GOTESTSUM)

.PHONY: servers
servers: ## start real Postgres, Redis and Kafka as plain processes on loopback
	@$(scripts)/servers.sh up

.PHONY: servers-down
servers-down: ## stop them; their data stays
	@$(scripts)/servers.sh down

.PHONY: build
build: ## build every service into bin/
	@mkdir -p bin
	@go build $(stamp) -o bin/ $(patsubst %,./%,$(wildcard services/*/cmd/*))

.PHONY: up
up: servers build ## start the services as processes, what is missing only (REPLICAS="order-api=2 points=2")
	@$(scripts)/up.sh up

.PHONY: down
down: ## stop the services; their data stays
	@$(scripts)/up.sh down

.PHONY: ps
ps: ## show the services that `make up` started
	@$(scripts)/up.sh ps

.PHONY: token
token: ## print a bearer token (USER=u-1 [ROLE=shop] [TTL=1h])
	@$(scripts)/token.sh '$(if $(filter command line,$(origin USER)),$(USER))' '$(ROLE)' '$(TTL)'

.PHONY: books
books: ## wait until the running suite is quiet and prove that nothing was lost or made
	@mkdir -p bin
	@go build -o bin/books ./test/cmd/books
	@exec bin/books

.PHONY: poison
poison: ## put records into the running suite that its services give up, and say what to look at
	@mkdir -p bin
	@go build -o bin/poison ./test/cmd/poison
	@exec bin/poison

.PHONY: bench
bench: servers ## measure against the ceiling of this machine, write docs/BENCHMARKS.md (BENCH=quick for a short one)
	@$(scripts)/bench.sh

.PHONY: lint
lint: $(GOLANGCI_LINT) $(BUF) $(PROTOC_GEN_GO) $(PROTOC_GEN_GO_GRPC) ## look for what the compiler does not see
	@PATH="$(tools_path):$$PATH" $(scripts)/lint.sh

.PHONY: generate
generate: $(BUF) $(PROTOC_GEN_GO) $(PROTOC_GEN_GO_GRPC) $(GOLANGCI_LINT) ## write generated code anew, tidy the modules, format all code
	@cd proto && PATH="$(tools_path):$$PATH" buf generate
	@for dir in $(in_order); do (cd "$$dir" && GOWORK=off go mod tidy); done
	@$(GOLANGCI_LINT) fmt $(modules)

.PHONY: clean
clean: down ## stop everything and wipe what was built and stored
	@$(scripts)/servers.sh wipe
	@rm -rf bin
