{{/* What the schema cannot say: values that only make sense together. Each complaint says what to set. */}}
{{- define "floodgate.check" -}}
{{- $v := .Values -}}
{{- $bad := list -}}
{{- $keys := 0 -}}
{{- range list $v.auth.existingSecret $v.auth.jwksUrl $v.auth.jwks.configMap }}{{ if . }}{{ $keys = add1 $keys }}{{ end }}{{ end -}}
{{- if ne (int $keys) 1 }}{{ $bad = append $bad "set exactly one of auth.existingSecret, auth.jwksUrl and auth.jwks.configMap: it says whose tokens are believed" }}{{ end -}}
{{- if and $v.kafka.sasl.mechanism (not (and $v.kafka.sasl.username $v.kafka.sasl.existingSecret)) }}{{ $bad = append $bad "kafka.sasl.mechanism needs kafka.sasl.username and kafka.sasl.existingSecret" }}{{ end -}}
{{- range $name, $part := dict "kafka" $v.kafka "redis" $v.redis -}}
  {{- if and (not $part.tls.enabled) (or $part.tls.ca.existingSecret $part.tls.client.existingSecret) }}{{ $bad = append $bad (printf "%[1]s.tls.ca and %[1]s.tls.client need %[1]s.tls.enabled" $name) }}{{ end -}}
{{- end -}}
{{- if and $v.database.ca.existingSecret (not (hasPrefix "verify" $v.database.sslmode)) }}{{ $bad = append $bad "database.ca.existingSecret needs database.sslmode verify-full or verify-ca" }}{{ end -}}
{{- if and $v.redis.cluster $v.redis.masterName }}{{ $bad = append $bad "redis.cluster and redis.masterName contradict each other: a Cluster has no sentinels" }}{{ end -}}
{{- if and $v.redis.username (not $v.redis.existingSecret) }}{{ $bad = append $bad "redis.username needs redis.existingSecret" }}{{ end -}}
{{- if and $v.ingress.enabled (not $v.ingress.host) }}{{ $bad = append $bad "ingress.enabled needs ingress.host" }}{{ end -}}
{{- if and $v.httpRoute.enabled (not $v.httpRoute.parentRefs) }}{{ $bad = append $bad "httpRoute.enabled needs httpRoute.parentRefs: the Gateway it belongs to" }}{{ end -}}
{{- range $name := keys (include "floodgate.facts" . | fromYaml) | sortAlpha -}}
  {{- $svc := dict }}{{ include "floodgate.service" (dict "root" $ "name" $name "into" $svc) -}}
  {{- if not $svc.database.host }}{{ $bad = append $bad (printf "set database.host, or services.%s.database.host" $name) }}{{ end -}}
  {{- if not $svc.database.existingSecret }}{{ $bad = append $bad (printf "set database.existingSecret, or services.%s.database.existingSecret" $name) }}{{ end -}}
  {{- $least := add (int $svc.preStopSeconds) (int $svc.drainDelaySeconds) 30 | int -}}
  {{- if lt (int $svc.terminationGracePeriodSeconds) $least }}{{ $bad = append $bad (printf "the terminationGracePeriodSeconds of %s must be %d or more: its preStopSeconds, its drainDelaySeconds, and 30, for a service takes up to 25 s to finish what it has" $name $least) }}{{ end -}}
  {{- if and $svc.autoscaling.enabled (eq $name "dlq-replayer") }}{{ $bad = append $bad "dlq-replayer does not scale by itself: set services.dlq-replayer.autoscaling.enabled to false" }}{{ end -}}
  {{- if and $svc.autoscaling.enabled (ne $name "order-api") (gt (int $svc.autoscaling.minReplicas) (int $v.kafka.partitions)) }}{{ $bad = append $bad (printf "the autoscaling.minReplicas of %s is %d, but kafka.partitions is %d: pods beyond the partitions would have nothing to do" $name (int $svc.autoscaling.minReplicas) (int $v.kafka.partitions)) }}{{ end -}}
  {{- if lt (int $svc.autoscaling.maxReplicas) (int $svc.autoscaling.minReplicas) }}{{ $bad = append $bad (printf "the autoscaling.maxReplicas of %s is below its minReplicas" $name) }}{{ end -}}
  {{- if and $svc.redis (not $v.redis.addrs) (ne (get $svc.settings "gate" | default (get $v.settings "gate") | toString) "off") }}{{ $bad = append $bad "set redis.addrs, or services.order-api.settings.gate to \"off\"" }}{{ end -}}
{{- end -}}
{{- with $bad }}{{ fail (printf "\n\nThese values cannot work together:\n  - %s\n" (join "\n  - " (uniq .))) }}{{ end -}}
{{- end -}}
