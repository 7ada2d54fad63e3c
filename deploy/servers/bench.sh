#!/usr/bin/env bash
# bench.sh: measures on the servers of servers.env and writes docs/BENCHMARKS.md and docs/benchmarks.json. BENCH=quick is short.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/shell.sh"
cd "$root"
servers_env
go test ./test/bench -run '^$' -bench '^BenchmarkFloodgate$' -benchtime 1x -count 1 -timeout 20m
