import json

import pytest
import torch

from medprior.cli import main
from medprior.networks import VisionTransformer, ViTSettings, save_weights
from medprior.provenance import write_config
from tests.finetune.conftest import make_cohort, tiny

SHAPE = {"width": 24, "depth": 2, "heads": 3, "patch": 8, "registers": 1, "image_size": 32}


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    """A backbone folder as pretraining writes it, with random weights."""
    folder = tmp_path_factory.mktemp("backbone")
    torch.manual_seed(0)
    settings = ViTSettings.from_values(SHAPE)
    save_weights(folder / "backbone.safetensors", VisionTransformer(settings))
    write_config(
        folder, "pretrain", {}, outputs=("backbone.safetensors",),
        facts={"network": settings.model_dump(), "heads": {"heart": 1}, "view_size": 32},
    )  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    path = tmp_path_factory.mktemp("config") / "settings.json"
    given = tiny(epochs=1).model_dump(mode="json", exclude_unset=True)
    del given["network"]
    path.write_text(json.dumps(given))
    return path


def call(*words):
    return main(["finetune", *map(str, words), "--no-tracking"])


def test_from_a_backbone(cohort, backbone, config, tmp_path, capsys):
    out = tmp_path / "m"
    settings = ["--set", "pooled_heads=assigned", "--set", "lr=1e-12", "--set", "final_lr=0"]
    code = call(cohort.path, out, "--task", "classification", "--backbone", backbone,
                "--config", config, *settings, "--labels", "large")  # fmt: skip
    assert code == 0
    assert "validation mean_auc" in capsys.readouterr().out
    record = json.loads((out / "config.json").read_text())
    assert record["labels"] == ["large"]
    assert record["heads"] == {"heart": 1}
    assert record["settings"]["layer_decay"] == 0.75
    assert record["preprocessing"]["size"] == 32
    assert set(record["inputs"]) == {"cohort", "backbone"}
    from safetensors.torch import load_file

    trained = load_file(out / "model.safetensors")
    given = load_file(backbone / "backbone.safetensors")
    for name, value in given.items():
        torch.testing.assert_close(trained[f"vit.{name}"], value, atol=1e-6, rtol=0)
    assert trained["linear.weight"].shape == (1, 2 * 24)


def test_segmentation_from_scratch(cohort, config, tmp_path, capsys):
    code = call(cohort.path, tmp_path / "m", "--task", "segmentation", "--config", config,
                "--set", "network.width=36", "--structures", "heart")  # fmt: skip
    assert code == 0
    record = json.loads((tmp_path / "m" / "config.json").read_text())
    assert record["network"]["width"] == 36
    assert record["structures"] == ["heart"]


def outside(path):
    """A cohort whose label table was changed to hold a 2 after it was written."""
    made = make_cohort(path, 30, per_patient=1)
    table = made.manifest.copy()
    table.loc[table.index[0], "large"] = 2.0
    table.to_parquet(path / "manifest.parquet", index=False)
    return path


def refusals(cohort, backbone, tmp_path):
    good = [cohort.path, tmp_path / "m"]
    classify = ["--task", "classification"]
    yield "no such|no finished result", [tmp_path / "none", tmp_path / "m", *classify]
    yield "no finished result", [*good, *classify, "--backbone", tmp_path / "nothing"]
    yield "another stage", [*good, *classify, "--backbone", cohort.path]
    yield "no label dragon", [*good, *classify, "--labels", "dragon"]
    yield "no masks of spleen", [*good, "--task", "segmentation", "--structures", "spleen"]
    yield "unknown key 'epoch'", [*good, *classify, "--set", "epoch=3"]
    yield "another architecture", [*good, *classify, "--backbone", backbone,
                                   "--set", "network.width=48"]  # fmt: skip
    yield "no head assigned", [*good, *classify, "--set", "pooled_heads=assigned"]
    yield "no such device", [*good, *classify, "--set", "device=cuda:77"]
    yield "multiple", [*good, *classify, "--set", "size=50"]
    segment = ["--task", "segmentation"]
    yield "one of the two", [*good, *classify, "--backbone", backbone,
                             "--set", "architecture=resnet18"]  # fmt: skip
    yield "unknown CNN architecture for classification", [*good, *classify, "--set", "architecture=resnet1999"]
    yield "should match pattern", [*good, *classify, "--set", "architecture=hf-hub:a/b"]
    yield "unknown CNN architecture for segmentation", [*good, *segment, "--set", "architecture=resnet18"]
    yield "not with architecture", [*good, *classify, "--set", "architecture=resnet18",
                                    "--set", "freeze=true"]  # fmt: skip
    yield "need a spatial prior", [*good, *classify, "--set", "span_weight=0.1"]
    yield "need a spatial prior", [*good, *segment, "--set", "targets=prior"]
    yield "another stage", [*good, *segment, "--set", "targets=prior", "--prior", backbone]
    yield "no finished result", [*good, *segment, "--set", "targets=prior",
                                 "--prior", tmp_path / "nothing"]  # fmt: skip
    yield "for task segmentation", [*good, *classify, "--set", "masks=1"]
    yield "fewer training patients", [*good, *segment, "--set", "masks=1000"]
    yield "labels outside", [outside(tmp_path / "outside"), tmp_path / "m", *classify]
    yield "cannot be read", [*good, *classify, "--config", tmp_path / "no.json"]


def test_few_masks_through_the_command(cohort, config, tmp_path, capsys):
    code = call(cohort.path, tmp_path / "m", "--task", "segmentation", "--config", config,
                "--set", "masks=1", "--set", "epochs=2", "--set", "network.width=24")  # fmt: skip
    assert code == 0
    assert "training images mean_dice" in capsys.readouterr().out


def test_wrong_input_is_one_line_and_exit_2(cohort, backbone, tmp_path, capsys):
    import re

    for message, words in refusals(cohort, backbone, tmp_path):
        code = call(*words)
        said = capsys.readouterr().err
        lines = [line for line in said.splitlines() if line.startswith("medprior")]
        assert code == 2, (message, said)
        assert re.search(message, lines[-1]), said
        assert "Traceback" not in said


def test_a_cohort_of_one_patient_is_refused(tmp_path, capsys):
    one = make_cohort(tmp_path / "one", 2)
    assert call(one.path, tmp_path / "m", "--task", "classification") == 2
    assert "is empty" in capsys.readouterr().err
