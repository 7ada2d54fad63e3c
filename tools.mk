# Developer tools, each pinned here and nowhere else, but for those of the chart: helm/tools/go.mod. A tool is built once for a version, into a folder of that name.
tools := $(CURDIR)/bin/tools

AMTOOL             := $(tools)/amtool-v0.34.2/amtool
BUF                := $(tools)/buf-v1.75.0/buf
CYCLONEDX_GOMOD    := $(tools)/cyclonedx-gomod-v1.10.0/cyclonedx-gomod
GOLANGCI_LINT      := $(tools)/golangci-lint-v2.15.0/golangci-lint
GOTESTSUM          := $(tools)/gotestsum-v1.13.0/gotestsum
PROTOC_GEN_GO      := $(tools)/protoc-gen-go-v1.36.12/protoc-gen-go
PROTOC_GEN_GO_GRPC := $(tools)/protoc-gen-go-grpc-v1.6.2/protoc-gen-go-grpc

$(AMTOOL):             package := github.com/prometheus/alertmanager/cmd/amtool
$(BUF):                package := github.com/bufbuild/buf/cmd/buf
$(CYCLONEDX_GOMOD):    package := github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod
$(GOLANGCI_LINT):      package := github.com/golangci/golangci-lint/v2/cmd/golangci-lint
$(GOTESTSUM):          package := gotest.tools/gotestsum
$(PROTOC_GEN_GO):      package := google.golang.org/protobuf/cmd/protoc-gen-go
$(PROTOC_GEN_GO_GRPC): package := google.golang.org/grpc/cmd/protoc-gen-go-grpc

all_tools := $(AMTOOL) $(BUF) $(CYCLONEDX_GOMOD) $(GOLANGCI_LINT) $(GOTESTSUM) $(PROTOC_GEN_GO) $(PROTOC_GEN_GO_GRPC)

# The version stands in the folder's name: after the last "-".
$(all_tools): version = $(lastword $(subst -, ,$(notdir $(@D))))
$(all_tools):
	@echo "building $(notdir $@) $(version), once" >&2
	@GOWORK=off GOFLAGS= GOBIN=$(@D) go install $(package)@$(version)

empty :=
space := $(empty) $(empty)
tools_path := $(subst $(space),:,$(dir $(BUF)) $(dir $(GOLANGCI_LINT)) $(dir $(PROTOC_GEN_GO)) $(dir $(PROTOC_GEN_GO_GRPC)))

# The chart's tools share one build: all of them contain Kubernetes' client. The folder is named after what they are built from.
chart_tools := $(tools)/chart-$(firstword $(shell cksum helm/tools/go.sum))
HELM        := $(chart_tools)/helm4

$(HELM): small := -trimpath -ldflags '-s -w'
$(HELM):
	@echo "building the chart's tools, once" >&2
	@cd helm/tools && export GOWORK=off GOFLAGS=-mod=readonly CGO_ENABLED=0 && \
	  go build $(small) -o $(@D)/ github.com/helm-unittest/helm-unittest/cmd/helm-unittest github.com/norwoodj/helm-docs/cmd/helm-docs github.com/yannh/kubeconform/cmd/kubeconform && \
	  go build $(small) -o $(@D)/helm3 helm.sh/helm/v3/cmd/helm && \
	  go build $(small) -o $(@D)/helm4 helm.sh/helm/v4/cmd/helm
