#!/bin/sh
# Generate what compose.yaml and the Kubernetes manifests need and no repository may contain: random passwords, a file of settings for each
# program, so that each knows its own secrets only, and a self-signed certificate.
#   deploy/generate-secrets.sh [FOLDER] [HOST OF POSTGRESQL] [HOST OF REDIS] [NAME OF THE CERTIFICATE]
# Refuses to replace existing secrets: the volume of PostgreSQL keeps its first passwords.
set -eu
folder=${1:-$(dirname "$0")/secrets} postgresql=${2:-postgresql} redis=${3:-redis} name=${4:-localhost}
if [ -e "$folder" ]; then
  echo "$folder exists: delete it, and the database with it, to generate new secrets" >&2
  exit 1
fi
command -v openssl > /dev/null || { echo "openssl is needed" >&2; exit 1; }

umask 077
# A run that is interrupted leaves no half of the files.
new=$folder.new
rm -rf "$new"
mkdir -p "$new/tls"
# 192 bits; hexadecimal, because a URL and a shell read other characters in their own way.
secret() { openssl rand -hex 24; }
superuser=$(secret) owner=$(secret) service=$(secret) accounts=$(secret) redis_password=$(secret)

cat > "$new/postgresql.env" << EOF
POSTGRES_PASSWORD=$superuser
OWNER_PASSWORD=$owner
SERVICE_PASSWORD=$service
ACCOUNTS_PASSWORD=$accounts
EOF
cat > "$new/api.env" << EOF
DATABASE_URL=postgresql://taskapi:$service@$postgresql/taskapi
REDIS_URL=redis://:$redis_password@$redis:6379/0
EOF
cat > "$new/migrate.env" << EOF
DATABASE_URL=postgresql://taskapi:$service@$postgresql/taskapi
MIGRATION_DATABASE_URL=postgresql://taskapi_owner:$owner@$postgresql/taskapi
EOF
cat > "$new/frontend.env" << EOF
BETTER_AUTH_SECRET=$(secret)
AUTH_DATABASE_URL=postgresql://taskapi_accounts:$accounts@$postgresql/taskapi_accounts
EOF
cat > "$new/redis.env" << EOF
REDIS_PASSWORD=$redis_password
REDISCLI_AUTH=$redis_password
EOF
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 365 -subj "/CN=$name" \
  -addext "subjectAltName=DNS:$name" -keyout "$new/tls/tls.key" -out "$new/tls/tls.crt" 2> /dev/null
# nginx reads the two as a user of its container. On this host the folder above, which only its owner can open, protects them.
chmod 755 "$new/tls"
chmod 644 "$new/tls/tls.key" "$new/tls/tls.crt"
mv "$new" "$folder"
echo "$folder has been written. Replace tls/tls.crt and tls/tls.key by a certificate that browsers trust."
