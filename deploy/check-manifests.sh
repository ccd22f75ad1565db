#!/bin/sh
# Render each overlay as `kubectl apply -k` does, and check the result: kubernetes-validate by the schemas of the API server, checkov by
# its rules of secure configuration. checkov also reads the Dockerfiles and the workflow. No file of a cluster or of the network is read.
#   LINT=deploy/.venv/bin deploy/check-manifests.sh
set -eu
cd "$(dirname "$0")/.."
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for overlay in deploy/kubernetes/overlays/*; do
  rendered=$folder/$(basename "$overlay").yaml
  "$LINT/kubectl" kustomize "$overlay" > "$rendered"
  "$LINT/kubernetes-validate" --strict --quiet "$rendered"
done
cp Dockerfile "$folder/Dockerfile"
cp frontend/Dockerfile "$folder/Dockerfile.frontend"
"$LINT/checkov" --config-file deploy/checkov.yaml --directory "$folder"
