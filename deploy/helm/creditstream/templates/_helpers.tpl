{{- define "creditstream.fullname" -}}
{{- if contains "creditstream" .Release.Name }}{{ .Release.Name | trunc 53 | trimSuffix "-" }}{{ else }}{{ printf "%s-creditstream" .Release.Name | trunc 53 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "creditstream.selector" -}}
app.kubernetes.io/name: creditstream
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "creditstream.labels" -}}
{{ include "creditstream.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "creditstream.image" -}}
{{- if .Values.image.digest }}{{ .Values.image.repository }}@{{ .Values.image.digest }}{{ else }}{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ end }}
{{- end }}

{{- /* The file of settings: those of values, and those that follow from where things are mounted. */}}
{{- define "creditstream.config" -}}
{{- $config := deepCopy .Values.config }}
{{- $_ := set $config "http" "0.0.0.0:8080" }}
{{- $_ := set $config "deck" "/etc/creditstream/deck" }}
{{- $_ := set $config "tokens" "/etc/creditstream/secrets/tokens" }}
{{- if .Values.signingSecrets }}{{- $_ := set $config "signing-secrets" "/etc/creditstream/secrets/signing-secrets" }}{{- end }}
{{- if .Values.tls }}
{{- $_ := set $config "tls-cert" "/etc/creditstream/secrets/tls.crt" }}
{{- $_ := set $config "tls-key" "/etc/creditstream/secrets/tls.key" }}
{{- else }}
{{- $_ := set $config "plain-http" true }}
{{- end }}
{{- toYaml $config }}
{{- end }}
