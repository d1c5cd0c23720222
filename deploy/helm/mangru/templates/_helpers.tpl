{{- define "mangru.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- /* Labels of every object. */}}
{{- define "mangru.labels" -}}
app.kubernetes.io/part-of: mangru
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | trunc 63 | quote }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- /* Labels by which a role's pods are selected. Takes a list: the root, the role. */}}
{{- define "mangru.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: mangru-{{ index . 1 }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
{{- end }}

{{- define "mangru.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "mangru.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "mangru.pod" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets: {{ toJson . }}
{{- end }}
{{- end }}

{{- define "mangru.server" -}}{{ .Release.Name }}-server{{- end }}
{{- define "mangru.site" -}}{{ .Release.Name }}-site{{- end }}
{{- define "mangru.serverURL" -}}http://{{ .Release.Name }}-server.{{ .Release.Namespace }}.svc:9009{{- end }}
{{- define "mangru.collectorAccount" -}}{{ .Values.collector.serviceAccount.name | default (printf "%s-collector" .Release.Name) }}{{- end }}
{{- define "mangru.doctorAccount" -}}{{ .Release.Name }}-doctor{{- end }}

{{- define "mangru.ksm.name" -}}{{ .Values.kubeStateMetrics.name | default (printf "%s-kube-state-metrics" .Release.Name) }}{{- end }}
{{- define "mangru.ksm.namespace" -}}{{ .Values.kubeStateMetrics.namespace | default .Release.Namespace }}{{- end }}
{{- define "mangru.node.name" -}}{{ .Values.nodeExporter.name | default (printf "%s-prometheus-node-exporter" .Release.Name) }}{{- end }}
{{- define "mangru.node.namespace" -}}{{ .Values.nodeExporter.namespace | default (printf "%s-node" .Release.Namespace) }}{{- end }}

{{- /*
Whether an exporter is wanted: what the values say, or, with auto, whether the
cluster has no Service of that name label other than this release's. Takes a
list: the root, the value, the name label, the own Service's namespace and name.
Prints "yes" or nothing.
*/}}
{{- define "mangru.wanted" -}}
{{- $value := toString (index . 1) -}}
{{- if eq $value "true" -}}yes
{{- else if eq $value "auto" -}}
  {{- $found := "" -}}
  {{- $label := index . 2 -}}
  {{- $own := printf "%s/%s" (index . 3) (index . 4) -}}
  {{- range (lookup "v1" "Service" "" "").items -}}
    {{- $labels := .metadata.labels | default dict -}}
    {{- if eq (get $labels "app.kubernetes.io/name" | default "") $label -}}
      {{- if or (ne (printf "%s/%s" .metadata.namespace .metadata.name) $own) (ne (get $labels "helm.sh/chart" | default "" | trunc 7) "mangru-") -}}
        {{- $found = printf "%s/%s" .metadata.namespace .metadata.name -}}
      {{- end -}}
    {{- end -}}
  {{- end -}}
  {{- if not $found -}}yes{{- end -}}
{{- end -}}
{{- end }}
{{- define "mangru.ksm.wanted" -}}
{{- include "mangru.wanted" (list . .Values.kubeStateMetrics.enabled "kube-state-metrics" (include "mangru.ksm.namespace" .) (include "mangru.ksm.name" .)) -}}
{{- end }}
{{- define "mangru.node.wanted" -}}
{{- include "mangru.wanted" (list . .Values.nodeExporter.enabled "prometheus-node-exporter" (include "mangru.node.namespace" .) (include "mangru.node.name" .)) -}}
{{- end }}

{{- /* Environment and volume of a pod that acts as a role of this release's server. Takes a list: the root, the role's name. */}}
{{- define "mangru.roleEnv" -}}
{{- $root := index . 0 -}}
- {name: AWS_REGION, value: {{ $root.Values.region | quote }}}
{{- if $root.Values.server.enabled }}
- {name: AWS_ROLE_ARN, value: "arn:aws:iam::000000000000:role/{{ index . 1 }}"}
- {name: AWS_WEB_IDENTITY_TOKEN_FILE, value: /var/run/secrets/eks.amazonaws.com/serviceaccount/token}
- {name: AWS_ENDPOINT_URL_STS, value: {{ include "mangru.serverURL" $root }}}
{{- end }}
{{- end }}
{{- define "mangru.roleVolume" -}}
- name: aws-iam-token
  projected:
    sources:
    - serviceAccountToken: {audience: sts.amazonaws.com, expirationSeconds: 86400, path: token}
{{- end }}

{{- /* Labels as the prometheus-community chart gives them. */}}
{{- define "mangru.ksm.labels" -}}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/component: metrics
app.kubernetes.io/part-of: kube-state-metrics
app.kubernetes.io/name: kube-state-metrics
app.kubernetes.io/instance: {{ .Values.kubeStateMetrics.instance | default .Release.Name }}
{{- end }}

{{- /* Labels as the prometheus-community chart gives them. */}}
{{- define "mangru.node.labels" -}}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/component: metrics
app.kubernetes.io/part-of: prometheus-node-exporter
app.kubernetes.io/name: prometheus-node-exporter
app.kubernetes.io/instance: {{ .Values.nodeExporter.instance | default .Release.Name }}
{{- end }}
