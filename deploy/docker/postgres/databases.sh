#!/bin/sh
# Postgres runs this once, when its volume is empty: a database for each service, and a role that may enter no other.
set -eu
for name in $DATABASES; do
  psql -q -v ON_ERROR_STOP=1 -v name="$name" -v password="$DATABASE_PASSWORD" --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" <<'SQL'
CREATE ROLE :"name" LOGIN PASSWORD :'password';
CREATE DATABASE :"name" OWNER :"name";
REVOKE ALL ON DATABASE :"name" FROM PUBLIC;
SQL
done
