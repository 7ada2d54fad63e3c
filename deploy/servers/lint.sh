#!/usr/bin/env bash
# lint.sh: what the compiler does not see. Every check runs, so that all complaints come at once. The tools are on PATH.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/shell.sh"
cd "$root"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failed=()

# check NAME COMMAND...
check() {
  say "lint: $1"
  "${@:2}" || failed+=("$1")
}

go_code() { go list -m -f '{{.Dir}}/...' | xargs golangci-lint run; }

# A published word stays as it is: compared with the last commit, or with the one before where nothing is changed now.
breaking() {
  local base=HEAD
  git diff --quiet HEAD -- proto 2>/dev/null && base=HEAD~1
  git rev-parse -q --verify "$base:proto/buf.yaml" >/dev/null || { say "  no earlier commit to compare with"; return 0; }
  mkdir -p "$scratch/before"
  git archive "$base" proto | tar -x -C "$scratch/before"
  (cd proto && buf breaking --against "$scratch/before/proto")
}

generated() {
  local file stale=0
  (cd proto && buf generate -o "$scratch/generated")
  while read -r file; do
    cmp -s "$scratch/generated/$file" "proto/$file" || { say "  proto/$file is not what make generate writes"; stale=1; }
  done < <(cd "$scratch/generated" && find . -name '*.go' | sed 's#^\./##')
  return $stale
}

# Each module builds and is tidy by itself: that is how it would be fetched.
modules() {
  local dir bad=0
  for dir in $(go list -m -f '{{.Dir}}'); do
    (cd "$dir" && GOWORK=off go mod tidy -diff >/dev/null) || { say "  ${dir#"$root"/}/go.mod is not tidy: make generate mends it"; bad=1; }
    (cd "$dir" && GOWORK=off go build ./...) || { say "  ${dir#"$root"/} does not build alone"; bad=1; }
  done
  return $bad
}

check "go code" go_code
check "proto: style" buf lint proto
check "proto: nothing breaks its readers" breaking
check "proto: generated code is up to date" generated
check "modules stand alone" modules
[ ${#failed[@]} = 0 ] || die "$(printf '%s; ' "${failed[@]}")see above"
say "lint: clean"
