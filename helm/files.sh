#!/usr/bin/env bash
# files.sh DIR: what the chart holds of other folders, and its README. A chart can only read what lies in it.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../deploy/servers/shell.sh"
cd "$root/helm/floodgate"
for pair in prometheus/rules:rules:yaml grafana/dashboards:dashboards:json; do
  IFS=: read -r from to ext <<<"$pair"
  rm -rf "files/$to"
  mkdir -p "files/$to"
  find "$root/deploy/$from" -maxdepth 1 -name "*.$ext" -exec cp {} "files/$to/" \; 2>/dev/null || true
done
"$1/helm-docs" --chart-search-root . --log-level warning
