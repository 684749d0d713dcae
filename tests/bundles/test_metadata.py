"""Metadata and layout: what MONAI's own checks ask of a bundle, without a network."""

import json
import re
import urllib.request
from pathlib import Path

import jsonschema
import pytest
from monai.bundle import verify_metadata

import medprior
from medprior.bundle import check_keys

from .conftest import BUNDLES, CONFIGS, NAMES, config_files, metadata

SCHEMA = Path(medprior.__file__).parents[1] / "bundles/meta_schema_20240725.json"
HEADINGS = [
    "Model Overview", "Data", "Training configuration", "Performance", "MONAI Bundle Commands",
    "References", "License",
]  # fmt: skip
# Required by MONAI's meta_schema_20240725.
REQUIRED = [
    "schema", "version", "monai_version", "pytorch_version", "numpy_version",
    "required_packages_version", "task", "description", "authors", "copyright",
    "network_data_format",
]  # fmt: skip


def test_there_are_five():
    stages = ("classification", "ingestion", "pretraining", "segmentation", "spatial_prior")
    assert [f"chest_xray_{stage}" for stage in stages] == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_metadata_is_verified_without_a_network(name, monkeypatch):
    def refuse(*_):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    monkeypatch.setattr(urllib.request, "urlretrieve", refuse)
    file = BUNDLES / name / "configs/metadata.json"
    verify_metadata(meta_file=str(file), filepath=str(SCHEMA))


@pytest.mark.parametrize("key", REQUIRED)
def test_schema_asks_for_what_the_official_one_asks_for(key, tmp_path):
    values = metadata(NAMES[0])
    del values[key]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(values, json.loads(SCHEMA.read_text()))


@pytest.mark.parametrize("key", ["type", "format", "num_channels", "spatial_shape", "dtype"])
def test_schema_asks_for_whole_tensors(key):
    values = metadata(NAMES[0])
    del values["network_data_format"]["outputs"]["pred"][key]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(values, json.loads(SCHEMA.read_text()))


@pytest.mark.parametrize("name", NAMES)
def test_version_is_in_the_changelog_and_is_medpriors(name):
    values = metadata(name)
    assert values["version"] in values["changelog"]
    assert values["required_packages_version"]["medprior"] == medprior.__version__


@pytest.mark.parametrize("name", NAMES)
def test_versions_are_those_of_the_constraints(name):
    lines = (BUNDLES.parent / "constraints.txt").read_text().lower().splitlines()
    pinned = dict(line.split("==") for line in lines if "==" in line)
    values = metadata(name)
    wanted = {key: values[f"{key}_version"] for key in ("monai", "numpy")}
    wanted |= {"torch": values["pytorch_version"]} | values["required_packages_version"]
    wanted.pop("medprior")
    assert wanted == {key: pinned[key] for key in wanted}


@pytest.mark.parametrize("name", NAMES)
def test_layout(name):
    folder = BUNDLES / name
    assert (folder / "LICENSE").read_text() == (BUNDLES.parent / "LICENSE").read_text()
    assert (folder / "configs/logging.conf").is_file()
    assert not (folder / "scripts").exists()
    card = (folder / "docs/README.md").read_text()
    assert re.findall(r"^## (.*)$", card, re.M) == HEADINGS
    assert "Not a medical device" in card


@pytest.mark.parametrize("card", [*BUNDLES.glob("*/docs/README.md"), BUNDLES / "README.md"])
def test_commands_name_files_and_keys_that_exist(card):
    commands = re.findall(r"^python -m .*(?:\n +.*)*", card.read_text(), re.M)
    assert commands
    for command in commands:
        for file in re.findall(r"(?:bundles|medprior)/[\w/.]+\.json", command):
            assert (BUNDLES.parent / file).is_file(), file
        if "bundle run" not in command:
            continue
        folder = BUNDLES.parent / re.findall(r"(bundles/\w+/configs)/", command)[0]
        given = set(re.findall(r"--(\w+)", command)) - {"config_file", "standalone"}
        given -= {"nproc_per_node"}
        assert given <= check_keys.list_known_keys(folder), command


@pytest.mark.parametrize(("name", "files"), CONFIGS)
def test_run_id_and_output_dir(name, files):
    values = [json.loads(Path(path).read_text()) for path in config_files(name, files)]
    assert values[0]["output_dir"].startswith("$")
    assert any("run" in part for part in values)
    assert not any("output_dir" in part for part in values[1:])
