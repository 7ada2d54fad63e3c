#!/usr/bin/env bash
# images.sh VERSION SBOM_TOOL: an image of each service and its bill of materials, with docker, podman or buildah, whichever
# works here. The binaries are compiled on this machine and nothing is pulled: the images hold nothing else.
#
#   REGISTRY=registry.example/shop   what the images' names begin with       PUSH=1   push them there
#   IMAGE_TOOL=podman                the tool, where more than one works
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../servers/shell.sh"
cd "$root"
version=$1 sbom=$2
registry=${REGISTRY:-localhost/floodgate}
out=bin/images log=$state/images.log
dockerfile=deploy/docker/Dockerfile

# works TOOL: it is here and can build. docker needs its engine, and BuildKit to take the binaries from a folder.
works() {
  case $1 in
    docker) docker info >/dev/null 2>&1 && docker buildx version >/dev/null 2>&1 ;;
    podman) podman info >/dev/null 2>&1 ;;
    buildah) buildah info >/dev/null 2>&1 ;;
    *) die "IMAGE_TOOL is $1: it must be docker, podman or buildah" ;;
  esac
}

choose() {
  local tool
  for tool in ${IMAGE_TOOL:-docker podman buildah}; do
    if command -v "$tool" >/dev/null && works "$tool"; then printf %s "$tool"; return; fi
  done
  die "no ${IMAGE_TOOL:-docker engine with buildx, podman or buildah} works here: install one of them, such as podman, and run this again"
}

# build SERVICE NAME: the same binaries give the same image, whose time is the commit's.
build() {
  local args=(--target "$1" --tag "$2" --file "$dockerfile" --build-context "build=$out" --build-arg "VERSION=$version")
  case $tool in
    docker) docker buildx build --load --provenance=false --build-arg "SOURCE_DATE_EPOCH=$SOURCE_DATE_EPOCH" "${args[@]}" deploy/docker ;;
    *) "$tool" build --format docker --layers=false --timestamp "$SOURCE_DATE_EPOCH" "${args[@]}" deploy/docker ;;
  esac >"$log" 2>&1 || { tail -n 20 "$log" >&2; die "$tool could not build $2; its log is $log"; }
}

# bill SERVICE: what is in the image. It holds the binary and nothing else: the bill of the one is the bill of the other.
bill() {
  deploy/docker/bill.sh "$sbom" "$version" "$out/$1" >"$log" 2>&1 || { cat "$log" >&2; die "no bill of materials of $1; see above"; }
}

tool=$(choose)
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
export SOURCE_DATE_EPOCH
mkdir -p "$state"
rm -rf "$out"
say "images: compiling"
deploy/docker/compile.sh "$out" "$version"
for service in $(ls services); do
  name=$registry/$service:$version
  build "$service" "$name"
  bill "$service"
  [ -z "${PUSH:-}" ] || "$tool" push "$name" >&2 || die "$tool could not push $name: are you signed in ($tool login ${registry%%/*})?"
  printf '%s\n' "$name"
  printf '%s %s %s\n' "$tool" "$service" "$name" >>"$out/built"
done
say "images: built with $tool; their bills of materials are $out/*.cdx.json"
