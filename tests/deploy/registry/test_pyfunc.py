"""MLflow's own scoring server, answering base64 DICOM by alias."""

import base64
import contextlib
import io
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from medprior.deploy import load_model, register_model
from medprior.deploy.inference.prediction import RadiographPrediction
from medprior.deploy.registry.pyfunc import OUTPUT_SCHEMA, RadiographModel, build_output_row
from tests.deploy.registry.stored import run_in_clean_process
from tests.deploy.servers import free_port


def post(port: int, body: dict) -> tuple[int, dict]:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/invocations",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


@pytest.fixture
def server(empty_store, classifier, segmenter, tmp_path):
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    register_model(classifier, "cxr", segmenter=segmenter, tracking_uri=uri)
    port = free_port()
    command = [
        sys.executable, "-m", "mlflow", "models", "serve", "-m", "models:/cxr@champion",
        "--env-manager", "local", "-p", str(port), "-h", "127.0.0.1",
    ]  # fmt: skip
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",  # uvicorn
        "MLFLOW_TRACKING_URI": uri,
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, start_new_session=True)
    try:
        deadline = time.monotonic() + 180
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=2).close()
                break
            except OSError:
                assert process.poll() is None, "the server ended"
                assert time.monotonic() < deadline, "the server did not start"
                time.sleep(0.5)
        yield port
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=30)


@pytest.mark.slow
def test_base64_dicom_over_http(server, classifier, segmenter, dicom):
    want = load_model(classifier, segmenter=segmenter).predict(dicom)
    text = base64.b64encode(dicom.read_bytes()).decode()
    status, answer = post(server, {"dataframe_records": [{"dicom": text}]})
    assert status == 200
    (row,) = answer["predictions"]
    assert row["findings"] == pytest.approx(want.findings, abs=1e-6)
    assert row["model_digest"] == want.model_digest
    bad = base64.b64encode(b"no radiograph").decode()
    body = {"dataframe_split": {"columns": ["dicom"], "data": [[text], [bad]]}}
    status, answer = post(server, body)
    assert status == 200
    assert [item["status"] for item in answer["predictions"]] == ["ok", "rejected"]
    status, answer = post(server, {"dataframe_records": [{"image": text}]})
    assert status == 400
    seconds = []
    for _ in range(20):
        start = time.perf_counter()
        post(server, {"dataframe_records": [{"dicom": text}]})
        seconds.append(time.perf_counter() - start)
    print(f"served: median {statistics.median(seconds) * 1000:.0f} ms, max {max(seconds):.2f} s")
    assert statistics.median(seconds) < 2


def test_mlflow_itself_reads_the_same(registry, classifier, segmenter, dicom, tmp_path):
    here = load_model(classifier, segmenter=segmenter).predict(dicom)
    code = """
        import sys
        from pathlib import Path
        import mlflow, pandas as pd
        model = mlflow.pyfunc.load_model("models:/cxr@champion")
        data = [Path(sys.argv[1]).read_bytes(), b"no radiograph"]
        print(model.predict(pd.DataFrame({"dicom": data})).to_json(orient="records"))
        import medprior
        assert "code" in Path(medprior.__file__).parts, "the packaged code was not used"
    """
    text = run_in_clean_process(
        code, tmp_path, str(dicom),
        MLFLOW_TRACKING_URI=registry, MLFLOW_ALLOW_PICKLE_DESERIALIZATION="false",
    )  # fmt: skip
    good, bad = json.loads(text)
    assert good["status"] == "ok"
    assert good["findings"] == pytest.approx(here.findings, abs=1e-6)
    assert good["present"] == here.present_labels()
    assert good["model_digest"] == here.model_digest
    png = Image.open(io.BytesIO(base64.b64decode(good["masks"]["heart"])))
    assert np.array_equal(np.asarray(png) > 0, here.masks["heart"])
    assert set(good["attention"]) == set(here.attention)
    assert bad["status"] == "rejected"
    assert bad["code"]
    assert bad["findings"] is None


def test_rows_keep_the_callers_index_and_a_refusal_has_its_code(classifier, dicom):
    model = RadiographModel()
    model.predictor = load_model(classifier)
    table = pd.DataFrame({"dicom": [b"no radiograph", dicom.read_bytes()]}, index=[7, 3])
    answer = model.predict(None, table)
    assert list(answer.columns) == list(OUTPUT_SCHEMA)
    assert answer.status.to_dict() == {7: "rejected", 3: "ok"}
    assert answer.code[7] == "not_dicom"
    assert set(answer.model_digest) == {model.predictor.digest}
    for rows in (table, table.loc[[3]], table.loc[[7]]):
        # What MLflow's server does with the answer; NaN is no JSON.
        text = json.dumps(model.predict(None, rows).to_dict(orient="records"), allow_nan=False)
        assert [row["code"] for row in json.loads(text)] == [
            "not_dicom" if data == b"no radiograph" else None for data in rows.dicom
        ]


def test_a_row_of_a_prediction_without_ratio():
    mask = np.array([[True, False], [False, False]])
    prediction = RadiographPrediction(
        pixels=np.zeros((2, 2), np.float32), pixel_sha256="p", model_digest="m",
        findings={"a": 0.25, "b": 0.75, "c": 0.5}, thresholds={"a": 0.25, "b": 0.5, "c": 0.625},
        masks={"heart": mask}, flags=("dark",), facts={"view": "PA"},
    )  # fmt: skip
    row = build_output_row(prediction)
    assert row["findings"] == {"a": 0.25, "b": 0.75, "c": 0.5}
    assert row["thresholds"] == {"a": 0.25, "b": 0.5, "c": 0.625}
    assert row["present"] == ["b", "a"]
    assert (row["cardiothoracic_ratio"], row["heart_line"], row["spacing_kind"]) == (None, None, None)
    png = Image.open(io.BytesIO(base64.b64decode(row["masks"]["heart"])))
    assert np.asarray(png).tolist() == [[255, 0], [0, 0]]
    assert set(row) <= set(OUTPUT_SCHEMA)
