#!/bin/sh
# bill.sh TOOL VERSION BINARY: writes BINARY.cdx.json, the bill of materials of a service: every module that is linked into it,
# and Go's own library. The same binary has the same bill.
set -eu

exec "$1" bin -json -std -noserial -notimestamp -version "$2" -output "$3.cdx.json" "$3"
