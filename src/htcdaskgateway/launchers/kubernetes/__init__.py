"""Schedulers as pods of a Kubernetes or OKD namespace."""

from htcdaskgateway.launchers.kubernetes.launcher import KubernetesLauncher

__all__ = ["KubernetesLauncher"]
