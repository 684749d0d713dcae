"""What a registered version holds and tells of itself."""

import json
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from medprior import provenance
from medprior.deploy import register_model
from medprior.deploy.registry import package
from medprior.errors import MedpriorError
from medprior.tracking import mlflow_store
from tests.deploy.registry.stored import find_stored_version


def test_nothing_in_the_registry_is_a_pickle(registry):
    files = [path for path in find_stored_version(registry).rglob("*") if path.is_file()]
    suffixes = {path.suffix for path in files}
    assert suffixes <= {
        "", ".py", ".json", ".yaml", ".txt", ".safetensors", ".md",
        ".html", ".css", ".js", ".typed",
    }, suffixes  # fmt: skip
    weights = [path for path in files if path.suffix == ".safetensors"]
    assert {path.parent.name for path in weights} == {"model", "segmenter"}
    assert not [path for path in files if path.read_bytes()[:1] == b"\x80" and path not in weights]
    description = (find_stored_version(registry) / "MLmodel").read_text()
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
    pins = (find_stored_version(registry) / "requirements.txt").read_text().splitlines()
    assert any(line.startswith("torch==") for line in pins)
    assert any(line.startswith("mlflow==") for line in pins)
    assert all("==" in line and "+" not in line for line in pins)
    info = json.loads((find_stored_version(registry) / "input_example.json").read_text())
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
    with pytest.raises(MedpriorError, match="the metrics belong to another model"):
        register_model(classifier, "cxr", evidence=second, tracking_uri=tracking_uri)
    wrong = evidence_for(tmp_path / "b", phantom_cohort, seg=segmenter)
    with pytest.raises(MedpriorError, match="the metrics belong to another model"):
        register_model(classifier, "cxr", evidence=wrong, tracking_uri=tracking_uri)
    first = evidence_for(tmp_path / "c", phantom_cohort, ours=classifier, other=other, seg=segmenter)
    register_model(classifier, "cxr", evidence=first, tracking_uri=tracking_uri)
    tags = mlflow_store.connect_to_store(tracking_uri).get_model_version_by_alias("cxr", "champion").tags
    metrics = {name: tags[name] for name in tags if name.startswith("metric.")}
    assert metrics == {"metric.classification.mauc": "0.812 [0.770, 0.851] n=120"}
    register_model(classifier, "cxr", segmenter=segmenter, evidence=first, tracking_uri=tracking_uri)
    tags = mlflow_store.connect_to_store(tracking_uri).get_model_version_by_alias("cxr", "champion").tags
    assert "metric.segmentation.dice.heart" in tags


def test_pins_are_those_of_the_package_and_not_of_its_tests():
    requirements = [Requirement(line) for line in metadata.requires("medprior")]
    names = {item.name for item in requirements if item.marker is None or item.marker.evaluate({"extra": ""})}
    pins = package.list_pinned_requirements()
    pinned = [pin.partition("==")[0] for pin in pins]
    assert set(pinned) == names
    assert "torch" in pinned
    assert not {"pytest", "hypothesis", "ruff"} & set(pinned)
    assert pins == sorted(pins, key=str.lower)


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        ({"value": 0.8125, "ci95": [0.7744, 0.8506], "n": 120}, "0.812 [0.774, 0.851] n=120"),
        ({"value": 0.5, "ci95": [None, 0.75], "n": 0}, "0.500 n=0"),
        ({"value": 1, "ci95": None}, "1.000"),
    ],
)
def test_a_metric_in_words(entry, text):
    assert package.format_metric_interval(entry) == text


def test_only_what_prediction_needs_is_staged(classifier, segmenter, tmp_path):
    staged = package.stage_artifacts(classifier, segmenter, tmp_path / "artifacts")
    assert staged == {name: tmp_path / "artifacts" / name for name in ("model", "segmenter")}
    for folder, source in zip(staged.values(), (classifier, segmenter), strict=True):
        assert {path.name for path in folder.iterdir()} == {"config.json", "model.safetensors"}
        assert (folder / "config.json").read_bytes() == (source / "config.json").read_bytes()


def test_the_code_goes_without_compiled_files_and_pictures(tmp_path):
    code = package.copy_package_code(tmp_path)
    assert code == tmp_path / "medprior"
    assert (code / "deploy" / "registry" / "pyfunc_entry.py").is_file()
    assert not {".pyc", ".so", ".png"} & {path.suffix for path in code.rglob("*")}
    assert not list(code.rglob("__pycache__"))
