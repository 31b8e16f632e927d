{{- define "htcdaskgateway.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Labels by which pods are selected: never changed. */}}
{{- define "htcdaskgateway.selector" -}}
app.kubernetes.io/name: htcdaskgateway
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "htcdaskgateway.labels" -}}
{{ include "htcdaskgateway.selector" . }}
app.kubernetes.io/part-of: htcdaskgateway
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "htcdaskgateway.serviceAccountName" -}}
{{- default (include "htcdaskgateway.fullname" .) .Values.serviceAccount.name -}}
{{- end -}}

{{- define "htcdaskgateway.schedulersNamespace" -}}
{{- default .Release.Namespace .Values.schedulers.namespace -}}
{{- end -}}

{{- define "htcdaskgateway.internalUrl" -}}
{{- default (printf "http://%s-gateway.%s.svc:8000" (include "htcdaskgateway.fullname" .) .Release.Namespace) .Values.gateway.internalUrl -}}
{{- end -}}

{{- define "htcdaskgateway.tokenSecret" -}}
{{- default (printf "%s-proxy-token" (include "htcdaskgateway.fullname" .)) .Values.proxy.tokenSecret -}}
{{- end -}}

{{- define "htcdaskgateway.claim" -}}
{{- default (printf "%s-state" (include "htcdaskgateway.fullname" .)) .Values.gateway.persistence.existingClaim -}}
{{- end -}}

{{/* image and pull policy of a container; `own` wins over the chart's */}}
{{- define "htcdaskgateway.image" -}}
{{- $image := .root.Values.image -}}
{{- $own := default dict .own -}}
{{- /* a tag of its own says more than the digest that all have */ -}}
{{- $digest := default (ternary "" $image.digest (ne (default "" $own.tag) "")) $own.digest -}}
{{- $which := printf ":%s" (default .root.Chart.AppVersion (default $image.tag $own.tag)) -}}
{{- if $digest -}}
{{- $which = printf "@%s" $digest -}}
{{- end -}}
image: {{ printf "%s%s" (default $image.name $own.name) $which | quote }}
{{- with default $image.pullPolicy $own.pullPolicy }}
imagePullPolicy: {{ . | quote }}
{{- end }}
{{- end -}}

{{- define "htcdaskgateway.podSecurity" -}}
runAsNonRoot: true
{{- if not .Values.okd }}
runAsUser: 65532
runAsGroup: 0
fsGroup: 65532
{{- end }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "htcdaskgateway.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{/* where a pod may run; the values of its part */}}
{{- define "htcdaskgateway.placement" -}}
{{- with .nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with .hostAliases }}
hostAliases: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "htcdaskgateway.probe" -}}
periodSeconds: {{ .periodSeconds }}
timeoutSeconds: {{ .timeoutSeconds }}
failureThreshold: {{ .failureThreshold }}
{{- end -}}

{{/* labels that the gateway gives to the pods of schedulers */}}
{{- define "htcdaskgateway.schedulerPods" -}}
app.kubernetes.io/managed-by: htcdaskgateway
app.kubernetes.io/component: scheduler
{{- end -}}

{{/* bytes of what dask-gateway takes for memory: a number, or one with K, M, G or T */}}
{{- define "htcdaskgateway.bytes" -}}
{{- $units := dict "K" 1 "M" 2 "G" 3 "T" 4 -}}
{{- $text := toString . -}}
{{- $bytes := float64 (regexFind "^[0-9.]+" $text) -}}
{{- if not (kindIs "string" .) -}}
{{- $bytes = float64 . -}}
{{- end -}}
{{- range until (int (get $units (regexFind "[KMGT]$" $text))) -}}
{{- $bytes = mulf $bytes 1024.0 -}}
{{- end -}}
{{- printf "%.0f" $bytes -}}
{{- end -}}
