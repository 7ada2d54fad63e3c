#!/usr/bin/env bash
# token.sh USER [ROLE] [TTL]: prints one bearer token for the suite of `make run` or `make up`, and nothing else.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/shell.sh"
cd "$root"

[ -n "${1:-}" ] || die "whose? make token USER=u-1 [ROLE=shop] [TTL=1h]"
mkdir -p bin
go build -o bin/ ./services/order-api/cmd/order-api >&2

if ! given '(FLOODGATE|ORDER_API)_AUTH_'; then
  ORDER_API_AUTH_KEY_FILE=$(auth_key)
  export ORDER_API_AUTH_KEY_FILE
fi
# A token needs no database, but the settings are checked as a whole.
given '(FLOODGATE|ORDER_API)_DATABASE_DSN' || export ORDER_API_DATABASE_DSN=sqlite:unused
args=(--user "$1")
[ -z "${2:-}" ] || args+=(--role "$2")
[ -z "${3:-}" ] || args+=(--ttl "$3")
exec bin/order-api token "${args[@]}"
