#!/usr/bin/env bash
# check.sh DIR: everything about the chart that can be tried without a cluster. DIR holds the tools. Every check runs, so that
# all complaints come at once. What the chart says of the services is tried by test/chart, with `make test`.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../deploy/servers/shell.sh"
cd "$root"
tools=$1 chart=helm/floodgate
all_values=("$chart"/ci/*.yaml "$chart"/examples/values.yaml)
versions="1.37.2 1.36.1 1.35.4"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failed=()

# check NAME COMMAND...
check() {
  say "helm-check: $1"
  "${@:2}" || failed+=("$1")
}

# A helm of its own: no plugins, no repositories, nothing of who runs this.
helm() { HELM_DATA_HOME=$scratch HELM_CONFIG_HOME=$scratch HELM_CACHE_HOME=$scratch "$tools/helm$1" "${@:2}"; }

lint() {
  local values bad=0
  for values in "${all_values[@]}"; do
    helm "$1" lint "$chart" --strict --quiet --kube-version "${versions%% *}" --values "$values" || bad=1
  done
  return $bad
}

# conforms FILES...: the API servers of each version, and the extensions', would take these objects.
conforms() {
  local version bad=0 at='{{.Group}}_{{.ResourceKind}}_{{.ResourceAPIVersion}}.json'
  for version in $versions; do
    "$tools/kubeconform" -strict -summary -skip "$unpublished" -schema-location "$state/schemas/$version/$at" -schema-location "$state/schemas/extensions/$at" "$@" || bad=1
  done
  return $bad
}
# What two of the examples make; their schemas are in no module that could be asked.
unpublished=Cluster,Database,Kafka,KafkaNodePool,KafkaUser

rendered() {
  local values bad=0 name
  for values in "${all_values[@]}"; do
    name=$(basename "$values")
    helm 4 template floodgate "$chart" --namespace shop --kube-version "${versions%% *}" --values "$values" >"$scratch/$name" || bad=1
  done
  conforms "$scratch"/*.yaml || bad=1
  return $bad
}

units() { "$tools/helm-unittest" --strict "$chart"; }

documented() {
  cp -r "$chart" "$scratch/chart"
  "$tools/helm-docs" --chart-search-root "$scratch/chart" --log-level warning
  cmp -s "$scratch/chart/README.md" "$chart/README.md" || { say "  $chart/README.md is not what make generate writes"; return 1; }
}

helm/schemas.sh
check "lint by Helm 4" lint 4
check "lint by Helm 3" lint 3
check "objects are what Kubernetes ${versions// /, } takes" rendered
check "examples are too" conforms "$chart"/examples/{cloudnative-pg,strimzi,redis,istio}.yaml
check "unit tests" units
check "README.md is up to date" documented
[ ${#failed[@]} = 0 ] || die "$(printf '%s; ' "${failed[@]}")see above"
say "helm-check: clean"
