#!/bin/sh
# Create the roles and databases of docs/operations.md on a new PostgreSQL server: one role owns the tables of the API, the API uses another, which
# row-level security applies to, and the frontend has its own database. The image `postgres` runs this once, when its volume is empty.
# The psql variables keep a password from being read as SQL.
set -eu
# psql expands no variable inside of -c.
psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres \
  --set owner_password="$OWNER_PASSWORD" --set service_password="$SERVICE_PASSWORD" --set accounts_password="$ACCOUNTS_PASSWORD" << 'SQL'
CREATE ROLE taskapi_owner LOGIN PASSWORD :'owner_password';
CREATE ROLE taskapi LOGIN PASSWORD :'service_password';
CREATE ROLE taskapi_accounts LOGIN PASSWORD :'accounts_password';
CREATE DATABASE taskapi OWNER taskapi_owner;
CREATE DATABASE taskapi_accounts OWNER taskapi_accounts;
-- By default each role may connect to each database: one that a leaked password opens would open both.
REVOKE CONNECT ON DATABASE taskapi, taskapi_accounts FROM PUBLIC;
GRANT CONNECT ON DATABASE taskapi TO taskapi;
SQL
