{{/*
Traits of the gateway, from the values, as one mapping: CLASS: {TRAIT: VALUE}. It reaches the gateway as JSON, so
nothing in it can be taken for Python. Secrets are not in it: the configuration file reads them from files.
*/}}
{{- define "htcdaskgateway.settings" -}}
{{- $gateway := .Values.gateway -}}
{{- $schedulers := .Values.schedulers -}}
{{- $condor := .Values.condor -}}
{{- $classes := dict "simple" "dask_gateway_server.auth.SimpleAuthenticator" "jupyterhub" "dask_gateway_server.auth.JupyterHubAuthenticator" -}}
DaskGateway:
  log_level: {{ $gateway.loglevel | quote }}
  address: ":8000"
  backend_class: htcdaskgateway.server.HTCondorBackend
  authenticator_class: {{ default $gateway.auth.custom.class (get $classes $gateway.auth.type) | quote }}
Proxy:
  externally_managed: true
  address: ":8000"
  tcp_address: ":8786"
  gateway_url: {{ include "htcdaskgateway.internalUrl" . | quote }}
  prefix: {{ trimSuffix "/" $gateway.prefix | quote }}
{{- if eq $gateway.auth.type "jupyterhub" }}
JupyterHubAuthenticator:
  jupyterhub_api_url: {{ $gateway.auth.jupyterhub.apiUrl | quote }}
  jupyterhub_service_name: {{ $gateway.auth.jupyterhub.serviceName | quote }}
{{- else if eq $gateway.auth.type "custom" }}
{{- with $gateway.auth.custom.config }}
{{ regexReplaceAll ".*\\." $gateway.auth.custom.class "" }}: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
HTCondorBackend:
  launcher_class: htcdaskgateway.launchers.kubernetes.KubernetesLauncher
  state_directory: /var/lib/htcdaskgateway/state
  api_url: {{ printf "%s/api" (include "htcdaskgateway.internalUrl" .) | quote }}
  submitter: {{ $condor.submitter | quote }}
  worker_contact: gateway-proxy
  worker_contact_address: {{ default (printf "%s-scheduler.%s.svc:%v" (include "htcdaskgateway.fullname" .) .Release.Namespace .Values.schedulerService.port) .Values.proxy.publicAddress | quote }}
  cluster_start_timeout: {{ $schedulers.startTimeout }}
  {{- if not (or $gateway.persistence.enabled $gateway.database.urlSecret.name) }}
  {{- /* The next gateway knows nothing of this one's clusters, but takes what is left of them for its own. */}}
  instance: {{ printf "%s/%s@%s" .Release.Namespace .Release.Name .Values.proxy.publicAddress | trimSuffix "@" | quote }}
  stop_clusters_on_shutdown: true
  {{- end }}
  {{- with $schedulers.image }}
  scheduler_image: {{ . | quote }}
  {{- end }}
HTCondorAccess:
  interface: bindings
  spool: {{ eq $condor.submitter "gateway" }}
  pool: {{ $condor.collector | quote }}
  {{- if eq (len $condor.schedds) 1 }}
  schedd_name: {{ first $condor.schedds | quote }}
  {{- else }}
  schedd_names: {{ toJson $condor.schedds }}
  {{- end }}
  {{- if $condor.userTokensSecret }}
  token_directory: /run/htcdaskgateway/user-tokens
  {{- end }}
ClusterConfig:
  scheduler_cores: {{ $schedulers.cores.request }}
  scheduler_memory: {{ toJson $schedulers.memory.request }}
KubernetesLauncher:
  namespace: {{ include "htcdaskgateway.schedulersNamespace" . | quote }}
  scheduler_address: {{ $schedulers.address | quote }}
  image_registries: {{ toJson $schedulers.imageRegistries }}
  image_pull_policy: {{ $schedulers.imagePullPolicy | quote }}
  image_pull_secrets: {{ toJson $schedulers.imagePullSecrets }}
  {{- if not (kindIs "invalid" $schedulers.cores.limit) }}
  cores_limit: {{ $schedulers.cores.limit }}
  {{- end }}
  {{- if not (kindIs "invalid" $schedulers.memory.limit) }}
  memory_limit: {{ toJson $schedulers.memory.limit }}
  {{- end }}
  service_account: {{ $schedulers.serviceAccountName | quote }}
  {{- if not .Values.okd }}
  run_as_user: {{ toJson $schedulers.runAsUser }}
  fs_group: {{ toJson $schedulers.fsGroup }}
  {{- end }}
  node_selector: {{ toJson $schedulers.nodeSelector }}
  tolerations: {{ toJson $schedulers.tolerations }}
  labels: {{ toJson $schedulers.labels }}
  annotations: {{ toJson $schedulers.annotations }}
  pod_template: {{ toJson $schedulers.podTemplate }}
{{- end -}}
