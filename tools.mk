# Developer tools, each pinned here and nowhere else. A tool is built once for a version, into a folder of that name.
tools := $(CURDIR)/bin/tools

BUF                := $(tools)/buf-v1.75.0/buf
GOLANGCI_LINT      := $(tools)/golangci-lint-v2.15.0/golangci-lint
GOTESTSUM          := $(tools)/gotestsum-v1.13.0/gotestsum
PROTOC_GEN_GO      := $(tools)/protoc-gen-go-v1.36.12/protoc-gen-go
PROTOC_GEN_GO_GRPC := $(tools)/protoc-gen-go-grpc-v1.6.2/protoc-gen-go-grpc

$(BUF):                package := github.com/bufbuild/buf/cmd/buf
$(GOLANGCI_LINT):      package := github.com/golangci/golangci-lint/v2/cmd/golangci-lint
$(GOTESTSUM):          package := gotest.tools/gotestsum
$(PROTOC_GEN_GO):      package := google.golang.org/protobuf/cmd/protoc-gen-go
$(PROTOC_GEN_GO_GRPC): package := google.golang.org/grpc/cmd/protoc-gen-go-grpc

all_tools := $(BUF) $(GOLANGCI_LINT) $(GOTESTSUM) $(PROTOC_GEN_GO) $(PROTOC_GEN_GO_GRPC)

# The version stands in the folder's name: after the last "-".
$(all_tools): version = $(lastword $(subst -, ,$(notdir $(@D))))
$(all_tools):
	@echo "building $(notdir $@) $(version), once" >&2
	@GOWORK=off GOFLAGS= GOBIN=$(@D) go install $(package)@$(version)

empty :=
space := $(empty) $(empty)
tools_path := $(subst $(space),:,$(dir $(BUF)) $(dir $(GOLANGCI_LINT)) $(dir $(PROTOC_GEN_GO)) $(dir $(PROTOC_GEN_GO_GRPC)))
