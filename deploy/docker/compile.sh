#!/bin/sh
# compile.sh DIR [VERSION] [SERVICE...]: the services' binaries as they go into images, all of them unless some are named.
# The same commit and version give the same bytes, in whatever folder and on whatever machine.
set -eu
cd "$(dirname "$0")/../.."

out=$1 version=${2:-unversioned}
shift; [ $# = 0 ] || shift
[ $# -gt 0 ] || set -- $(ls services)

# Nothing of this machine goes in: no paths, no state of the checkout, no taste in processors, and not its Go but the one that
# the Dockerfile names, which Go fetches where it is another. TARGETARCH is how docker and podman say whom an image is for.
GOTOOLCHAIN=go$(sed -n 's/^FROM .*golang:\([0-9.]*\) AS build$/\1/p' deploy/docker/Dockerfile)
GOFLAGS='-trimpath -buildvcs=false' CGO_ENABLED=0 GOOS=linux GOARCH=${TARGETARCH:-$(go env GOHOSTARCH)}
GOAMD64=v1 GOARM64=v8.0 GOEXPERIMENT=
export GOTOOLCHAIN GOFLAGS CGO_ENABLED GOOS GOARCH GOAMD64 GOARM64 GOEXPERIMENT

mkdir -p "$out"
for service; do
  go build -ldflags "-s -w -buildid= -X github.com/floodgate-dev/floodgate/pkg/run.stamped=$version" \
    -o "$out/$service" "./services/$service/cmd/$service"
  # A layer keeps the times of its files.
  [ -z "${SOURCE_DATE_EPOCH:-}" ] || touch -d "@$SOURCE_DATE_EPOCH" "$out/$service"
done
