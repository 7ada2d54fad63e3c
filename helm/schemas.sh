#!/usr/bin/env bash
# schemas.sh: JSON schemas of the objects that the chart and its examples make, into .floodgate/schemas, once for the
# versions below. They are made from what Kubernetes and its extensions publish with their source, each by its checksum.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../deploy/servers/shell.sh"
cd "$root"
out=$state/schemas

# MODULE@VERSION CHECKSUM FOLDER FILES: the files of a module that describe objects, into a folder of schemas.
sources() {
  cat <<'END'
k8s.io/kubernetes@v1.37.2 h1:A2VDEiObzkYqFTKhSsn0ZEb0RlLEXpHWj93gi2HqEwE= 1.37.2 api/openapi-spec/swagger.json
k8s.io/kubernetes@v1.36.1 h1:Mt7NKigaZ2KmOmCLhX81lGlH9JU5wjXnYhXnxAun9XA= 1.36.1 api/openapi-spec/swagger.json
k8s.io/kubernetes@v1.35.4 h1:o/8dBC/pHVpYoGV4OAIytAlNPZbdYVTXJHoYvXC4qzM= 1.35.4 api/openapi-spec/swagger.json
github.com/prometheus-operator/prometheus-operator@v0.85.0 h1:M5xLCLEoaW2IJfnuCwFzzpL+jSVQu3KGT84Pye+fW8s= extensions example/prometheus-operator-crd/*.yaml
github.com/kedacore/keda/v2@v2.21.0 h1:R6z2HZvstK4RLUMxroNACzBj74xGxt3kG59b5Xc+Xps= extensions config/crd/bases/keda.sh_*.yaml
sigs.k8s.io/gateway-api@v1.6.0 h1:735YBRj5NXFrOGX0GoSjwzUIzbz8kiEOfADsqHFmHgE= extensions config/crd/standard/gateway.networking.k8s.io_*routes.yaml
istio.io/api@v1.31.4 h1:AcnncYrlDj1PJkym7h88Gggkef4MAra8QpGaXRMsr+E= extensions kubernetes/customresourcedefinitions.gen.yaml
END
}

# fetch MODULE@VERSION CHECKSUM: prints the folder of its source.
fetch() {
  local about sum
  about=$(cd /tmp && GOWORK=off GOFLAGS=-mod=mod go mod download -json "$1") || die "$1 could not be fetched: $(printf %s "$about" | grep '"Error"')"
  sum=$(printf %s "$about" | sed -n 's/.*"Sum": "\(.*\)".*/\1/p')
  [ "$sum" = "$2" ] || die "$1 is not what it was: its checksum is $sum, not $2"
  printf %s "$about" | sed -n 's/.*"Dir": "\(.*\)".*/\1/p'
}

stamp=$(sources | cat - test/schemas/schemas.go | cksum)
[ "$(cat "$out/stamp" 2>/dev/null)" != "$stamp" ] || exit 0
rm -rf "$out"
mkdir -p "$out"
go build -o bin/schemas ./test/cmd/schemas
while read -r module sum folder files; do
  say "schemas: $module"
  dir=$(fetch "$module" "$sum")
  bin/schemas --out "$out/$folder" "$dir"/$files
done < <(sources)
printf '%s' "$stamp" >"$out/stamp"
