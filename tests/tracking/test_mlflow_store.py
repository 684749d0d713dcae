import os
import re
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from medprior.errors import MedpriorError
from medprior.tracking import mlflow_store


def test_order_of_choice(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert mlflow_store.resolve_store_uri(None) == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://server:5000")
    assert mlflow_store.resolve_store_uri(None) == "http://server:5000"
    assert mlflow_store.resolve_store_uri("my.db") == f"sqlite:///{tmp_path}/my.db"


@pytest.mark.parametrize("uri", ["runs", "file:///tmp/x", "./mlruns", "ftp://x", "gopher"])
def test_other_kinds_are_refused(uri):
    with pytest.raises(MedpriorError, match="sqlite:///"):
        mlflow_store.resolve_store_uri(uri)


def test_no_database_is_refused(tmp_path):
    path = tmp_path / "x.db"
    path.write_bytes(b"not a database" * 100)
    with pytest.raises(MedpriorError, match="SQLite cannot read it"):
        mlflow_store.connect_to_store(f"sqlite:///{path}")
    with pytest.raises(MedpriorError, match="cannot be written"):
        mlflow_store.connect_to_store(f"sqlite:///{tmp_path}")
    with pytest.raises(MedpriorError, match="folder cannot be made"):
        mlflow_store.connect_to_store(f"sqlite:///{path}/y.db")


def test_silent_server_is_refused_and_password_masked():
    with socket.socket() as held:  # bound but not listening: connections are refused
        held.bind(("127.0.0.1", 0))
        with pytest.raises(MedpriorError, match="does not answer") as caught:
            mlflow_store.connect_to_store(f"http://me:secret@127.0.0.1:{held.getsockname()[1]}")
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_driver_is_named():
    with pytest.raises(MedpriorError, match=r"no driver|does not answer"):
        mlflow_store.connect_to_store("postgresql://me:secret@127.0.0.1/x")


def test_new_store_is_made_in_silence_and_without_telemetry(tmp_path: Path):
    code = (
        "from medprior.tracking import mlflow_store as store; client = store.connect_to_store(None);"
        "store.ensure_experiment(client, 'x');"
        "from mlflow.telemetry.utils import is_telemetry_disabled as off; assert off();"
        "from mlflow.environment_variables import MLFLOW_ALLOW_PICKLE_DESERIALIZATION as p;"
        "assert p.get() is False"
    )
    answer = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "", "")
    assert (tmp_path / "mlflow.db").is_file()


def test_processes_that_start_together_share_one_new_store(tmp_path: Path):
    program = "import sys; from medprior.tracking import mlflow_store; mlflow_store.connect_to_store(sys.argv[1])"
    uri = f"sqlite:///{tmp_path / 'new.db'}"
    started = [
        subprocess.Popen([sys.executable, "-c", program, uri], stderr=subprocess.PIPE, text=True) for _ in range(3)
    ]
    answers = [process.communicate(timeout=300)[1] for process in started]
    assert [process.returncode for process in started] == [0, 0, 0], answers


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("http://me:secret@host/x", "http://***@host/x"), ("postgresql://me@host", "postgresql://***@host"),
        ("http://host/a@b", "http://host/a@b"), ("sqlite:///a.db", "sqlite:///a.db"),
    ],
)  # fmt: skip
def test_names_and_passwords_are_masked_and_nothing_else(uri, shown):
    assert mlflow_store.mask_credentials(uri) == shown


def test_paths_of_sqlite_stores_are_absolute_and_unquoted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert mlflow_store.sqlite_path("sqlite:///a%20b.db") == tmp_path / "a b.db"
    assert mlflow_store.sqlite_path("sqlite:////x/y.db") == Path("/x/y.db")
    assert mlflow_store.sqlite_path("http://x/y.db") is None
    assert mlflow_store.resolve_store_uri("databricks") == "databricks"
    assert mlflow_store.resolve_store_uri("postgresql+psycopg://host/x") == "postgresql+psycopg://host/x"


def test_an_error_of_a_store_is_one_line_of_two_hundred_characters():
    def read_problem(text):
        error = str(mlflow_store.build_store_error("http://me:secret@host", "it fails", text))
        return re.search(r"cannot be used: (.*), found", error).group(1)

    assert read_problem(" \n") == "it fails"
    assert read_problem("\nfirst\nsecond") == "it fails (first)"
    assert read_problem("x" * 300) == f"it fails ({'x' * 200})"
    assert read_problem("no http://me:secret@host") == "it fails (no http://***@host)"


def test_a_server_that_answers_with_an_error_is_left_to_mlflow():
    class Refusing(BaseHTTPRequestHandler):
        def do_GET(self):
            paths.append(self.path)
            self.send_error(404)

        def log_message(self, *_):
            """Say nothing."""

    paths = []
    with HTTPServer(("127.0.0.1", 0), Refusing) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        mlflow_store.check_server_store(f"http://127.0.0.1:{server.server_port}/")
        server.shutdown()
    assert paths == ["/health"]


def test_what_the_user_set_stays_and_no_pickle_is_loaded(monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "7")
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", raising=False)
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "true")
    mlflow_store.prepare_mlflow_environment()
    names = ("HTTP_REQUEST_TIMEOUT", "HTTP_REQUEST_MAX_RETRIES", "ALLOW_PICKLE_DESERIALIZATION")
    assert [os.environ[f"MLFLOW_{name}"] for name in names] == ["7", "3", "false"]


def test_an_experiment_is_made_once_beside_its_store_and_not_after_its_deletion(tmp_path, monkeypatch):
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    client = mlflow_store.connect_to_store(f"sqlite:///{tmp_path / 'store.db'}")
    made = mlflow_store.ensure_experiment(client, "my study")
    assert mlflow_store.ensure_experiment(client, "my study") == made
    experiment = client.get_experiment(made)
    assert experiment.artifact_location.startswith((tmp_path / "mlruns").as_uri())
    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"
    client.delete_experiment(made)
    with pytest.raises(MedpriorError, match="experiment was deleted"):
        mlflow_store.ensure_experiment(client, "my study")


def test_names_become_file_names_and_names_of_metrics():
    assert mlflow_store.slugify_name(" a b/c_d.e-") == "a-b-c_d.e"
    assert mlflow_store.slugify_name("..é..") == "unnamed"
    assert mlflow_store.clean_metric_name("a-b/c d:e.f(g)%") == "a-b/c d:e.f_g__"
    assert mlflow_store.clean_metric_name("x" * 251) == "x" * 250
