"""The team's set-up without containers: PostgreSQL, an S3 store, MLflow's server, our service."""

import contextlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException

from medprior.cli import main
from medprior.deploy import load_model
from medprior.tracking import mlflow_store
from tests.deploy.discs import disc_cohort, good_model, weak_model
from tests.deploy.servers import free_port, running

MLFLOW_SECRETS = ("mlflow_admin_password", "mlflow_reader_password", "mlflow_session_key")
DOCKER = Path(__file__).parents[2] / "docker"
PLACES = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)


def binary(name: str) -> str:
    """A program of PostgreSQL; the test is left out without it, unless it is required."""
    found = shutil.which(name) or next((str(place / name) for place in PLACES if (place / name).is_file()), None)
    if found is None:
        if os.environ.get("MEDPRIOR_REQUIRE_POSTGRES") == "1":
            pytest.fail(f"{name} is not here, and MEDPRIOR_REQUIRE_POSTGRES=1")
        pytest.skip(f"{name} is not here: install postgresql")
    return found


def as_somebody() -> list[str]:
    """What goes before a command of PostgreSQL, which refuses to run as root."""
    if os.geteuid() != 0:
        return []
    return ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]


@contextlib.contextmanager
def postgres(folder: Path, password: Path) -> Iterator[str]:
    """A new database cluster on a free port; yields HOST:PORT."""
    import psycopg2

    initdb, server = binary("initdb"), binary("postgres")
    data, port = folder / "data", free_port()
    data.mkdir(parents=True)
    if os.geteuid() == 0:
        for path in (folder, data):
            os.chown(path, 65534, 65534)
        for path in folder.parents:  # pytest's folders are their owner's alone
            if path.stat().st_uid == 0 and path != Path(path.anchor) and path != Path("/tmp"):
                path.chmod(path.stat().st_mode | 0o011)
    read = folder / "password"
    shutil.copy(password, read)
    read.chmod(0o444)
    options = ["-D", str(data), "-U", "mlflow", "-A", "scram-sha-256", f"--pwfile={read}", "-N"]
    subprocess.run([*as_somebody(), initdb, *options], check=True, capture_output=True, cwd="/", timeout=300)
    command = [
        *as_somebody(), server, "-D", str(data), "-p", str(port), "-k", str(folder),
        "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off",
    ]  # fmt: skip
    with (folder / "log.txt").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd="/")
    secret = {"user": "mlflow", "password": password.read_text(), "host": "127.0.0.1"}
    try:
        for _ in range(200):
            try:
                connection = psycopg2.connect(dbname="postgres", port=port, **secret)
                break
            except psycopg2.OperationalError:
                assert process.poll() is None, (folder / "log.txt").read_text()
                time.sleep(0.1)
        connection.autocommit = True
        connection.cursor().execute("CREATE DATABASE mlflow")
        connection.close()
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=20)


@contextlib.contextmanager
def team(folder: Path) -> Iterator[str]:
    """PostgreSQL, an S3 store, and `docker/mlflow_server.sh` over both; yields MLflow's URI."""
    secrets = folder / "secrets"
    secrets.mkdir(parents=True)
    for name in ("database_password", "s3_user", "s3_password", "service_token", *MLFLOW_SECRETS):
        (secrets / name).write_text(f"{name}-for-this-test")
    temporary = folder / "temporary"
    temporary.mkdir()
    s3, port = f"http://127.0.0.1:{free_port()}", free_port()
    moto = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", s3.rpartition(":")[2]]
    with (
        postgres(folder / "postgres", secrets / "database_password") as database,
        running(moto, f"{s3}/moto-api/", folder / "s3"),
        running(
            ["/bin/sh", str(DOCKER / "mlflow_server.sh")],
            f"http://127.0.0.1:{port}/health",
            folder / "mlflow",
            SECRETS=str(secrets),
            DATABASE=f"mlflow@{database}/mlflow",
            MLFLOW_S3_ENDPOINT_URL=s3,
            HOST="127.0.0.1",
            PORT=str(port),
            WORKERS="1",
            TMPDIR=str(temporary),
        ),
    ):
        yield f"http://127.0.0.1:{port}"


def answer(url: str, body: bytes | None = None, token: str | None = None) -> tuple[int, bytes]:
    headers = {"Content-Type": "application/dicom"} if body else {}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    try:
        request = urllib.request.Request(url, data=body, headers=headers)
        with urllib.request.urlopen(request, timeout=60) as found:
            return found.status, found.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def log_in(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Become an account of the team's MLflow."""
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", name)
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", f"mlflow_{name}_password-for-this-test")


def attack_the_registry(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Try as the service, and as nobody, what would change which model is served."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    log_in(monkeypatch, "reader")
    client = mlflow_store.connect_to_store(uri)
    attempts = (
        lambda: client.set_registered_model_alias("cxr", "champion", "1"),
        lambda: client.delete_registered_model_alias("cxr", "champion"),
        lambda: client.set_model_version_tag("cxr", "2", "model_digest", "0"),
        lambda: client.delete_model_version("cxr", "2"),
    )
    for attempt in attempts:
        with pytest.raises(MlflowException, match=r"403|[Pp]ermission"):
            attempt()
    for name in ("USERNAME", "PASSWORD"):
        monkeypatch.delenv(f"MLFLOW_TRACKING_{name}")
    status, _ = answer(f"{uri}/api/2.0/mlflow/registered-models/get?name=cxr")
    assert status == 401


def test_register_promote_serve_over_postgres_and_s3(tmp_path, dicom, monkeypatch, capsys):
    binary("postgres")
    if importlib.util.find_spec("flask_wtf") is None and os.environ.get("MEDPRIOR_REQUIRE_POSTGRES") != "1":
        pytest.skip("MLflow's authentication is not here: install medprior[server]")
    cohort = disc_cohort(tmp_path / "cohort")
    weak, good = weak_model(cohort, tmp_path / "weak"), good_model(cohort, tmp_path / "good")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "MLFLOW_S3_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    with team(tmp_path / "team") as uri:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        log_in(monkeypatch, "admin")
        assert main(["register", str(weak), "cxr"]) == 0
        assert main(["register", str(good), "cxr", "--alias", "challenger"]) == 0
        assert main(["promote", "cxr", "--cohort", str(cohort)]) == 0, capsys.readouterr().err
        client = mlflow_store.connect_to_store(uri)
        version = client.get_model_version_by_alias("cxr", "champion")
        assert version.version in {"2", 2}
        run = client.get_run(version.run_id)
        assert run.info.artifact_uri.startswith("mlflow-artifacts:/")  # clients need no S3 key
        want = load_model(good).predict(dicom).record()
        assert load_model("models:/cxr@champion").predict(dicom).record() == want
        log_in(monkeypatch, "reader")
        port = free_port()
        command = [
            sys.executable, "-m", "medprior", "serve", "--model", "models:/cxr@champion",
            "--port", str(port), "--token-file", str(tmp_path / "team/secrets/service_token"),
        ]  # fmt: skip
        at = f"http://127.0.0.1:{port}"
        with running(command, f"{at}/health", tmp_path / "service", MLFLOW_TRACKING_URI=uri):
            status, _ = answer(f"{at}/v1/predict", dicom.read_bytes())
            assert status == 401
            status, body = answer(f"{at}/v1/predict", dicom.read_bytes(), "service_token-for-this-test")
            assert status == 200, body
            said = json.loads(body)
            assert said["model_digest"] == want["model_digest"]
            assert said["findings"] == want["findings"]
        attack_the_registry(uri, monkeypatch)
        log = (tmp_path / "team/mlflow/log.txt").read_text()
        assert "for-this-test" not in log
    assert not list(tmp_path.glob("mlruns*"))
