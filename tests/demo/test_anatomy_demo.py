"""Training of the anatomy model that ships, at its smallest."""

import json

import numpy as np
import pytest
from PIL import Image

from medprior.cli import main
from medprior.demo.anatomy_demo import (
    ANATOMY_SOURCES,
    AnatomyDemoSettings,
    gather_anatomy_model,
    limit_drawings,
    name_drawings,
)
from medprior.finetune import load_finetuned_model
from medprior.finetune.settings import FinetuneSettings
from medprior.networks import load_backbone
from medprior.phantom import render_phantom
from medprior.pretrain import PretrainSettings
from medprior.provenance import write_config

SMALL = {
    "store_size": 64, "kermany_limit": 4, "drawings": [0, 1],
    "teacher_epochs": 60, "student_epochs": 1, "unet_epochs": 1, "few_masks_unet_epochs": 1,
    "pretrain": {
        "steps": 3, "batch": 4, "window": 2, "dino": {"prototypes": 16}, "span": {"weight": 1.0},
        "network": {"width": 24, "depth": 1, "heads": 6, "patch": 8, "image_size": 32},
        "crops": {"global_size": 32, "local_size": 16, "locals": 1},
    },
    "segmentation": {"size": 32, "source_size": 48, "batch": 8},
}  # fmt: skip


def write_sources(folder):
    """Phantoms in the layouts of the four data sets; 24 of them with masks."""
    for seed in range(42):
        image = render_phantom(seed, 64)
        picture = Image.fromarray(np.uint8(np.rint(image.pixels / image.pixels.max() * 255)))
        if seed < 24:
            path = folder / "wingspan" / "images" / f"wing{seed:03d}.png"
            for name in ("left_lung", "right_lung", "heart"):
                mask = folder / "wingspan" / "masks" / name / path.name
                mask.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(np.uint8(image.masks[name]) * 255).save(mask)
        elif seed < 30:
            path = folder / "nih" / f"{seed:08d}_000.png"
        elif seed < 36:
            path = folder / "hannover" / f"{seed:08x}.png"
        else:
            path = folder / "kermany" / "images" / f"IM-{seed:04d}-0001.jpeg"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path)
    (folder / "wingspan" / "ctr.csv").write_text("image,cardiothoracic_ratio\nwing000.png,0.5\n")
    nih = [f"{path.name},50,F,PA,No Finding" for path in sorted((folder / "nih").glob("*.png"))]
    (folder / "nih" / "labels.csv").write_text("\n".join(["image,age,sex,view,finding_labels", *nih]) + "\n")
    hannover = [f"{path.stem},{number},F,PA" for number, path in enumerate(sorted((folder / "hannover").glob("*.png")))]
    (folder / "hannover" / "data.csv").write_text("\n".join(["image_id,patient_id,sex,projection", *hannover]) + "\n")


def test_missing_sources_are_named(tmp_path, capsys):
    assert main(["demo", str(tmp_path / "out"), "--anatomy", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert "no wingspan/" in error
    assert all(name in error for name in ANATOMY_SOURCES)


def test_default_settings_fit_their_stages():
    settings = AnatomyDemoSettings()
    pretrain = PretrainSettings.from_values(settings.pretrain | {"recipe": "span"})
    assert pretrain.crops.global_size % pretrain.network.patch == 0
    segmentation = FinetuneSettings.from_values(settings.segmentation | {"task": "segmentation", "targets": "teacher"})
    assert segmentation.augment.rotate == 10
    assert settings.drawings[0] == 0, "the first is shipped: all masks"


def test_drawings_limit_the_masks(tmp_path):
    (tmp_path / "annotation.json").write_text(json.dumps({"image_id": "i7"}))
    assert limit_drawings(0, tmp_path) == {}
    assert limit_drawings(1, tmp_path) == {"mask_images": ["i7"]}
    assert limit_drawings(5, tmp_path) == {"masks": 5}
    assert [name_drawings(count) for count in (0, 1, 5, 20)] == ["all", "one", "five", "20"]


def test_the_gathered_model_has_weights_and_configs_alone(tmp_path):
    for name in ("backbone", "segmenter_all"):
        folder = tmp_path / name
        (folder / "checkpoints").mkdir(parents=True)
        for file in ("w.safetensors", "metrics.csv", "picture.png", "checkpoints/step.pt"):
            (folder / file).write_bytes(b"x")
        write_config(folder, "finetune", {}, outputs=("w.safetensors", "metrics.csv", "picture.png"), seed=0)
    out = gather_anatomy_model(tmp_path, tmp_path / "segmenter_all")
    files = sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())
    assert files == [
        f"{name}/{file}" for name in ("backbone", "segmenter") for file in ("config.json", "w.safetensors")
    ]


@pytest.mark.slow
def test_the_same_command_gives_the_same_weights_twice(tmp_path, monkeypatch, capsys):
    data = tmp_path / "data"
    write_sources(data)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.json").write_text(json.dumps(SMALL))
    for name in ("a", "b"):
        assert main(["demo", name, "--anatomy", str(data), "--config", "small.json"]) == 0, capsys.readouterr().err
    for file in ("anatomy/backbone/backbone.safetensors", "anatomy/segmenter/model.safetensors"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    model = load_finetuned_model(tmp_path / "a" / "anatomy" / "segmenter")
    assert model.structures == ("left_lung", "right_lung", "heart")
    assert load_backbone(tmp_path / "a" / "anatomy" / "backbone").size == 32
    metrics = json.loads((tmp_path / "a" / "evidence" / "metrics.json").read_text())
    assert any("self-trained_one" in key for key in metrics)
