#!/usr/bin/env bash
# bench.sh [profile]: measures on the servers of servers.env and writes docs/BENCHMARKS.md and docs/benchmarks.json; BENCH=quick is
# short. With profile it says what one order costs instead, and leaves profiles; PROFILE names the load, or is journey for all
# that follows an order in every service.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/shell.sh"
cd "$root"
servers_env
what=Floodgate
if [[ ${1:-} == profile ]]; then
  what=Profile
  [[ ${PROFILE:-} != journey ]] || what=Journey
fi
go test ./test/bench -run '^$' -bench "^Benchmark$what\$" -benchtime 1x -count 1 -timeout 20m
