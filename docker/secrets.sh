#!/bin/sh
# Makes the secret files that compose.yaml names, each once, in docker/secrets. Containers run as
# another user and read them through bind mounts, so the folder is yours alone and the files readable.
set -eu
cd "$(dirname "$0")"
umask 077
mkdir -p secrets
for name in database_password s3_user s3_password service_token mlflow_admin_password mlflow_reader_password \
  mlflow_session_key; do
  if [ ! -s "secrets/$name" ]; then
    head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n' >"secrets/$name"
    chmod 444 "secrets/$name"
  fi
done
chmod 700 secrets
echo "docker/secrets holds: $(ls secrets | tr '\n' ' ')"
