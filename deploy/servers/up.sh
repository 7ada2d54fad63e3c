#!/usr/bin/env bash
# Starts (up), stops (down) and lists (ps) the services as separate processes on the servers of servers.env.
# Only what is missing is started. Replica k of a service listens 10*k above its ports. Settings in the environment reach
# the services and win over what is set here.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/shell.sh"
here=$state/up
patience=${UP_PATIENCE:-90} # seconds until all must be ready
cd "$root"

services() { for main in services/*/cmd/*; do basename "$main"; done; }
upper() { printf %s "$1" | tr 'a-z-' 'A-Z_'; }

# replicas SERVICE: how many REPLICAS asks for.
replicas() {
  local word n=1
  for word in ${REPLICAS:-}; do [ "${word%%=*}" = "$1" ] && n=${word#*=}; done
  printf %s "$n"
}

check_replicas() {
  local word
  for word in ${REPLICAS:-}; do
    services | grep -x -- "${word%%=*}" >/dev/null || die "REPLICAS names ${word%%=*}, but the services are: $(services | xargs)"
    [[ ${word#*=} =~ ^[1-8]$ ]] || die "REPLICAS says $word: a service has 1 to 8 replicas"
  done
}

# alive NAME: the process we started as SERVICE-K runs, and its id was not given to another one since.
alive() {
  local pid
  pid=$(cat "$here/$1.pid" 2>/dev/null) && [ -n "$pid" ] && ps -o args= -p "$pid" 2>/dev/null | grep -F "bin/${1%-*} " >/dev/null
}

# default NAME VALUE: sets NAME for the services, unless the environment does, for all of them or for each.
default() { [ -n "${!1:-}" ] || export "$1=$2"; }

# database SERVICE: the DSN of the service's own database, which is made if need be.
database() {
  local name; name=floodgate_$(printf %s "$1" | tr - _)
  [ -n "$(psql "$POSTGRES_DSN" -qAtc "SELECT 1 FROM pg_database WHERE datname = '$name'")" ] ||
    psql "$POSTGRES_DSN" -qc "CREATE DATABASE $name" >&2 || die "Postgres would not make the database $name"
  printf %s "$POSTGRES_DSN" | sed -E "s#^(postgres(ql)?://[^/]*/)[^?]*#\1$name#"
}

settings() {
  servers_env
  default FLOODGATE_KAFKA_BROKERS "$KAFKA_BROKERS"
  default FLOODGATE_KAFKA_PARTITIONS 4
  default FLOODGATE_KAFKA_REPLICATION 1
  [ -n "${FLOODGATE_REDIS_ADDRS:-}" ] || default ORDER_API_REDIS_ADDRS "$REDIS_ADDR"
  default ORDER_API_TRUST_CAPTURED on
  given '(FLOODGATE|ORDER_API)_AUTH_(KEY|JWKS)' || default ORDER_API_AUTH_KEY_FILE "$(auth_key)"
  given '(FLOODGATE|DLQ_REPLAYER)_AUTH_(KEY|JWKS)' || default DLQ_REPLAYER_AUTH_KEY_FILE "$(auth_key)"
  local service own dsn
  command -v psql >/dev/null || apt_install postgresql-client
  for service in $(services); do
    own=$(upper "$service")_DATABASE_DSN
    given "FLOODGATE_DATABASE_DSN|$own" && continue
    dsn=$(database "$service")
    export "$own=$dsn"
  done
}

# setting SERVICE KEY: what the service itself says its setting is.
setting() { "bin/$1" config 2>/dev/null | awk -v key="$2" '$1 == key { print $2 }' || true; }

# start SERVICE K
start() {
  local name=$1-$2 own port ops
  own=$(upper "$1")
  port=$(setting "$1" port) ops=$(setting "$1" ops_port)
  [ -n "$port" ] && [ -n "$ops" ] || { "bin/$1" config >&2 || true; die "$1 cannot read its settings"; }
  port=$((port + 10 * $2)) ops=$((ops + 10 * $2))
  (export "${own}_PORT=$port" "${own}_OPS_PORT=$ops"
   exec setsid nohup "bin/$1" serve </dev/null >>"$here/$name.log" 2>&1) &
  printf '%s\n' $! >"$here/$name.pid"
  printf '%s %s\n' "$port" "$ops" >"$here/$name.ports"
}

# ready NAME: its operations door says so, in two seconds: a frozen process would keep us for ever.
ready() {
  local ops status
  read -r _ ops <"$here/$1.ports"
  status=$( (exec 3<>"/dev/tcp/127.0.0.1/$ops" && printf 'GET /readyz HTTP/1.0\r\n\r\n' >&3 && timeout 2 head -n 1 <&3) 2>/dev/null || true)
  [[ $status == *" 200 "* ]]
}

# await NAME UNTIL: returns when it is ready; otherwise shows the end of its log.
await() {
  while true; do
    if ! alive "$1"; then
      tail -n 12 "$here/$1.log" >&2; rm -f "$here/$1.pid"
      die "$1 ended instead of getting ready; its log is .floodgate/up/$1.log"
    fi
    ! ready "$1" || return 0
    if [ "$SECONDS" -ge "$2" ]; then
      tail -n 12 "$here/$1.log" >&2
      die "$1 was not ready within $patience s; its log is .floodgate/up/$1.log"
    fi
    sleep 0.1
  done
}

# door SERVICE: where its first replica is asked.
door() {
  local port
  read -r port _ <"$here/$1-0.ports"
  printf 'http://127.0.0.1:%s' "$port"
}

# announce writes where the suite keeps its parts and is asked, for `make books` and `make poison`.
announce() {
  local service dsn comma=
  {
    printf '{"http":"%s","replayer":"%s",' "$(door order-api)" "$(door dlq-replayer)"
    printf '"kafka":"%s","prefix":"%s","databases":{' "$FLOODGATE_KAFKA_BROKERS" "${FLOODGATE_KAFKA_TOPIC_PREFIX:-}"
    for service in $(services); do
      dsn=$(upper "$service")_DATABASE_DSN
      printf '%s"%s":"%s"' "$comma" "$service" "${!dsn:-${FLOODGATE_DATABASE_DSN:-}}"
      comma=,
    done
    printf '}}\n'
  } >"$here/suite.json.new"
  mv "$here/suite.json.new" "$here/suite.json"
}

# remember writes what the services are set to, secrets included, for their commands in an operator's shell.
remember() {
  local name
  (
    umask 077
    exec >"$here/env.new"
    printf '# What the services of make up are set to: source this file before their commands.\n'
    for name in $(compgen -e | grep -E '^(FLOODGATE|ORDER_API|INVENTORY|POINTS|LOGISTICS|DLQ_REPLAYER)_'); do
      printf 'export %s=%q\n' "$name" "${!name}"
    done
  )
  mv "$here/env.new" "$here/env"
}

up() {
  local service k wanted=() begun=0
  check_replicas
  mkdir -p "$here"
  settings
  for service in $(services); do
    for k in $(seq 0 $(($(replicas "$service") - 1))); do
      wanted+=("$service-$k")
      alive "$service-$k" && continue
      start "$service" "$k"
      begun=$((begun + 1))
    done
  done
  local until=$((SECONDS + patience)) name
  for name in "${wanted[@]}"; do await "$name" "$until"; done
  announce
  remember
  say "up: ${#wanted[@]} services ready, $begun started now; logs are in .floodgate/up"
  ps_table >&2
}

down() {
  local file pids=()
  for file in "$here"/*.pid; do
    [ -f "$file" ] || continue
    ! alive "$(basename "$file" .pid)" || { pids+=("$(cat "$file")"); kill "${pids[-1]}" 2>/dev/null || true; }
  done
  local until=$((SECONDS + 30)) pid
  for pid in "${pids[@]}"; do
    while kill -0 "$pid" 2>/dev/null; do
      [ "$SECONDS" -lt "$until" ] || { kill -9 "$pid" 2>/dev/null || true; say "down: process $pid did not stop and was killed"; break; }
      sleep 0.1
    done
  done
  rm -f "$here"/*.pid "$here"/*.ports "$here/suite.json" "$here/env"
  say "down: ${#pids[@]} services stopped; their data stays"
}

ps_table() {
  local file name port ops
  printf '%-16s %-8s %-6s %-6s %s\n' SERVICE PID DOOR OPS STATE
  for file in "$here"/*.pid; do
    [ -f "$file" ] || continue
    name=$(basename "$file" .pid)
    read -r port ops <"$here/$name.ports"
    printf '%-16s %-8s %-6s %-6s %s\n' "$name" "$(cat "$file")" "$port" "$ops" \
      "$(alive "$name" || { echo ended; exit; }; ready "$name" && echo ready || echo 'not ready')"
  done
}

case ${1:-} in
  up | down) "$1" ;;
  ps) ps_table ;;
  *) die "usage: up.sh up|down|ps" ;;
esac
