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
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: run
run: ## start the whole suite in one process and show an order's life; needs Go only (DEMO=off places none)
	@mkdir -p bin
	@go build $(stamp) -o bin/floodgate ./deploy/local/cmd/floodgate
	@exec bin/floodgate

.PHONY: test
test: $(GOTESTSUM) $(AMTOOL) $(CYCLONEDX_GOMOD) $(HELM) ## run every test on real servers, with the race detector
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

.PHONY: images
images: $(CYCLONEDX_GOMOD) ## build an image of each service with docker, podman or buildah (REGISTRY=registry.example/shop PUSH=1)
	@deploy/docker/images.sh "$(version)" "$(CYCLONEDX_GOMOD)"

.PHONY: images-check
images-check: servers ## build the images, look into them, and run the suite from them on real servers; needs podman or docker
	@$(MAKE) images REGISTRY=localhost/floodgate-check
	@go vet -tags images ./test/images
	@go test -tags images -count=1 -v -timeout=20m ./test/images

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

.PHONY: profile
profile: servers ## say what one order costs and where its time goes (PROFILE=gate/skus/lines, such as lua/10000/1, or journey for all that follows)
	@$(scripts)/bench.sh profile

.PHONY: queries
queries: ## run the hot paths on full tables and write docs/queries.md: each statement, its plan and its cost
	@QUERIES=write go test -p 1 -count=1 -run '^TestPlansOf(AFull|Many)' ./pkg/outbox ./pkg/kafka $(patsubst %/plans_test.go,./%,$(wildcard services/*/internal/store/plans_test.go))

.PHONY: lint
lint: $(GOLANGCI_LINT) $(BUF) $(PROTOC_GEN_GO) $(PROTOC_GEN_GO_GRPC) ## look for what the compiler does not see
	@PATH="$(tools_path):$$PATH" $(scripts)/lint.sh

.PHONY: generate
generate: $(BUF) $(PROTOC_GEN_GO) $(PROTOC_GEN_GO_GRPC) $(GOLANGCI_LINT) $(HELM) ## write generated code anew, tidy the modules, format all code
	@cd proto && PATH="$(tools_path):$$PATH" buf generate
	@helm/files.sh $(dir $(HELM))
	@for dir in $(in_order); do (cd "$$dir" && GOWORK=off go mod tidy); done
	@$(GOLANGCI_LINT) fmt $(modules)

.PHONY: helm-check
helm-check: $(HELM) ## lint the chart, try its values and hold its objects against three versions of Kubernetes
	@helm/check.sh $(dir $(HELM))

.PHONY: helm-path
helm-path: ## print where the chart's tools are, for the tests
	@echo $(HELM)

.PHONY: helm-e2e
helm-e2e: $(HELM) ## install, upgrade, try, roll back and uninstall on the cluster of KUBECONFIG (VALUES=values.yaml)
	@helm/e2e.sh $(HELM)

.PHONY: clean
clean: down ## stop everything and wipe what was built and stored
	@$(scripts)/servers.sh wipe
	@rm -rf bin
