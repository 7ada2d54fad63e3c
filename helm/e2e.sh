#!/usr/bin/env bash
# e2e.sh HELM: installs the chart on the cluster that KUBECONFIG names, upgrades it, tries it with an order, rolls it back and
# uninstalls it. VALUES names a values file that says where its Postgres, Kafka and Redis are.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../deploy/servers/shell.sh"
cd "$root"
helm=$1 chart=helm/floodgate
namespace=${NAMESPACE:-floodgate-e2e} release=${RELEASE:-floodgate} patience=${PATIENCE:-10m}

[ -n "${KUBECONFIG:-}" ] || die "KUBECONFIG is not set: name a cluster's configuration file, and in VALUES a values file (the least is in $chart/ci/minimal.yaml)"
[ -r "$KUBECONFIG" ] || die "KUBECONFIG is $KUBECONFIG, which cannot be read"
[ -n "${VALUES:-}" ] || die "VALUES is not set: name a values file that says where the cluster's Postgres, Kafka and Redis are (the least is in $chart/ci/minimal.yaml)"
[ -r "$VALUES" ] || die "VALUES is $VALUES, which cannot be read"

# try places an order. The test is a Job, and `helm test --logs` knows pods only: what it says is read with kubectl, where that is.
try() {
  local failed=0
  release test --timeout "$patience" || failed=$?
  ! command -v kubectl >/dev/null || kubectl --namespace "$namespace" logs --selector "app.kubernetes.io/instance=$release,app.kubernetes.io/component=smoke" --tail=-1 >&2 || true
  return $failed
}

release() { "$helm" "$1" "$release" "${@:2}" --namespace "$namespace"; }

# Only a release of its own may be uninstalled in the end: "not found" is asked for in words, since a cluster that does not answer fails too.
! known=$(release status 2>&1) || die "there is a release $release in namespace $namespace already, and this would uninstall it in the end: name another in RELEASE or NAMESPACE"
[[ $known == *"not found"* ]] || die "the cluster of $KUBECONFIG cannot be asked for its releases: $known"
# What was installed in part goes too: the next try must find nothing of it.
trap 'release uninstall --ignore-not-found --wait --timeout "$patience" || true' EXIT
say "helm-e2e: install"
release install "$chart" --create-namespace --values "$VALUES" --wait --timeout "$patience"
try
say "helm-e2e: upgrade"
release upgrade "$chart" --values "$VALUES" --set-string "defaults.podAnnotations.floodgate\.dev/upgraded=$(date +%s)" --wait --timeout "$patience"
try
say "helm-e2e: roll back"
release rollback 1 --wait --timeout "$patience"
try
say "helm-e2e: uninstall"
trap - EXIT
release uninstall --wait --timeout "$patience"
say "helm-e2e: installed, upgraded, rolled back, tried each time, and uninstalled"
