"""MONAI finds in every config what its applications ask for, under the right names."""

import socket

import pytest
import torch

from medprior.errors import ConfigError

from .conftest import (
    BUNDLES,
    CONFIGS,
    TINY_FINETUNING,
    TINY_PRETRAINING,
    metadata,
    run,
    workflow,
)


def overrides(name, files, cohort, pictures, models, out):
    if name == "chest_xray_ingestion":
        return {"dataset_dir": str(pictures), "out": str(out)}
    if name == "chest_xray_spatial_prior":
        return {"dataset_dir": str(cohort), "out": str(out)}
    if files[0] == "inference.json":
        model = models[name.removeprefix("chest_xray_")]
        return {"dataset_dir": str(pictures), "model_dir": str(model), "out": str(out)}
    tiny = TINY_PRETRAINING if name == "chest_xray_pretraining" else TINY_FINETUNING
    return {"dataset_dir": str(cohort), "out": str(out), **tiny}


@pytest.fixture
def one_process(monkeypatch):
    """What torchrun tells its workers, for a run of one."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
    told = {"RANK": 0, "LOCAL_RANK": 0, "WORLD_SIZE": 1, "MASTER_PORT": port}
    for key, value in told.items():
        monkeypatch.setenv(key, str(value))
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")


@pytest.mark.parametrize(("name", "files"), CONFIGS)
@pytest.mark.usefixtures("one_process")
def test_check_properties(name, files, phantom_cohort, pictures, models, tmp_path):
    given = overrides(name, files, phantom_cohort, pictures, models, tmp_path / "out")
    bundle = workflow(name, *files, **given)
    bundle.initialize()
    try:
        assert bundle.check_properties() == []
        assert isinstance(bundle.network_def, torch.nn.Module)
        if files[0] == "train.json":
            assert bundle.max_epochs == bundle.trainer.state.max_epochs
    finally:
        bundle.finalize()


@pytest.mark.parametrize("task", ["classification", "segmentation"])
def test_network_gives_what_the_metadata_says(task, models, pictures, tmp_path):
    name = f"chest_xray_{task}"
    given = overrides(name, ("inference.json",), None, pictures, models, tmp_path)
    bundle = workflow(name, "inference.json", **given)
    bundle.initialize()
    told = metadata(name)["network_data_format"]["outputs"]["pred"]
    found = bundle.network_def(torch.rand(2, 1, 40, 40))
    assert found.shape[:2] == (2, told["num_channels"])
    assert found.ndim == (2 if task == "classification" else 4)
    names = bundle.parser.get_parsed_content("predictor").models[task].labels
    assert list(told["channel_def"].values()) == list(names)


def test_a_model_of_another_task_is_refused(models, pictures, tmp_path):
    given = {"model_dir": str(models["segmentation"]), "dataset_dir": str(pictures)}
    with pytest.raises(RuntimeError) as caught:
        run("chest_xray_classification", "inference.json", out=str(tmp_path / "o"), **given)
    assert "a model for another task" in messages(caught.value)


def test_unknown_override_is_refused():
    with pytest.raises(RuntimeError) as caught:
        workflow("chest_xray_pretraining", "train.json", dataset_dri="x").initialize()
    assert "unknown key --dataset_dri; did you mean --dataset_dir?" in messages(caught.value)


def test_unknown_setting_is_refused(phantom_cohort, tmp_path):
    given = {"dataset_dir": str(phantom_cohort), "settings#epocs": 3, "out": str(tmp_path)}
    with pytest.raises(RuntimeError) as caught:
        run("chest_xray_pretraining", "train.json", **given)
    assert "unknown key 'epocs'" in messages(caught.value)


def test_plain_output_dir_is_refused():
    with pytest.raises(RuntimeError) as caught:
        workflow("chest_xray_pretraining", "train.json", output_dir="x").initialize()
    assert "give --out FOLDER" in messages(caught.value)


def test_epochs_and_steps_must_agree(phantom_cohort, tmp_path):
    given = TINY_PRETRAINING | {"settings#steps": 3, "out": str(tmp_path / "out")}
    with pytest.raises(RuntimeError) as caught:
        run("chest_xray_pretraining", "train.json", dataset_dir=str(phantom_cohort), **given)
    assert "epochs and settings#steps disagree" in messages(caught.value)


def test_every_key_of_every_config_is_known_to_the_check():
    """A bundle that refuses its own keys could not start."""
    for name, files in CONFIGS:
        assert (BUNDLES / name / "configs" / files[-1]).is_file()
        bundle = workflow(name, *files)
        bundle.parser["initialize"] = bundle.parser["initialize"][:1]
        bundle.initialize()


def messages(error):
    """All messages of a chain of errors that ends in one of ours."""
    found = []
    while error is not None:
        found.append(error)
        error = error.__cause__
    assert isinstance(found[-1], ConfigError)
    return " ".join(map(str, found))
