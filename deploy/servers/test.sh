#!/usr/bin/env bash
# test.sh GOTESTSUM: every test of every module, on real servers, with the race detector, and one summary at the end. The
# servers are shared with a suite that runs; nothing of that suite is touched.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/shell.sh"
cd "$root"

# run prints the results of all packages as go test does for machines. Results are never taken from the cache: servers
# are no input that Go knows. What starts whole suites (test/) goes last, one package at a time: those measure patience.
run() {
  local failed=0 packages last
  packages=$(go list work | grep -v '/floodgate/test/') last=$(go list work | grep '/floodgate/test/')
  go test -json -race -count=1 -timeout=10m -p="${TEST_PACKAGES:-2}" $packages || failed=1
  go test -json -race -count=1 -timeout=20m -p=1 $last || failed=1
  return $failed
}

if [ "${1:-}" = run ]; then run; exit; fi
# The race detector links with C.
command -v "${CC:-gcc}" >/dev/null || apt_install gcc libc6-dev
"$root/deploy/servers/servers.sh" up
servers_env
exec "$1" --raw-command --format="${TEST_FORMAT:-pkgname-and-test-fails}" --hide-summary=skipped -- "${BASH_SOURCE[0]}" run
