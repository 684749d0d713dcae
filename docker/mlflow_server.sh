#!/bin/sh
# MLflow with its basic authentication over PostgreSQL and an S3 store. Passwords are read from files into this
# process alone: none is on a command line, in the image or in compose.yaml. Two accounts are made once: `admin`
# may do all, `reader` may read experiments and models, and change none.
set -eu
: "${SECRETS:=/run/secrets}" "${BUCKET:=mlflow}" "${HOST:=0.0.0.0}" "${PORT:=5000}"
: "${DATABASE:=mlflow@database:5432/mlflow}"

AWS_ACCESS_KEY_ID="$(cat "$SECRETS/s3_user")"
AWS_SECRET_ACCESS_KEY="$(cat "$SECRETS/s3_password")"
PGPASSWORD="$(cat "$SECRETS/database_password")"
MLFLOW_BACKEND_STORE_URI="postgresql+psycopg2://$DATABASE"
MLFLOW_AUTH_ADMIN_PASSWORD="$(cat "$SECRETS/mlflow_admin_password")"
MLFLOW_FLASK_SERVER_SECRET_KEY="$(cat "$SECRETS/mlflow_session_key")"
MLFLOW_AUTH_CONFIG_PATH="$(mktemp)"
export AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY PGPASSWORD MLFLOW_BACKEND_STORE_URI
export MLFLOW_AUTH_ADMIN_PASSWORD MLFLOW_FLASK_SERVER_SECRET_KEY MLFLOW_AUTH_CONFIG_PATH
cat >"$MLFLOW_AUTH_CONFIG_PATH" <<END
[mlflow]
default_permission = READ
database_uri = $MLFLOW_BACKEND_STORE_URI
admin_username = admin
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
# A password is hashed once a minute and not for every file of a model, of which there are hundreds.
auth_cache_ttl_seconds = 60
END
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

python - "$SECRETS" <<'END'
import sys
from pathlib import Path

from mlflow.server.auth.config import read_auth_config
from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore

store = SqlAlchemyStore()
store.init_db(read_auth_config().database_uri)
if not store.has_user("reader"):
    store.create_user("reader", Path(sys.argv[1], "mlflow_reader_password").read_text().strip())
END

exec mlflow server --app-name basic-auth --host "$HOST" --port "$PORT" --workers "${WORKERS:-2}" \
  --serve-artifacts --artifacts-destination "s3://$BUCKET/artifacts" \
  --allowed-hosts "${ALLOWED_HOSTS:-localhost:$PORT,127.0.0.1:$PORT}"
