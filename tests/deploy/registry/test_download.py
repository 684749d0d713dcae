"""What the registry may hold that is not ours: refused, and nothing of it is run."""

import os
import subprocess
import textwrap
from pathlib import Path

import pytest
import yaml

from medprior.deploy.registry import download
from medprior.errors import MedpriorError
from medprior.tracking import mlflow_store


def fetch(uri: str, tracking_uri: str | None = None) -> None:
    with download.fetch_package(uri, tracking_uri):
        pass


def log_pyfunc(tracking_uri: str, name: str, **how) -> str:
    import mlflow

    client = mlflow_store.connect_to_store(tracking_uri)
    with (
        mlflow_store.activate_store(client),
        mlflow.start_run(experiment_id=mlflow_store.ensure_experiment(client, "medprior")),
    ):
        info = mlflow.pyfunc.log_model(name="model", pip_requirements=["mlflow"], **how)
    client.create_registered_model(name)
    version = client.create_model_version(name, info.model_uri, model_id=info.model_id)
    client.set_registered_model_alias(name, "champion", version.version)
    return version.version


def test_a_pickled_model_is_refused_and_not_run(tracking_uri, tmp_path):
    from mlflow.pyfunc import PythonModel

    marker = tmp_path / "ran"

    class Hostile(PythonModel):
        def __reduce__(self):
            return os.mkdir, (str(marker),)

        def predict(self, context, model_input, params=None):
            return model_input

    log_pyfunc(tracking_uri, "hostile", python_model=Hostile())
    with pytest.raises(MedpriorError, match="pickled"):
        fetch("models:/hostile@champion", tracking_uri)
    assert not marker.exists()
    from mlflow.exceptions import MlflowException
    from mlflow.pyfunc import load_model

    client = mlflow_store.connect_to_store(tracking_uri)
    with mlflow_store.activate_store(client), pytest.raises(MlflowException, match="pickle"):
        load_model("models:/hostile@champion")
    assert not marker.exists()


def test_foreign_code_is_refused_and_not_run(tracking_uri, tmp_path):
    marker = tmp_path / "ran"
    entry = tmp_path / "entry.py"
    entry.write_text(
        textwrap.dedent(f"""
            import os
            from mlflow.models import set_model
            from mlflow.pyfunc import PythonModel
            class Foreign(PythonModel):
                def load_context(self, context):
                    os.mkdir({str(marker)!r})
                def predict(self, context, model_input, params=None):
                    return model_input
            set_model(Foreign())
        """)
    )
    log_pyfunc(tracking_uri, "foreign", python_model=str(entry))
    with pytest.raises(MedpriorError, match="not a package of `medprior register`"):
        fetch("models:/foreign@champion", tracking_uri)
    assert not marker.exists()


def test_what_is_missing_is_named(tracking_uri, tmp_path, monkeypatch):
    with pytest.raises(MedpriorError, match="no MLflow store here"):
        fetch("models:/cxr@champion", f"sqlite:///{tmp_path}/none.db")
    assert not (tmp_path / "none.db").exists()
    with pytest.raises(MedpriorError, match="no such registered model"):
        fetch("models:/cxr@champion", tracking_uri)
    mlflow_store.connect_to_store(tracking_uri).create_registered_model("cxr")
    with pytest.raises(MedpriorError, match="no such alias"):
        fetch("models:/cxr@champion", tracking_uri)
    with pytest.raises(MedpriorError, match="no such version"):
        fetch("models:/cxr/7", tracking_uri)
    with pytest.raises(MedpriorError, match="no such version"):
        fetch("models:/cxr/latest", tracking_uri)
    with pytest.raises(MedpriorError, match="cannot be fetched"):
        fetch("models:/m-0123456789abcdef", tracking_uri)


@pytest.mark.parametrize("uri", ["models:/", "models:/a/b/c", "models:/a@", "runs:/x", "models:/@b"])
def test_malformed_names_are_refused(uri, tracking_uri):
    with pytest.raises(MedpriorError, match="not a model"):
        fetch(uri, tracking_uri)


def test_a_lost_artifact_is_one_line(tracking_uri, tmp_path):
    import shutil

    entry = tmp_path / "entry.py"
    entry.write_text(
        "from mlflow.models import set_model\nfrom mlflow.pyfunc import PythonModel\n"
        "class M(PythonModel):\n    def predict(self, context, model_input, params=None):\n"
        "        return model_input\nset_model(M())\n"
    )
    log_pyfunc(tracking_uri, "lost", python_model=str(entry))
    shutil.rmtree(tmp_path / "mlruns")
    with pytest.raises(MedpriorError) as caught:
        fetch("models:/lost@champion", tracking_uri)
    assert "\n" not in str(caught.value)
    assert Path(tmp_path / "mlflow.db").exists()


def test_a_moved_store_says_where_its_artifacts_were_and_how_to_point_to_them(tmp_path, monkeypatch):
    """The store and its artifacts lie in a folder that is renamed: the registry keeps absolute paths."""
    home, moved = tmp_path / "old home", tmp_path / "new"
    home.mkdir()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{home}/mlflow.db")
    code = tmp_path / "code.py"
    code.write_text(
        "import mlflow\nclass Model(mlflow.pyfunc.PythonModel):\n"
        "    def predict(self, context, model_input, params=None):\n        return model_input\n"
        "mlflow.models.set_model(Model())\n"
    )
    version = log_pyfunc(f"sqlite:///{home}/mlflow.db", "own", python_model=str(code))
    home.rename(moved)
    store = f"sqlite:///{moved}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    source = mlflow_store.connect_to_store(store).get_model_version("own", version).source
    for uri in ("models:/own@champion", f"models:/own/{version}", source):
        with pytest.raises(MedpriorError, match="not where the store says") as caught:
            fetch(uri, store)
        assert str(home) in caught.value.expected
        assert caught.value.fix == f"the store was moved: ln -s {moved}/mlruns '{home}/mlruns'"
    subprocess.run(caught.value.fix.partition(": ")[2], shell=True, check=False, stderr=subprocess.DEVNULL, timeout=300)
    assert not home.exists()
    home.mkdir()
    subprocess.run(caught.value.fix.partition(": ")[2], shell=True, check=True, timeout=300)
    # Now the artifacts are read, and this foreign model is refused for what it is.
    with pytest.raises(MedpriorError, match="not a package of `medprior register`"):
        fetch("models:/own@champion", store)
    (home / "mlruns").unlink()
    (moved / "mlruns").rename(tmp_path / "elsewhere")
    with pytest.raises(MedpriorError, match="move the folder back, or make a link"):
        fetch("models:/own@champion", store)


MLMODEL = {
    "flavors": {
        "python_function": {
            "loader_module": "mlflow.pyfunc.loaders.code_model",
            "code": "code",
            "model_code_path": "anywhere/pyfunc_entry.py",
            "artifacts": {"model": {"path": "artifacts/model", "uri": "x"}},
        }
    }
}


def write_package(root: Path, names=("model",), **changes) -> dict:
    """The files of a package without its code, and its flavour with some fields changed."""
    for name in names:
        folder = root / "artifacts" / name
        folder.mkdir(parents=True)
        (folder / "config.json").write_text("{}")
        (folder / "model.safetensors").write_bytes(b"PK\x03\x04")  # the length of a header, which may be anything
    flavour = MLMODEL["flavors"]["python_function"] | changes
    (root / "MLmodel").write_text(yaml.safe_dump({"flavors": {"python_function": flavour}}))
    return flavour


def path_of(name: str) -> dict:
    return {"path": f"artifacts/{name}"}


@pytest.mark.parametrize(
    ("names", "changes", "expected"),
    [
        (("model",), {}, True),
        (("model", "segmenter"), {"artifacts": {n: path_of(n) for n in ("model", "segmenter")}}, True),
        (("segmenter",), {"artifacts": {"segmenter": path_of("segmenter")}}, False),
        (("model", "other"), {"artifacts": {n: path_of(n) for n in ("model", "other")}}, False),
        (("model",), {"artifacts": {"model": "artifacts/model"}}, False),
        (("model",), {"artifacts": {"model": {"path": "../model"}}}, False),
        (("model",), {"artifacts": ["model"]}, False),
        (("model",), {"artifacts": {}}, False),
        (("model",), {"loader_module": "mlflow.sklearn"}, False),
        (("model",), {"code": "other"}, False),
        (("model",), {"model_code_path": "other.py"}, False),
        ((), {}, False),
    ],
)
def test_a_package_has_the_fields_and_files_of_register(tmp_path, names, changes, expected):
    flavour = write_package(tmp_path, names, **changes)
    assert download.is_medprior_package(tmp_path, flavour) is expected
    if expected:
        download.check_package(tmp_path, "models:/cxr/1")
    else:
        with pytest.raises(MedpriorError, match="not a package of `medprior register`"):
            download.check_package(tmp_path, "models:/cxr/1")


@pytest.mark.parametrize("name", ["notes.txt", "other.safetensors", "config.yaml"])
def test_a_package_holds_no_other_files(tmp_path, name):
    flavour = write_package(tmp_path)
    (tmp_path / "artifacts" / "model" / name).write_text("")
    assert not download.is_medprior_package(tmp_path, flavour)


def test_a_package_holds_no_links(tmp_path):
    flavour = write_package(tmp_path)
    (tmp_path / "code").symlink_to("/")
    assert not download.is_medprior_package(tmp_path, flavour)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.pkl", b"", True), ("a.PT", b"", True), ("a.zip", b"", True), ("a.json", b"\x80\x04", True),
        ("a", b"PK\x03\x04", True), ("a.txt", b"\x1f\x8b\x08", True), ("a.json", b"{}", False), ("a.py", b"", False),
        ("a.json", b" \x80", False), ("a.safetensors", b"\x80\x04", False), ("a.txt", b"\x1f", False),
    ],
)  # fmt: skip
def test_pickles_and_archives_are_known_by_name_or_first_bytes(tmp_path, name, content, expected):
    (tmp_path / name).write_bytes(content)
    assert download.has_executable_code(tmp_path / name) is expected
    write_package(tmp_path / "package")
    (tmp_path / "package" / "code").mkdir()
    (tmp_path / "package" / "code" / name).write_bytes(content)
    if expected:
        with pytest.raises(MedpriorError, match="pickled objects, which could run code"):
            download.check_package(tmp_path / "package", "models:/cxr/1")
    else:
        download.check_package(tmp_path / "package", "models:/cxr/1")
    assert not download.has_executable_code(tmp_path)


def test_a_flavour_with_a_python_model_is_pickled(tmp_path):
    write_package(tmp_path, python_model="python_model.pkl")
    with pytest.raises(MedpriorError, match="pickled objects"):
        download.check_package(tmp_path, "models:/cxr/1")


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "flavors: 3", "flavors: {python_function: {a: 1}, sklearn: {}}", "flavors: {sklearn: {}}",
        "flavors: {python_function: 7}", "a: [", "!!python/object:os.system {}",
    ],
)  # fmt: skip
def test_a_description_that_is_not_pure_python_function_has_no_flavour(tmp_path, text):
    path = tmp_path / "MLmodel"
    assert download.read_pyfunc_flavour(path) == {}
    path.write_text(text)
    assert download.read_pyfunc_flavour(path) == {}


def test_a_description_may_have_a_mebibyte(tmp_path):
    path, text = tmp_path / "MLmodel", "flavors: {python_function: {a: 1}}\n"
    path.write_text(text + "#" * (2**20 - len(text)))
    assert download.read_pyfunc_flavour(path) == {"a": 1}
    path.write_text(text + "#" * (2**20 - len(text) + 1))
    assert download.read_pyfunc_flavour(path) == {}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("models:/a@b", True), ("runs:/1/model", True), ("models:a", False), ("/models:/a", False), ("model", False),
    ],
)  # fmt: skip
def test_registry_addresses_begin_with_models_or_runs(text, expected):
    assert download.is_registry_uri(text) is expected


def test_versions_and_aliases_are_resolved_to_numbers(tracking_uri):
    client = mlflow_store.connect_to_store(tracking_uri)
    client.create_registered_model("cxr")
    for _ in range(11):
        client.create_model_version("cxr", "file:///nowhere")
    client.set_registered_model_alias("cxr", "champion", "3")
    for uri, version in (("models:/cxr@champion", 3), ("models:/cxr/7", 7), ("models:/cxr/latest", 11)):
        assert download.resolve_alias(client, uri) == f"models:/cxr/{version}"
    for uri in ("runs:/abc/model", "models:/m-0123abc"):
        assert download.resolve_alias(client, uri) == uri
    with pytest.raises(MedpriorError) as caught:
        download.resolve_alias(client, "models:/cxr@none")
    assert caught.value.expected == "one of champion"
    with pytest.raises(MedpriorError) as caught:
        download.resolve_alias(client, "models:/none/1")
    assert caught.value.expected == "one of cxr"
