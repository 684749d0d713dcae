"""A model goes into a real MLflow registry and answers from a clean process by its alias."""

import base64
import io
import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from medprior import provenance
from medprior.cli import main
from medprior.deploy import load_model, register_model
from medprior.deploy.registry import package
from medprior.deploy.registry.register import find_alias_version
from medprior.errors import MedpriorError
from medprior.finetune.model import load_finetuned_model as load_finetuned
from medprior.tracking import mlflow_store


@pytest.fixture(scope="module")
def registry(empty_store, classifier, segmenter, tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("registry")
    shutil.copy(empty_store, folder / "mlflow.db")
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    assert register_model(classifier, "cxr", segmenter=segmenter, tracking_uri=uri) == "1"
    return uri


def clean(code: str, folder: Path, *arguments: str, **environment: str) -> str:
    answer = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *arguments],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


def stored(uri: str, name: str = "cxr", version: str = "1") -> Path:
    client = mlflow_store.connect_to_store(uri)
    source = client.get_logged_model(client.get_model_version(name, version).source.split("/")[-1])
    return Path(source.artifact_location.removeprefix("file://"))


def test_a_clean_process_reads_the_same(registry, classifier, segmenter, dicom, tmp_path):
    here = load_model(classifier, segmenter=segmenter).predict(dicom).record()
    code = """
        import json, sys
        from pathlib import Path
        from medprior.deploy import load_model
        reading = load_model("models:/cxr@champion").predict(Path(sys.argv[1]))
        print(json.dumps(reading.record()))
    """
    text = clean(code, tmp_path, str(dicom), MLFLOW_TRACKING_URI=registry)
    assert json.loads(text) == json.loads(json.dumps(here))
    assert not list(tmp_path.iterdir())


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
    text = clean(
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


def test_nothing_in_the_registry_is_a_pickle(registry):
    files = [path for path in stored(registry).rglob("*") if path.is_file()]
    suffixes = {path.suffix for path in files}
    assert suffixes <= {
        "", ".py", ".json", ".yaml", ".txt", ".safetensors", ".md",
        ".html", ".css", ".js", ".typed",
    }, suffixes  # fmt: skip
    weights = [path for path in files if path.suffix == ".safetensors"]
    assert {path.parent.name for path in weights} == {"model", "segmenter"}
    assert not [path for path in files if path.read_bytes()[:1] == b"\x80" and path not in weights]
    description = (stored(registry) / "MLmodel").read_text()
    assert "python_model" not in description
    here = str(Path(package.__file__).parents[2])
    assert here not in description
    client = mlflow_store.connect_to_store(registry)
    (run,) = client.search_runs([item.experiment_id for item in client.search_experiments()])
    assert here not in str(run.to_dictionary())


def test_the_version_says_where_it_comes_from(registry, classifier):
    version = mlflow_store.connect_to_store(registry).get_model_version_by_alias("cxr", "champion")
    config = provenance.read_config(classifier)
    assert version.tags["cohort_digest"] == config["inputs"]["cohort"]
    assert version.tags["git_commit"] == config["git_commit"]
    assert version.tags["task"] == "classification"
    assert version.tags["bundle_version"]
    pins = (stored(registry) / "requirements.txt").read_text().splitlines()
    assert any(line.startswith("torch==") for line in pins)
    assert any(line.startswith("mlflow==") for line in pins)
    assert all("==" in line and "+" not in line for line in pins)
    info = json.loads((stored(registry) / "input_example.json").read_text())
    assert info["columns"] == ["dicom"]


def evidence_for(out: Path, cohort: Path, **models: Path) -> Path:
    """What `medprior evaluate` writes, the first model of a task being the primary one."""
    out.mkdir()
    entry = {"value": 0.8123, "ci95": [0.77, 0.851], "n": 120}
    keys = ("classification.mauc", "segmentation.dice.heart", "baseline.classification.mauc")
    (out / "metrics.json").write_text(json.dumps(dict.fromkeys(keys, entry)))
    primary: dict[str, str] = {}
    for name, folder in models.items():
        primary.setdefault(provenance.read_config(folder)["task"], name)
    inputs = {f"model.{name}": folder for name, folder in models.items()} | {"cohort": cohort}
    provenance.write_config(out, "evaluate", {}, inputs=inputs, facts={"primary": primary})
    return out


def test_evidence_becomes_tags_only_for_its_own_model(
    tracking_uri, classifier, other_classifier, segmenter, phantom_cohort, tmp_path
):
    other = other_classifier
    second = evidence_for(tmp_path / "a", phantom_cohort, other=other, ours=classifier)
    with pytest.raises(MedpriorError, match="another model's"):
        register_model(classifier, "cxr", evidence=second, tracking_uri=tracking_uri)
    wrong = evidence_for(tmp_path / "b", phantom_cohort, seg=segmenter)
    with pytest.raises(MedpriorError, match="another model's"):
        register_model(classifier, "cxr", evidence=wrong, tracking_uri=tracking_uri)
    first = evidence_for(tmp_path / "c", phantom_cohort, ours=classifier, other=other, seg=segmenter)
    register_model(classifier, "cxr", evidence=first, tracking_uri=tracking_uri)
    tags = mlflow_store.connect_to_store(tracking_uri).get_model_version_by_alias("cxr", "champion").tags
    metrics = {name: tags[name] for name in tags if name.startswith("metric.")}
    assert metrics == {"metric.classification.mauc": "0.812 [0.770, 0.851] n=120"}
    register_model(classifier, "cxr", segmenter=segmenter, evidence=first, tracking_uri=tracking_uri)
    tags = mlflow_store.connect_to_store(tracking_uri).get_model_version_by_alias("cxr", "champion").tags
    assert "metric.segmentation.dice.heart" in tags


def test_the_alias_moves_to_the_new_version(tracking_uri, classifier, segmenter):
    register_model(segmenter, "cxr", tracking_uri=tracking_uri)
    assert register_model(classifier, "cxr", tracking_uri=tracking_uri) == "2"
    register_model(segmenter, "cxr", alias="challenger", tracking_uri=tracking_uri)
    client = mlflow_store.connect_to_store(tracking_uri)
    aliases = client.get_registered_model("cxr").aliases
    assert {key: str(value) for key, value in aliases.items()} == {
        "champion": "2",
        "previous": "1",
        "challenger": "3",
    }
    assert (find_alias_version("cxr"), find_alias_version("cxr", "challenger")) == ("2", "3")
    assert load_model("models:/cxr@challenger", tracking_uri).models.keys() == {"segmentation"}
    assert load_model("models:/cxr/latest", tracking_uri).models.keys() == {"segmentation"}


def test_a_damaged_copy_in_the_registry_is_refused(tracking_uri, classifier):
    register_model(classifier, "cxr", tracking_uri=tracking_uri)
    path = stored(tracking_uri) / "artifacts" / "model" / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(MedpriorError, match="differ from the digest"):
        load_model("models:/cxr@champion", tracking_uri)


def test_bad_registrations_leave_nothing(tracking_uri, classifier, segmenter, tmp_path):
    attempts = [
        {"model": tmp_path, "name": "cxr"},
        {"model": classifier, "name": "a/b"},
        {"model": classifier, "name": "cxr", "alias": "v1"},
        {"model": classifier, "name": "cxr", "alias": "latest"},
        {"model": classifier, "name": "cxr", "segmenter": classifier},
        {"model": segmenter, "name": "cxr", "segmenter": segmenter},
        {"model": classifier, "name": "cxr", "evidence": tmp_path},
    ]
    for attempt in attempts:
        with pytest.raises(MedpriorError):
            register_model(**attempt, tracking_uri=tracking_uri)
    assert not mlflow_store.connect_to_store(tracking_uri).search_registered_models()


def test_the_user_s_own_store_stays_current(tracking_uri, classifier, monkeypatch):
    import mlflow

    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    register_model(classifier, "cxr", tracking_uri=tracking_uri)
    assert os.environ["MLFLOW_TRACKING_URI"] == "http://127.0.0.1:1"
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(None)


def test_the_command_line_from_model_to_answer(tracking_uri, classifier, segmenter, dicom, tmp_path, capsys):
    arguments = ["register", str(classifier), "cxr", "--segmenter", str(segmenter)]
    assert main(arguments) == 0
    assert "models:/cxr@champion" in capsys.readouterr().out
    folder = tmp_path / "in"
    folder.mkdir()
    shutil.copy(dicom, folder / "DOE.dcm")
    (folder / "broken.dcm").write_bytes(dicom.read_bytes()[:2000])
    predict = [
        "predict",
        str(folder),
        "-o",
        str(tmp_path / "out"),
        "--model",
        "models:/cxr@champion",
    ]
    assert main(predict) == 0
    assert "1 read, 1 rejected" in capsys.readouterr().out
    table = pd.read_csv(tmp_path / "out" / "report.csv")
    row = table[table.status == "ok"].iloc[0]
    model = load_finetuned(classifier)
    from medprior.dicom import read_image

    want = model.predict_pixels(read_image(dicom).pixels).probabilities
    assert {name: row[name] for name in want} == pytest.approx(want, abs=1e-6)
    masks = sorted(path.name.split("_", 2)[2] for path in (tmp_path / "out").glob("*_lung.png"))
    assert masks == ["left_lung.png", "right_lung.png"]
    assert main(predict) == 0
    assert "2 answered before" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("models:/cxr@champion", "no such registered model"),
        ("models:/cxr", "not a model"),
        ("nowhere", "no such model"),
    ],
)
def test_wrong_models_are_one_line_and_status_2(model, words, tracking_uri, dicom, tmp_path, capsys):
    arguments = ["predict", str(dicom), "-o", str(tmp_path / "out"), "--model", model]
    assert main(arguments) == 2
    errors = capsys.readouterr().err
    assert words in errors
    assert errors.count("\n") == 1
    assert not (tmp_path / "out").exists()
    assert main([*arguments, "--tracking-uri", "http://127.0.0.1:1"]) == 2
