{{/* What all pods are made of: those of services, jobs and the test. Each takes root and svc. */}}

{{- define "floodgate.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "floodgate.containerSecurity" -}}
allowPrivilegeEscalation: false
privileged: false
readOnlyRootFilesystem: true
runAsNonRoot: true
runAsUser: 65532
capabilities:
  drop: [ALL]
{{- end -}}

{{/* The settings of a service. Secrets are files: an environment is read by whoever may look at the process. */}}
{{- define "floodgate.env" -}}
{{- $v := .root.Values -}}
{{- $files := "/etc/floodgate" -}}
{{- $full := include "floodgate.fullname" .root -}}
- {name: FLOODGATE_LISTEN_HOST, value: "0.0.0.0"}
- {name: FLOODGATE_PORT, value: {{ .svc.port | quote }}}
- {name: FLOODGATE_OPS_PORT, value: {{ .svc.ops | quote }}}
- name: FLOODGATE_DATABASE_DSN
  value: {{ printf "postgres://%s:%d/%s?sslmode=%s" .svc.database.host (int $v.database.port) .svc.database.name $v.database.sslmode | quote }}
- {name: FLOODGATE_DATABASE_MIGRATE, value: "off"}
- name: FLOODGATE_DATABASE_USERNAME
  valueFrom:
    secretKeyRef: {name: {{ .svc.database.existingSecret | quote }}, key: {{ $v.database.usernameKey | quote }}}
- {name: FLOODGATE_DATABASE_PASSWORD_FILE, value: {{ $files }}/database/password}
{{- if $v.database.ca.existingSecret }}
- {name: FLOODGATE_DATABASE_TLS_CA_FILE, value: {{ $files }}/database/ca.crt}
{{- end }}
- {name: FLOODGATE_KAFKA_BROKERS, value: {{ join "," $v.kafka.brokers | quote }}}
{{- with $v.kafka.topicPrefix }}
- {name: FLOODGATE_KAFKA_TOPIC_PREFIX, value: {{ . | quote }}}
{{- end }}
- {name: FLOODGATE_KAFKA_PARTITIONS, value: {{ $v.kafka.partitions | int | quote }}}
- {name: FLOODGATE_KAFKA_REPLICATION, value: {{ $v.kafka.replication | int | quote }}}
{{- if $v.kafka.tls.enabled }}
- {name: FLOODGATE_KAFKA_TLS_ENABLED, value: "on"}
{{- if $v.kafka.tls.ca.existingSecret }}
- {name: FLOODGATE_KAFKA_TLS_CA_FILE, value: {{ $files }}/kafka/ca.crt}
{{- end }}
{{- if $v.kafka.tls.client.existingSecret }}
- {name: FLOODGATE_KAFKA_TLS_CERT_FILE, value: {{ $files }}/kafka/tls.crt}
- {name: FLOODGATE_KAFKA_TLS_KEY_FILE, value: {{ $files }}/kafka/tls.key}
{{- end }}
{{- end }}
{{- with $v.kafka.sasl.mechanism }}
- {name: FLOODGATE_KAFKA_SASL_MECHANISM, value: {{ . }}}
- {name: FLOODGATE_KAFKA_SASL_USERNAME, value: {{ $v.kafka.sasl.username | quote }}}
- {name: FLOODGATE_KAFKA_SASL_PASSWORD_FILE, value: {{ $files }}/kafka/password}
{{- end }}
{{- if .svc.redis }}
- {name: ORDER_API_INVENTORY_ADDR, value: {{ printf "%s-inventory:9101" $full }}}
- {name: ORDER_API_POINTS_ADDR, value: {{ printf "%s-points:9102" $full }}}
- {name: ORDER_API_LOGISTICS_ADDR, value: {{ printf "%s-logistics:9103" $full }}}
{{- end }}
{{- if include "floodgate.redis" . }}
- {name: ORDER_API_REDIS_ADDRS, value: {{ join "," $v.redis.addrs | quote }}}
{{- if $v.redis.cluster }}
- {name: ORDER_API_REDIS_CLUSTER, value: "on"}
{{- end }}
{{- with $v.redis.username }}
- {name: ORDER_API_REDIS_USERNAME, value: {{ . | quote }}}
{{- end }}
{{- if $v.redis.existingSecret }}
- {name: ORDER_API_REDIS_PASSWORD_FILE, value: {{ $files }}/redis/password}
{{- end }}
{{- if $v.redis.masterName }}
- {name: ORDER_API_REDIS_MASTER_NAME, value: {{ $v.redis.masterName | quote }}}
{{- with $v.redis.sentinel.username }}
- {name: ORDER_API_REDIS_SENTINEL_USERNAME, value: {{ . | quote }}}
{{- end }}
{{- if $v.redis.sentinel.existingSecret }}
- {name: ORDER_API_REDIS_SENTINEL_PASSWORD_FILE, value: {{ $files }}/redis/sentinel-password}
{{- end }}
{{- end }}
{{- if $v.redis.tls.enabled }}
- {name: ORDER_API_REDIS_TLS, value: "on"}
{{- if $v.redis.tls.ca.existingSecret }}
- {name: ORDER_API_REDIS_TLS_CA_FILE, value: {{ $files }}/redis/ca.crt}
{{- end }}
{{- if $v.redis.tls.client.existingSecret }}
- {name: ORDER_API_REDIS_TLS_CERT_FILE, value: {{ $files }}/redis/tls.crt}
- {name: ORDER_API_REDIS_TLS_KEY_FILE, value: {{ $files }}/redis/tls.key}
{{- end }}
{{- end }}
{{- end }}
{{- if .svc.auth }}
{{- if $v.auth.existingSecret }}
- {name: FLOODGATE_AUTH_KEY_FILE, value: {{ $files }}/auth/key}
{{- else if $v.auth.jwks.configMap }}
- {name: FLOODGATE_AUTH_JWKS_FILE, value: {{ $files }}/auth/jwks.json}
{{- else }}
- {name: FLOODGATE_AUTH_JWKS_URL, value: {{ $v.auth.jwksUrl | quote }}}
{{- end }}
{{- with $v.auth.issuer }}
- {name: FLOODGATE_AUTH_ISSUER, value: {{ . | quote }}}
{{- end }}
{{- with $v.auth.audience }}
- {name: FLOODGATE_AUTH_AUDIENCE, value: {{ . | quote }}}
{{- end }}
{{- end }}
{{- if $v.telemetry.otlpEndpoint }}
- {name: OTEL_EXPORTER_OTLP_ENDPOINT, value: {{ $v.telemetry.otlpEndpoint | quote }}}
- {name: OTEL_EXPORTER_OTLP_PROTOCOL, value: {{ $v.telemetry.otlpProtocol }}}
- {name: POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
- {name: OTEL_RESOURCE_ATTRIBUTES, value: "k8s.namespace.name={{ .root.Release.Namespace }},k8s.pod.name=$(POD_NAME),service.namespace={{ .root.Release.Name }}"}
{{- end }}
{{- range $key, $value := $v.settings }}
- {name: {{ printf "FLOODGATE_%s" (upper $key) }}, value: {{ $value | toString | quote }}}
{{- end }}
{{- $prefix := .svc.prefix }}
{{- range $key, $value := .svc.settings }}
- {name: {{ printf "%s_%s" $prefix (upper $key) }}, value: {{ $value | toString | quote }}}
{{- end }}
{{- with .svc.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* One read-only volume with every Secret that the service needs. */}}
{{- define "floodgate.volumes" -}}
{{- $v := .root.Values -}}
- name: secrets
  projected:
    defaultMode: 0440
    sources:
      {{- include "floodgate.source" (list "secret" .svc.database.existingSecret $v.database.passwordKey "database/password") | nindent 6 }}
      {{- with $v.database.ca }}{{ if .existingSecret }}
      {{- include "floodgate.source" (list "secret" .existingSecret .key "database/ca.crt") | nindent 6 }}
      {{- end }}{{ end }}
      {{- if $v.kafka.tls.enabled }}
      {{- include "floodgate.tlsSources" (dict "tls" $v.kafka.tls "of" "kafka") | nindent 6 }}
      {{- end }}
      {{- if $v.kafka.sasl.mechanism }}
      {{- include "floodgate.source" (list "secret" $v.kafka.sasl.existingSecret $v.kafka.sasl.passwordKey "kafka/password") | nindent 6 }}
      {{- end }}
      {{- if include "floodgate.redis" . }}
      {{- if $v.redis.existingSecret }}
      {{- include "floodgate.source" (list "secret" $v.redis.existingSecret $v.redis.passwordKey "redis/password") | nindent 6 }}
      {{- end }}
      {{- if and $v.redis.masterName $v.redis.sentinel.existingSecret }}
      {{- include "floodgate.source" (list "secret" $v.redis.sentinel.existingSecret $v.redis.sentinel.passwordKey "redis/sentinel-password") | nindent 6 }}
      {{- end }}
      {{- if $v.redis.tls.enabled }}
      {{- include "floodgate.tlsSources" (dict "tls" $v.redis.tls "of" "redis") | nindent 6 }}
      {{- end }}
      {{- end }}
      {{- if .svc.auth }}
      {{- if $v.auth.existingSecret }}
      {{- include "floodgate.source" (list "secret" $v.auth.existingSecret $v.auth.key "auth/key") | nindent 6 }}
      {{- else if $v.auth.jwks.configMap }}
      {{- include "floodgate.source" (list "configMap" $v.auth.jwks.configMap $v.auth.jwks.key "auth/jwks.json") | nindent 6 }}
      {{- end }}
      {{- end }}
      {{- with .more }}
      {{- . | nindent 6 }}
      {{- end }}
{{- end -}}

{{/* One key of a Secret or ConfigMap under a path. Takes kind, name, key and path. */}}
{{- define "floodgate.source" -}}
- {{ index . 0 }}: {name: {{ index . 1 | quote }}, items: [{key: {{ index . 2 | quote }}, path: {{ index . 3 }}}]}
{{- end -}}

{{- define "floodgate.tlsSources" -}}
{{- if .tls.ca.existingSecret }}
{{- include "floodgate.source" (list "secret" .tls.ca.existingSecret .tls.ca.key (printf "%s/ca.crt" .of)) }}
{{ end }}
{{- if .tls.client.existingSecret }}
{{- include "floodgate.source" (list "secret" .tls.client.existingSecret .tls.client.certKey (printf "%s/tls.crt" .of)) }}
{{ include "floodgate.source" (list "secret" .tls.client.existingSecret .tls.client.keyKey (printf "%s/tls.key" .of)) }}
{{- end }}
{{- end -}}

{{/* A Job's pod that runs one word of a service. Takes root, svc, component, args, resources; more: further sources of files. */}}
{{- define "floodgate.jobPod" -}}
metadata:
  labels:
    {{- include "floodgate.labels" . | nindent 4 }}
  {{- with .root.Values.jobs.podAnnotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  restartPolicy: Never
  automountServiceAccountToken: false
  enableServiceLinks: false
  {{- with .root.Values.image.pullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - {name: {{ . | quote }}}
    {{- end }}
  {{- end }}
  securityContext:
    {{- include "floodgate.podSecurity" . | nindent 4 }}
  {{- with .svc.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .svc.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: {{ .component }}
      image: {{ include "floodgate.image" . | quote }}
      imagePullPolicy: {{ .root.Values.image.pullPolicy }}
      args: {{ toJson .args }}
      env:
        {{- include "floodgate.env" . | nindent 8 }}
      securityContext:
        {{- include "floodgate.containerSecurity" . | nindent 8 }}
      resources:
        {{- toYaml .root.Values.jobs.resources | nindent 8 }}
      volumeMounts:
        - {name: secrets, mountPath: /etc/floodgate, readOnly: true}
  volumes:
    {{- include "floodgate.volumes" . | nindent 4 }}
{{- end -}}
