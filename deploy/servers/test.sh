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

# axe fetches axe-core, which looks at the console's pages for what keeps people from using them; one file, by its checksum.
axe() {
  local version=4.14.1 sum=e6b0ce02b84d892e2e33e403485e7f3d6c29e2be6df65daf44d89ba564139745 dir=$state/axe
  [ ! -f "$dir/axe.min.js" ] || [ "$(cat "$dir/version" 2>/dev/null)" != "$version" ] || return 0
  command -v npm >/dev/null || apt_install npm
  mkdir -p "$dir"
  (cd "$dir" && npm pack --silent "axe-core@$version" >/dev/null 2>&1) || die "npm could not fetch axe-core $version"
  echo "$sum  $dir/axe-core-$version.tgz" | sha256sum --quiet -c - || die "axe-core $version is not what it was"
  tar -xzOf "$dir/axe-core-$version.tgz" package/axe.min.js >"$dir/axe.min.js"
  echo "$version" >"$dir/version"
}

if [ "${1:-}" = run ]; then run; exit; fi
# The race detector links with C.
command -v "${CC:-gcc}" >/dev/null || apt_install gcc libc6-dev
command -v chromium >/dev/null || command -v google-chrome >/dev/null || apt_install chromium
command -v promtool >/dev/null || apt_install prometheus
axe
"$root/deploy/servers/servers.sh" up
servers_env
exec "$1" --raw-command --format="${TEST_FORMAT:-pkgname-and-test-fails}" --hide-summary=skipped -- "${BASH_SOURCE[0]}" run
