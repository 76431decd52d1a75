{{/* Name of the operator's objects: the release's, with "sconce" in it once. */}}
{{- define "sconce.fullname" -}}
{{- if contains "sconce" .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-sconce" .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "sconce.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (include "sconce.fullname" .) -}}
{{- end -}}

{{/* What never changes over the life of a release: a Deployment's selector is immutable. */}}
{{- define "sconce.selectorLabels" -}}
app.kubernetes.io/name: sconce
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end -}}

{{/* The labels of every object. Call with (dict "root" $ "component" "operator"). */}}
{{- define "sconce.labels" -}}
{{- $root := .root -}}
{{- $standard := dict
  "app.kubernetes.io/name" "sconce"
  "app.kubernetes.io/instance" $root.Release.Name
  "app.kubernetes.io/version" $root.Chart.AppVersion
  "app.kubernetes.io/component" .component
  "app.kubernetes.io/part-of" "sconce"
  "app.kubernetes.io/managed-by" $root.Release.Service
  "helm.sh/chart" (printf "%s-%s" $root.Chart.Name ($root.Chart.Version | replace "+" "_")) -}}
{{- toYaml (mergeOverwrite $standard $root.Values.labels) -}}
{{- end -}}

{{/* The labels of the operator's pod: the selector's always win. */}}
{{- define "sconce.podLabels" -}}
{{- $labels := include "sconce.labels" (dict "root" . "component" "operator") | fromYaml -}}
{{- $selector := include "sconce.selectorLabels" . | fromYaml -}}
{{- toYaml (mergeOverwrite $labels .Values.podLabels $selector) -}}
{{- end -}}

{{/* An image's reference. Call with (dict "root" $ "image" .Values.trainer.image). */}}
{{- define "sconce.image" -}}
{{- $own := .root.Values.image -}}
{{- $name := printf "%s/%s" (.image.registry | default $own.registry) .image.repository -}}
{{- if .image.digest -}}
{{- printf "%s@%s" $name .image.digest -}}
{{- else -}}
{{- printf "%s:%s" $name (.image.tag | default $own.tag | default .root.Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{/* Name of the Lease: operators of different namespaces do not exclude one another. */}}
{{- define "sconce.lease" -}}
sconce-operator{{ with .Values.watchNamespace }}-{{ . }}{{ end }}
{{- end -}}
