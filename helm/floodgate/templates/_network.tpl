{{/* A rule for what goes out. Takes ports, to (empty: anywhere), udp. */}}
{{- define "floodgate.egress" -}}
- ports:
    {{- $udp := .udp }}
    {{- range .ports }}
    - {port: {{ int . }}, protocol: TCP}
    {{- if $udp }}
    - {port: {{ int . }}, protocol: UDP}
    {{- end }}
    {{- end }}
  {{- with .to }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}

{{/* Pods of this release. Takes root and components. */}}
{{- define "floodgate.peers" -}}
- podSelector:
    matchLabels:
      {{- include "floodgate.selector" (dict "root" .root) | nindent 6 }}
    matchExpressions:
      - {key: app.kubernetes.io/component, operator: In, values: {{ toJson .components }}}
{{- end -}}

{{/* The port of an address. */}}
{{- define "floodgate.urlPort" -}}
{{- $host := (urlParse .).host -}}
{{- if regexMatch ":[0-9]+$" $host }}{{ splitList ":" $host | last }}{{ else }}{{ ternary "443" "80" (hasPrefix "https:" .) }}{{ end -}}
{{- end -}}

{{/* What may come in to a service. Takes root and svc; empty: nothing. */}}
{{- define "floodgate.ins" -}}
{{- $np := .root.Values.networkPolicy -}}
{{- with $np.prometheus }}
- ports: [{port: {{ $.svc.ops }}, protocol: TCP}]
  from:
    {{- toYaml . | nindent 4 }}
{{- end }}
{{- if eq .svc.protocol "grpc" }}
- ports: [{port: {{ .svc.port }}, protocol: TCP}]
  from:
    {{- include "floodgate.peers" (dict "root" .root "components" (list "order-api")) | nindent 4 }}
{{- else if eq .svc.name "order-api" }}
- ports: [{port: {{ .svc.port }}, protocol: TCP}]
  {{- with $np.door }}
  from:
    {{- include "floodgate.peers" (dict "root" $.root "components" (list "smoke")) | nindent 4 }}
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- else if $np.console }}
- ports: [{port: {{ .svc.port }}, protocol: TCP}]
  from:
    {{- toYaml $np.console | nindent 4 }}
{{- end }}
{{- end -}}

{{/* What a service may reach besides what every pod may. Takes root and svc; empty: nothing. */}}
{{- define "floodgate.outs" -}}
{{- $v := .root.Values -}}
{{- if eq .svc.name "order-api" }}
- ports:
    - {port: 9101, protocol: TCP}
    - {port: 9102, protocol: TCP}
    - {port: 9103, protocol: TCP}
  to:
    {{- include "floodgate.peers" (dict "root" .root "components" (list "inventory" "points" "logistics")) | nindent 4 }}
{{- end }}
{{- if include "floodgate.redis" . }}
{{- $ports := include "floodgate.ports" $v.redis.addrs | fromJsonArray }}
{{- if $v.redis.masterName }}{{ $ports = append $ports 6379 | uniq }}{{ end }}
{{ include "floodgate.egress" (dict "ports" $ports "to" $v.networkPolicy.redis) }}
{{- end }}
{{- if and .svc.auth $v.auth.jwksUrl }}
{{ include "floodgate.egress" (dict "ports" (list (include "floodgate.urlPort" $v.auth.jwksUrl)) "to" $v.networkPolicy.jwks) }}
{{- end }}
{{- end -}}
