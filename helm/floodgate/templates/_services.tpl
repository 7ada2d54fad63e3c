{{/* What the five services are, and what the values say of one. */}}

{{/* Doors and habits; docs say the same: order-api 8080, gRPC from 9101, operations doors from 9180. */}}
{{- define "floodgate.facts" -}}
order-api: {port: 8080, ops: 9180, protocol: http, redis: true, auth: true}
inventory: {port: 9101, ops: 9181, protocol: grpc, group: inventory}
points: {port: 9102, ops: 9182, protocol: grpc, group: points}
logistics: {port: 9103, ops: 9183, protocol: grpc, group: logistics}
dlq-replayer: {port: 8085, ops: 9184, protocol: http, auth: true}
{{- end -}}

{{/*
Fills .into with everything known of service .name: its facts, and its values over the defaults. Maps are merged one level
deep. (Sprig's mergeOverwrite would not let a service say false, 0 or "" against a default.)
*/}}
{{- define "floodgate.service" -}}
{{- $into := .into -}}
{{- range $key, $value := deepCopy .root.Values.defaults }}{{ $_ := set $into $key $value }}{{ end -}}
{{- range $key, $value := get .root.Values.services .name | default dict -}}
  {{- if and (kindIs "map" $value) (kindIs "map" (get $into $key)) -}}
    {{- range $inner, $v := $value }}{{ $_ := set (get $into $key) $inner $v }}{{ end -}}
  {{- else -}}
    {{- $_ := set $into $key $value -}}
  {{- end -}}
{{- end -}}
{{- range $key, $value := get (include "floodgate.facts" .root | fromYaml) .name }}{{ $_ := set $into $key $value }}{{ end -}}
{{- $_ := set $into "name" .name -}}
{{- $_ := set $into "prefix" (.name | upper | replace "-" "_") -}}
{{- $db := $into.database -}}
{{- $_ := set $db "host" (default .root.Values.database.host $db.host) -}}
{{- $_ := set $db "existingSecret" (default .root.Values.database.existingSecret $db.existingSecret) -}}
{{- $_ := set $db "name" (default (printf "floodgate_%s" (.name | replace "-" "_")) $db.name) -}}
{{- $ops := $into.ops | int }}{{ $_ := set $into "ops" $ops -}}
{{- $port := $into.port | int }}{{ $_ := set $into "port" $port -}}
{{- end -}}

{{/* The image of a service. Takes root and svc. */}}
{{- define "floodgate.image" -}}
{{- $repository := printf "%s/floodgate-%s" (trimSuffix "/" .root.Values.image.registry) .svc.name -}}
{{- if .svc.digest -}}
{{ $repository }}@{{ .svc.digest }}
{{- else -}}
{{ $repository }}:{{ default .root.Chart.AppVersion .root.Values.image.tag }}
{{- end -}}
{{- end -}}

{{/* Whether order-api needs Redis. Takes root and svc; empty for no. */}}
{{- define "floodgate.redis" -}}
{{- if and .svc.redis .root.Values.redis.addrs }}yes{{ end -}}
{{- end -}}

{{/* The ports of a list of host:port, each once, as YAML. */}}
{{- define "floodgate.ports" -}}
{{- $ports := list -}}
{{- range . }}{{ $ports = append $ports (splitList ":" . | last | int) }}{{ end -}}
{{- $ports | uniq | toJson -}}
{{- end -}}
