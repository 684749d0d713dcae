"""Hostile files at every entry: refused with one line and status 2, and nothing of them is run."""

import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml

from medprior.cli import main
from medprior.deploy import register_model
from medprior.networks import VisionTransformer, ViTSettings
from medprior.networks.backbone import save_weights
from medprior.networks.checkpoint import save_checkpoint
from medprior.priors import build_prior
from medprior.provenance import sha256_file, write_config
from medprior.tracking import mlflow_store
from tests.deploy import hostile

QUIET = ["--no-tracking"]


@pytest.fixture(scope="module")
def sound(phantom_cohort, classifier, segmenter, tmp_path_factory) -> dict[str, Path]:
    """One sound result of every kind."""
    folder = tmp_path_factory.mktemp("sound")
    shape = ViTSettings(width=24, depth=2, heads=3, registers=1, image_size=64)
    save_weights(folder / "backbone" / "backbone.safetensors", VisionTransformer(shape))
    write_config(
        folder / "backbone",
        "pretrain",
        {},
        outputs=("backbone.safetensors",),
        facts={"network": shape.model_dump(), "heads": {}, "view_size": 64},
    )
    cohort = phantom_cohort
    command = ["annotate", str(folder / "annotation"), "--cohort", str(cohort), *QUIET]
    assert main(command) == 0
    build_prior(cohort, folder / "prior", folder / "annotation", "static", workers=1)
    return {
        "cohort": cohort,
        "model": classifier,
        "segmenter": segmenter,
        "backbone": folder / "backbone",
        "prior": folder / "prior",
        "annotation": folder / "annotation",
    }


@pytest.fixture
def given(sound, tmp_path, dicom, tracking_uri) -> dict[str, Path]:
    """The sound results with every folder but the cohort as a copy to spoil; where to write."""
    there = {"out": tmp_path / "out", "dicom": dicom, "cohort": sound["cohort"]}
    for name, folder in sound.items():
        if name != "cohort":
            there[name] = Path(shutil.copytree(folder, tmp_path / "given" / name))
    return there


@pytest.fixture
def marker(tmp_path) -> Path:
    return tmp_path / "ran"


def refused(command: list[str], marker: Path, capsys, wanted: int = 2) -> str:
    """Run a command; it must refuse in one line, and leave no sign of having run anything."""
    capsys.readouterr()
    status = main(command)
    said = capsys.readouterr().err
    lines = [line for line in said.splitlines() if line.startswith("medprior ")]
    assert status == wanted, said
    assert len(lines) == 1, said
    assert len(lines[0]) < 2000
    assert "Traceback" not in said
    assert not marker.exists(), "something was run"
    return lines[0]


# What is spoilt -> entry -> the command that meets it.
ENTRIES = {
    "model": {
        "predict": "predict {dicom} -o {out} --model {model}",
        "register": "register {model} cxr",
        "evaluate": "evaluate {cohort} {out} --model {model} --no-tracking",
    },
    "segmenter": {
        "predict": "predict {dicom} -o {out} --model {segmenter}",
        "register": "register {model} cxr --segmenter {segmenter}",
        "evaluate": "evaluate {cohort} {out} --model {segmenter} --no-tracking",
    },
    "backbone": {
        "finetune": "finetune {cohort} {out} --task classification --backbone {backbone} --set epochs=1 --no-tracking",
        "evaluate": "evaluate {cohort} {out} --backbone {backbone} --no-tracking",
        "pretrain": "pretrain {cohort} {out} --recipe dino --init {backbone} --set steps=1 --no-tracking",
    },
}
PLACES = [(kind, entry) for kind, entries in ENTRIES.items() for entry in entries]


def everywhere(artifacts, places=PLACES) -> list:
    """Every artifact at every entry; all but one in eight, which still meets each, are slow."""
    pairs = []
    for column, artifact in enumerate(artifacts):
        for row, place in enumerate(places):
            quick = (column + row) % len(places) == 0
            where = place if isinstance(place, tuple) else (place,)
            pairs.append(pytest.param(*where, artifact, marks=() if quick else pytest.mark.slow))
    return pairs


def command(kind: str, entry: str, given: dict[str, Path]) -> list[str]:
    return [part.format(**given) for part in ENTRIES[kind][entry].split()]


@pytest.mark.parametrize(("kind", "entry", "artifact"), everywhere(hostile.WEIGHTS))
def test_weights(kind, entry, artifact, given, marker, capsys):
    hostile.swap_weights(given[kind], artifact, marker)
    refused(command(kind, entry, given), marker, capsys)


@pytest.mark.parametrize(("kind", "entry", "artifact"), everywhere(hostile.CONFIGS))
def test_config(kind, entry, artifact, given, marker, capsys):
    hostile.CONFIGS[artifact](given[kind], marker)
    refused(command(kind, entry, given), marker, capsys)


@pytest.mark.parametrize(("kind", "entry", "suffix"), everywhere(["pt", "ckpt", "pth", "zip", "pkl"]))
def test_a_file_in_place_of_a_folder(kind, entry, suffix, given, marker, capsys, tmp_path):
    path = tmp_path / f"evil.{suffix}"
    hostile.WEIGHTS["zip_slip" if suffix == "zip" else "torch_pickle"](path, marker)
    refused(command(kind, entry, given | {kind: path}), marker, capsys)


@pytest.mark.parametrize(
    ("kind", "entry", "value"),
    everywhere([10**9, -1, 0, 1e999, "$x", None], [p for p in PLACES if p[0] != "backbone"]),
)
@pytest.mark.parametrize("claim", ["size", "source_size"])
def test_claims_of_preprocessing(kind, entry, value, claim, given, marker, capsys):
    hostile.set_key("preprocessing", claim, value=value)(given[kind], marker)
    refused(command(kind, entry, given), marker, capsys)


CHECKPOINTS = {name: make for name, make in hostile.WEIGHTS.items() if "pickle" in name}
CHECKPOINTS["zip_slip"] = hostile.zip_slip
CHECKPOINTS["foreign"] = lambda path, marker: torch.save({"step": 3}, path)
CHECKPOINTS["no_mapping"] = lambda path, marker: torch.save([1, 2], path)


@pytest.mark.parametrize("artifact", CHECKPOINTS)
@pytest.mark.parametrize("stage", ["pretrain", "finetune"])
def test_checkpoints_to_go_on_from(stage, artifact, given, marker, capsys):
    folder = given["out"] / "checkpoints"
    save_checkpoint(folder, 1, {})
    (path,) = folder.glob("*.pt")
    CHECKPOINTS[artifact](path, marker)
    path.with_suffix(".sha256").write_text(sha256_file(path))
    words = {
        "pretrain": "pretrain {cohort} {out} --recipe dino --set steps=2 --no-tracking",
        "finetune": "finetune {cohort} {out} --task classification --set epochs=1 --no-tracking",
    }
    other = 3 if (stage, artifact) == ("pretrain", "foreign") else 2  # a run of other settings
    refused([part.format(**given) for part in words[stage].split()], marker, capsys, other)


PRIOR_ENTRIES = {
    "pretrain": "pretrain {cohort} {out} --prior {prior} --set steps=1 --no-tracking",
    "evaluate": "evaluate {cohort} {out} --prior {prior} --no-tracking",
}


@pytest.mark.parametrize("artifact", hostile.ARRAYS)
@pytest.mark.parametrize("entry", PRIOR_ENTRIES)
def test_arrays_of_a_prior(entry, artifact, given, marker, capsys):
    hostile.ARRAYS[artifact](given["prior"] / "prior.npz", marker)
    refused([p.format(**given) for p in PRIOR_ENTRIES[entry].split()], marker, capsys)


@pytest.mark.parametrize("artifact", ["deep", "missing", "expressions", "list"])
@pytest.mark.parametrize("entry", PRIOR_ENTRIES)
def test_record_of_a_prior(entry, artifact, given, marker, capsys):
    path = given["prior"] / "prior.json"
    record = json.loads(path.read_text())
    made = {
        "deep": "[" * 200_000,
        "missing": json.dumps({"images": 0}),
        "expressions": json.dumps({**hostile.expressions(record, marker), "excluded": 3, "images": "$x"}),
        "list": "[]",
    }
    path.write_text(made[artifact])
    refused([p.format(**given) for p in PRIOR_ENTRIES[entry].split()], marker, capsys)


@pytest.mark.parametrize(
    "change",
    ["deep", "missing", "outside", "list", "bomb"],
)
def test_annotations(change, given, marker, capsys):
    folder = given["annotation"]
    path = folder / "annotation.json"
    record = json.loads(path.read_text())
    outside = {**record, "structures": ["../../../../../../etc/hostname"]}
    texts = {"missing": "{}", "list": "[1]", "deep": "[" * 200_000, "outside": json.dumps(outside)}
    if change == "bomb":
        from tests.deploy.hostile_pictures import png_bomb

        (folder / "image.png").write_bytes(png_bomb())
    else:
        path.write_text(texts[change])

    def sealed(config):
        for name in ("annotation.json", "image.png"):
            config["outputs"][name] = sha256_file(folder / name)

    hostile.edit_config(folder, sealed)
    words = "prior {cohort} {out} --annotation {annotation} --method static --no-tracking"
    refused([part.format(**given) for part in words.split()], marker, capsys)


COHORT_ENTRIES = {
    "finetune": "finetune {cohort} {out} --task classification --no-tracking",
    "evaluate": "evaluate {cohort} {out} --model {model} --no-tracking",
    "prior": "prior {cohort} {out} --annotation {annotation} --method static --no-tracking",
    "pretrain": "pretrain {cohort} {out} --recipe dino --no-tracking",
}
COHORT_CONFIGS = ("deep", "long_number", "no_mapping", "not_text")


@pytest.mark.parametrize(("entry", "artifact"), everywhere(COHORT_CONFIGS, list(COHORT_ENTRIES)))
def test_config_of_a_cohort(entry, artifact, given, marker, capsys, tmp_path):
    given["cohort"] = Path(shutil.copytree(given["cohort"], tmp_path / "given" / "cohort"))
    hostile.CONFIGS[artifact](given["cohort"], marker)
    refused([p.format(**given) for p in COHORT_ENTRIES[entry].split()], marker, capsys)


LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{c}: &{c} [{', '.join(['*' + p] * 9)}]\n" for p, c in zip("abcdefgh", "bcdefghi", strict=True)
)
SETTINGS = {
    "python_tag": "epochs: !!python/object/apply:os.mkdir [MARKER]\n",
    "laughs": LAUGHS,
    "wrong_laughs": LAUGHS.replace("i: &i", "epochs: &i"),
    "deep": "epochs: " + "[" * 20_000,
    "expression": "epochs: $__import__('os').mkdir('MARKER')\n",
    "target": "epochs: {_target_: os.mkdir, path: MARKER}\n",
    "long_number": "epochs: " + "9" * 100_000,
    "not_text": "\x00\x01",
}


@pytest.mark.parametrize("artifact", SETTINGS)
@pytest.mark.parametrize("entry", ["finetune", "ingest"])
def test_settings_and_descriptors(entry, artifact, given, marker, capsys, tmp_path):
    path = tmp_path / "given.yaml"
    path.write_text(SETTINGS[artifact].replace("MARKER", str(marker)))
    commands = {
        "finetune": f"finetune {{cohort}} {{out}} --task classification --config {path} --no-tracking",
        "ingest": f"ingest {{dicom}} {{out}} --dataset {path} --no-tracking",
    }
    refused([part.format(**given) for part in commands[entry].split()], marker, capsys)


@pytest.fixture(scope="module")
def registered(empty_store, sound, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("registry")
    shutil.copy(empty_store, folder / "mlflow.db")
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    register_model(sound["model"], "cxr", segmenter=sound["segmenter"], tracking_uri=uri)
    register_model(sound["model"], "cxr", "challenger", tracking_uri=uri)
    return folder


def edit_mlmodel(**values):
    """Change the flavour's fields in MLmodel."""

    def change(root: Path, marker: Path) -> None:
        description = yaml.safe_load((root / "MLmodel").read_text())
        description["flavors"]["python_function"].update(values)
        (root / "MLmodel").write_text(yaml.safe_dump(description))

    return change


def added(name: str, kind: str):
    def change(root: Path, marker: Path) -> None:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        hostile.WEIGHTS[kind](root / name, marker)

    return change


def entry_replaced(root: Path, marker: Path) -> None:
    """Code of the package itself: ours is never run, so that the answer stays ours."""
    for path in (root / "pyfunc_entry.py", root / "code" / "medprior" / "__init__.py"):
        path.write_text(f"import os\nos.mkdir({str(marker)!r})\n")


def in_model(change):
    return lambda root, marker: change(root / "artifacts" / "model", marker)


def linked(root: Path, marker: Path) -> None:
    path = root / "artifacts" / "model" / "config.json"
    shutil.copy(path, root.parent / "elsewhere.json")
    path.unlink()
    path.symlink_to(root.parent / "elsewhere.json")


PACKAGES = {
    "python_model": edit_mlmodel(python_model="python_model.pkl"),
    "pickle_file": added("python_model.pkl", "bare_pickle"),
    "pickle_disguised": added("artifacts/model/notes.json", "bare_pickle"),
    "torch_disguised": added("artifacts/model/extra.safetensors", "torch_pickle"),
    "archive": added("artifacts/model/archive.zip", "zip_slip"),
    "loader_module": edit_mlmodel(loader_module="os"),
    "loader_of_mlflow": edit_mlmodel(loader_module="mlflow.pyfunc.model"),
    "loader_dotted": edit_mlmodel(loader_module="mlflow.pyfunc.loaders.code_model.x"),
    "code_outside": edit_mlmodel(code="../../../evil"),
    "code_absolute": edit_mlmodel(code="/tmp"),
    "entry_outside": edit_mlmodel(model_code_path="/tmp/evil.py"),
    "artifact_outside": edit_mlmodel(artifacts={"model": {"path": "../../etc", "uri": "x"}}),
    "other_artifact": edit_mlmodel(artifacts={"x": {"path": "artifacts/model", "uri": "x"}}),
    "deep_mlmodel": lambda root, marker: (root / "MLmodel").write_text("a: " + "[" * 50_000),
    "tagged_mlmodel": lambda root, marker: (root / "MLmodel").write_text(
        f"flavors: !!python/object/apply:os.mkdir [{marker}]\n"
    ),
    "link": linked,
    **{
        f"weights_{name}": in_model(lambda folder, marker, name=name: hostile.swap_weights(folder, name, marker))
        for name in ("torch_pickle", "header_length", "overlapping", "huge_shape", "nan")
    },
    **{
        f"config_{name}": in_model(hostile.CONFIGS[name])
        for name in ("expressions", "deep", "long_number", "wide", "many_blocks")
    },
}
REGISTRY_ENTRIES = {
    "predict": "predict {dicom} -o {out} --model models:/cxr@champion --tracking-uri {uri}",
    "promote": "promote cxr --cohort {cohort} --tracking-uri {uri}",
    "rollback": "promote cxr --rollback --tracking-uri {uri}",
}


QUICK_PACKAGES = {"pickle_disguised", "loader_module", "code_outside", "link", "config_deep"}


@pytest.mark.parametrize(
    "artifact",
    [pytest.param(name, marks=() if name in QUICK_PACKAGES else pytest.mark.slow) for name in PACKAGES],
)
def test_registry(artifact, registered, given, marker, capsys, tmp_path):
    """The champion, and the version to go back to, is spoilt in the artifact store."""
    folder = Path(shutil.copytree(registered, tmp_path / "registry", symlinks=True))
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    client = mlflow_store.connect_to_store(uri)
    version = client.get_model_version("cxr", "1")
    stored = client.get_logged_model(version.source.split("/")[-1]).artifact_location
    root = Path(stored.removeprefix("file://"))
    kept = Path(shutil.copytree(root, tmp_path / "kept"))
    client.set_registered_model_alias("cxr", "previous", "1")
    try:
        PACKAGES[artifact](root, marker)
        for entry, words in REGISTRY_ENTRIES.items():
            alias = "2" if entry == "rollback" else "1"
            client.set_registered_model_alias("cxr", "champion", alias)
            parts = [part.format(**given, uri=uri) for part in words.split()]
            refused(parts, marker, capsys)
    finally:
        shutil.rmtree(root)
        shutil.copytree(kept, root)


def test_code_of_a_registered_package_is_not_run(registered, given, marker, tmp_path, capsys):
    folder = Path(shutil.copytree(registered, tmp_path / "registry"))
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    client = mlflow_store.connect_to_store(uri)
    source = client.get_model_version("cxr", "1").source.split("/")[-1]
    root = Path(client.get_logged_model(source).artifact_location.removeprefix("file://"))
    kept = Path(shutil.copytree(root, tmp_path / "kept"))
    try:
        entry_replaced(root, marker)
        words = REGISTRY_ENTRIES["predict"]
        assert main([part.format(**given, uri=uri) for part in words.split()]) == 0
        assert not marker.exists()
    finally:
        shutil.rmtree(root)
        shutil.copytree(kept, root)
