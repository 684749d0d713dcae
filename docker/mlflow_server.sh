#!/bin/sh
# MLflow over PostgreSQL and an S3 store. Passwords are read from files into this process alone: none is
# on a command line, in the image or in compose.yaml.
set -eu
: "${SECRETS:=/run/secrets}" "${BUCKET:=mlflow}" "${HOST:=0.0.0.0}" "${PORT:=5000}"
: "${DATABASE:=mlflow@database:5432/mlflow}"

AWS_ACCESS_KEY_ID="$(cat "$SECRETS/s3_user")"
AWS_SECRET_ACCESS_KEY="$(cat "$SECRETS/s3_password")"
PGPASSWORD="$(cat "$SECRETS/database_password")"
MLFLOW_BACKEND_STORE_URI="postgresql+psycopg2://$DATABASE"
export AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY PGPASSWORD MLFLOW_BACKEND_STORE_URI
: "${AWS_DEFAULT_REGION:=us-east-1}"
export AWS_DEFAULT_REGION

python - "$BUCKET" <<'END'
import os
import sys

import boto3
from botocore.exceptions import ClientError

client = boto3.client("s3", endpoint_url=os.environ["MLFLOW_S3_ENDPOINT_URL"])
try:
    client.head_bucket(Bucket=sys.argv[1])
except ClientError:
    client.create_bucket(Bucket=sys.argv[1])
END

exec mlflow server --host "$HOST" --port "$PORT" --workers "${WORKERS:-2}" \
  --serve-artifacts --artifacts-destination "s3://$BUCKET/artifacts" \
  --allowed-hosts "${ALLOWED_HOSTS:-localhost:$PORT,127.0.0.1:$PORT}"
