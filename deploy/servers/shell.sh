# What the scripts of this folder share. Source it.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
state=$root/.floodgate

# say and die speak to people: stdout is for data.
say() { printf '%s\n' "$*" >&2; }
die() { say "$(basename "$0" .sh): $*"; exit 1; }

# apt_install PACKAGE...: installs as root on Debian; elsewhere one sentence says what to install.
apt_install() {
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || die "missing: $*. Install $* with your package manager and run this again"
  say "installing $*"
  mkdir -p "$state"
  { DEBIAN_FRONTEND=noninteractive apt-get update -q &&
    DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@"; } >"$state/apt.log" 2>&1 ||
    { tail -n 20 "$state/apt.log" >&2; die "apt-get could not install $*"; }
}

# auth_key prints the path of the key that signs tokens, made once and shared by `make run` and `make up`. It is linked
# into place, so that two starters agree on one key.
auth_key() {
  local key=$state/auth.key
  if [ ! -s "$key" ]; then
    mkdir -p "$state"
    (umask 077; head -c 32 /dev/urandom | od -An -vtx1 | tr -d ' \n' >"$key.$$")
    ln "$key.$$" "$key" 2>/dev/null || true
    rm -f "$key.$$"
  fi
  printf %s "$key"
}

# given REGEX: the environment has a name that begins like this.
given() { compgen -e | grep -E "^($1)" >/dev/null; }

# servers_env reads the addresses that `make servers` wrote; the environment wins.
servers_env() {
  local name value
  [ -f "$state/servers.env" ] || die "no servers: run \`make servers\` first"
  while IFS='=' read -r name value; do
    [ -n "${!name:-}" ] || export "$name=$value"
  done <"$state/servers.env"
}
