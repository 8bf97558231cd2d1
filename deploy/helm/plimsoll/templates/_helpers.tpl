{{- define "plimsoll.name" -}}
{{- default .Release.Name .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- /* Labels of every object. Call with (dict "root" $ "component" "agent"). */ -}}
{{- define "plimsoll.labels" -}}
{{ include "plimsoll.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end -}}

{{- /* What selectors match: it never changes over an upgrade. */ -}}
{{- define "plimsoll.selector" -}}
app.kubernetes.io/name: plimsoll
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- /* An image by digest where one is given. Call with (dict "root" $ "name" "agent" "digest" ...). */ -}}
{{- define "plimsoll.image" -}}
{{- $image := .root.Values.image -}}
{{- if .digest -}}
{{ $image.repository }}/{{ .name }}@{{ .digest }}
{{- else -}}
{{ $image.repository }}/{{ .name }}:{{ default .root.Chart.AppVersion $image.tag }}
{{- end -}}
{{- end -}}

{{- define "plimsoll.collector.name" -}}
{{ include "plimsoll.name" . }}-collector
{{- end -}}

{{- /* Where agents send events; empty if nowhere. */ -}}
{{- define "plimsoll.collector.endpoint" -}}
{{- if .Values.collector.enabled -}}
https://{{ include "plimsoll.collector.name" . }}.{{ .Release.Namespace }}.svc:7443
{{- else -}}
{{ .Values.collector.externalEndpoint }}
{{- end -}}
{{- end -}}

{{- define "plimsoll.agent.policies" -}}
{{ default (printf "%s-policies" (include "plimsoll.name" .)) .Values.agent.existingPolicies }}
{{- end -}}

{{- /* The agent's configuration without `node`, which each node's pod adds. */ -}}
{{- define "plimsoll.agent.config" -}}
{{- $agent := .Values.agent -}}
{{- $config := deepCopy $agent.config -}}
{{- $own := dict
  "policies" "/etc/plimsoll/policies"
  "sboms" (printf "%s/sboms" $agent.statePath)
  "state" $agent.statePath
  "socket" (printf "%s/agent.sock" $agent.socketDirectory)
  "host" "/proc/1/root"
  "admin" (printf "%s:%d" $agent.adminAddress (int $agent.adminPort))
-}}
{{- if $agent.registryCredentials -}}
{{- $_ := set $config "registry" (merge (dict "credentials" "/etc/plimsoll/registry/config.json") (default dict $config.registry)) -}}
{{- end -}}
{{- with include "plimsoll.collector.endpoint" . -}}
{{- $tls := dict "ca" "/etc/plimsoll/tls/ca.crt" "certificate" "/etc/plimsoll/tls/tls.crt" "key" "/etc/plimsoll/tls/tls.key" -}}
{{- $_ := set $own "collector" (dict "endpoint" . "tls" $tls) -}}
{{- end -}}
{{- if $agent.nri.enabled -}}
{{- $hook := printf "%s/bin/plimsoll-agent" $agent.hook.directory -}}
{{- $_ := set $own "nri" (merge (dict "socket" (printf "/proc/1/root%s" $agent.nri.socket) "hook" $hook) $agent.nri.config) -}}
{{- end -}}
{{- if $agent.cri.enabled -}}
{{- $_ := set $own "cri" (merge (dict "endpoint" (printf "/proc/1/root%s" $agent.cri.socket)) $agent.cri.config) -}}
{{- end -}}
{{- if $agent.kubernetes.enabled -}}
{{- $_ := set $own "kubernetes" $agent.kubernetes.config -}}
{{- end -}}
{{- mustMerge $own $config | toYaml -}}
{{- end -}}

{{- define "plimsoll.collector.config" -}}
{{- $collector := .Values.collector -}}
{{- $domains := dict -}}
{{- range $domain, $_ := $collector.tls.trustDomains -}}
{{- $_ := set $domains $domain (printf "/etc/plimsoll-collector/domains/%s/ca.crt" $domain) -}}
{{- end -}}
{{- $own := dict
  "grpc" "0.0.0.0:7443"
  "http" "0.0.0.0:7480"
  "allowRemoteQueries" true
  "database" "/var/lib/plimsoll-collector/events.db"
  "retention" $collector.retention
  "outputs" $collector.outputs
  "tls" (dict "certificate" "/etc/plimsoll-collector/tls/tls.crt" "key" "/etc/plimsoll-collector/tls/tls.key" "trustDomains" $domains)
-}}
{{- mustMerge $own (deepCopy $collector.config) | toYaml -}}
{{- end -}}
