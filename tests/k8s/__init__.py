"""Tests of Kubernetes with real clusters; `xc test k8s` runs them, `xc test` does not."""
