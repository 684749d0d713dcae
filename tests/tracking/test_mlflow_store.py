import socket
import subprocess
import sys
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
