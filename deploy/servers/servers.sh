#!/usr/bin/env bash
# Starts (up) and stops (down) real Postgres, Redis and Apache Kafka as plain processes on loopback.
# What is missing is installed. Data stays in .floodgate/servers; running `up` twice is harmless.
# A server whose address is already in the environment (POSTGRES_DSN, REDIS_ADDR, KAFKA_BROKERS) is used as it is.
set -euo pipefail

. "$(dirname "${BASH_SOURCE[0]}")/shell.sh"
here=$root/deploy/servers
data=$state/servers
pg_port=15432 redis_port=16379 kafka_port=19092 controller_port=19093
mkdir -p "$data"

listening() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# await PORT SECONDS NAME LOG: returns once the port answers; otherwise shows the end of the log.
await() {
  for _ in $(seq $(($2 * 10))); do listening "$1" && return; sleep 0.1; done
  tail -n 20 "$4" >&2 || true
  die "$3 did not open port $1 within $2 s; its log is $4"
}

# ours PIDFILE: the process we started is alive.
ours() { [ -f "$1" ] && kill -0 "$(head -n 1 "$1")" 2>/dev/null; }

# claim PORT PIDFILE NAME: 0 when we must start it, 1 when ours already runs, an error when a stranger holds the port.
claim() {
  listening "$1" || return 0
  ours "$2" && return 1
  die "port $1 is taken by another process; stop it, or name that server in the environment ($3) to use it"
}

# Debian keeps the server's programs out of PATH.
pg_bin() {
  local dir; dir=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1 || true)
  [ -n "$dir" ] || dir=$(dirname "$(command -v initdb)" 2>/dev/null || true)
  [ -x "$dir/initdb" ] && printf %s "$dir" || true
}

# Postgres refuses to run as root, so root hands the work to the package's own user.
as_pg() { if [ "$(id -u)" = 0 ]; then runuser -u postgres -- "$@"; else "$@"; fi; }

# The data directory must be reachable for that user: a clone below /root is not.
pg_home() {
  local dir=$data/postgres
  if [ "$(id -u)" = 0 ] && ! runuser -u postgres -- test -x "$data"; then
    dir=/var/tmp/floodgate-postgres-$(printf %s "$root" | cksum | cut -d' ' -f1)
  fi
  printf %s "$dir"
}

up_postgres() {
  [ -n "$(pg_bin)" ] || apt_install postgresql
  local bin dir; bin=$(pg_bin); dir=$(pg_home)
  if [ ! -f "$dir/data/PG_VERSION" ]; then
    mkdir -p "$dir/data"
    [ "$(id -u)" != 0 ] || chown -R postgres "$dir"
    (cd / && as_pg "$bin/initdb" -D "$dir/data" -U floodgate -A trust -E UTF8 --locale=C) >"$data/initdb.log" 2>&1 ||
      { tail "$data/initdb.log" >&2; die "initdb: see $data/initdb.log"; }
    cat >>"$dir/data/postgresql.conf" <<CONF
listen_addresses = '127.0.0.1'
port = $pg_port
unix_socket_directories = ''
max_connections = 400
shared_buffers = 512MB
max_wal_size = 4GB
synchronous_commit = on
log_min_messages = warning
log_min_error_statement = panic
CONF
  fi
  if claim $pg_port "$dir/data/postmaster.pid" POSTGRES_DSN; then
    (cd / && as_pg "$bin/pg_ctl" -D "$dir/data" -l "$dir/log" -w -t 60 start) >"$data/pg_ctl.log" 2>&1 ||
      { tail "$dir/log" "$data/pg_ctl.log" >&2; die "Postgres did not start; its log is $dir/log"; }
  fi
}

up_redis() {
  command -v redis-server >/dev/null || apt_install redis-server
  mkdir -p "$data/redis"
  claim $redis_port "$data/redis.pid" REDIS_ADDR || return 0
  (cd "$data/redis" && exec setsid nohup redis-server --port $redis_port --bind 127.0.0.1 --appendonly yes --save '' \
    --dir "$data/redis" </dev/null >>"$data/redis.log" 2>&1) &
  echo $! >"$data/redis.pid"
  await $redis_port 20 Redis "$data/redis.log"
}

# The jars are copied once a version; the stamp is the pom itself.
kafka_jars() {
  if ! cmp -s "$here/kafka/pom.xml" "$data/kafka-lib/pom.xml"; then
    command -v mvn >/dev/null || apt_install maven
    say "servers: fetching Apache Kafka's jars with Maven"
    rm -rf "$data/kafka-lib"
    mvn -q -B -f "$here/kafka/pom.xml" org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies \
      -DincludeScope=runtime -DoutputDirectory="$data/kafka-lib" >"$data/mvn.log" 2>&1 ||
      { tail "$data/mvn.log" >&2; die "Maven could not fetch Kafka's jars; see $data/mvn.log"; }
    cp "$here/kafka/pom.xml" "$data/kafka-lib/pom.xml"
  fi
}

up_kafka() {
  command -v java >/dev/null || apt_install default-jre-headless
  kafka_jars
  local dir=$data/kafka lib="$data/kafka-lib/*"
  mkdir -p "$dir"
  cat >"$dir/server.properties" <<CONF
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$controller_port
listeners=PLAINTEXT://127.0.0.1:$kafka_port,CONTROLLER://127.0.0.1:$controller_port
advertised.listeners=PLAINTEXT://127.0.0.1:$kafka_port
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=$dir/data
offsets.topic.replication.factor=1
offsets.topic.num.partitions=8
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
auto.create.topics.enable=false
delete.topic.enable=true
log.retention.check.interval.ms=5000
log.segment.delete.delay.ms=1000
CONF
  if [ ! -f "$dir/data/meta.properties" ]; then
    java -cp "$lib" kafka.tools.StorageTool format "--cluster-id=$(head -c 16 /dev/urandom | base64 | tr '+/' '-_' | tr -d =)" \
      -c "$dir/server.properties" >"$data/kafka-format.log" 2>&1 ||
      { tail "$data/kafka-format.log" >&2; die "formatting Kafka's storage; see $data/kafka-format.log"; }
  fi
  claim $kafka_port "$data/kafka.pid" KAFKA_BROKERS || return 0
  (exec setsid nohup java -Xms256m -Xmx512m -XX:+UseG1GC -Dlog4j2.configurationFile="$here/kafka/log4j2.yaml" -cp "$lib" \
    kafka.Kafka "$dir/server.properties" </dev/null >>"$data/kafka.log" 2>&1) &
  echo $! >"$data/kafka.pid"
  await $kafka_port 60 Kafka "$data/kafka.log"
}

up() {
  [ -n "${POSTGRES_DSN:-}" ] || up_postgres
  [ -n "${REDIS_ADDR:-}" ] || up_redis
  [ -n "${KAFKA_BROKERS:-}" ] || up_kafka
  cat >"$state/servers.env.new" <<ENV
POSTGRES_DSN=${POSTGRES_DSN:-postgres://floodgate@127.0.0.1:$pg_port/postgres?sslmode=disable}
REDIS_ADDR=${REDIS_ADDR:-127.0.0.1:$redis_port}
KAFKA_BROKERS=${KAFKA_BROKERS:-127.0.0.1:$kafka_port}
ENV
  mv "$state/servers.env.new" "$state/servers.env"
  say "servers: ready; addresses are in .floodgate/servers.env"
}

# stop PIDFILE: ends the process we started, by its id, and waits for it.
stop() {
  ours "$1" || { rm -f "$1"; return 0; }
  local pid; pid=$(head -n 1 "$1")
  kill "$pid"
  for _ in $(seq 150); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
  kill -9 "$pid" 2>/dev/null || true
  rm -f "$1"
}

down() {
  stop "$data/kafka.pid"
  stop "$data/redis.pid"
  local dir; dir=$(pg_home)
  if ours "$dir/data/postmaster.pid"; then
    (cd / && as_pg "$(pg_bin)/pg_ctl" -D "$dir/data" -m fast -w stop) >"$data/pg_ctl.log" 2>&1 || die "Postgres did not stop; see $data/pg_ctl.log"
  fi
  rm -f "$state/servers.env"
  say "servers: stopped; their data stays in .floodgate/servers (make clean removes it)"
}

# wipe forgets everything that was stored, the suite of `make run` included.
wipe() {
  local pid; pid=$(sed -n 's/.*"pid": *\([0-9]*\).*/\1/p' "$state/local/suite.json" 2>/dev/null || true)
  [ -z "$pid" ] || ! kill -0 "$pid" 2>/dev/null || die "\`make run\` is running (process $pid): end it first"
  down
  rm -rf "$(pg_home)" "$state"
  say "servers: wiped"
}

case ${1:-} in
  up | down | wipe) "$1" ;;
  *) die "usage: servers.sh up|down|wipe" ;;
esac
