"""The stages on pictures without a chest: visual quality assurance, from one drawn board."""

import json

import pytest

from medprior.cli import run_stage
from medprior.networks import load_backbone
from medprior.provenance import write_json

from .boards import PARTS, write_boards

PRETRAIN = {
    "batch": 32,
    "network": {"width": 96, "depth": 4, "heads": 6, "patch": 8, "image_size": 64},
    "crops": {"global_size": 64, "local_size": 32, "locals": 2},
    "optimiser": {"lr": 0.0007},
    "dino": {"prototypes": 256},
}


def prepare_boards(folder, count):
    """A cohort of boards, one of them annotated, and the prior registered from it."""
    descriptor = write_boards(folder, count)
    cohort, annotation, prior = folder / "cohort", folder / "annotation", folder / "prior"
    stages = {
        "ingest": [folder / "boards", cohort, "--dataset", descriptor, "--store-size", 96],
        "annotate": [annotation, "--cohort", cohort, "--image-id", "auto"],
        "prior": [cohort, prior, "--annotation", annotation],
    }
    for name, arguments in stages.items():
        run_stage(name, [str(argument) for argument in arguments])
    return cohort, prior


def pretrain_board_backbone(folder, cohort, recipe, steps, *options):
    config, out = folder / "pretrain.json", folder / recipe
    write_json(config, PRETRAIN | {"steps": steps})
    run_stage("pretrain", [str(x) for x in (cohort, out, "--recipe", recipe, "--config", config, *options)])
    return out


def evaluate_boards(folder, cohort, prior, *backbones):
    """What `metrics.json` holds."""
    named = [part for path in backbones for part in ("--backbone", f"{path.name}={path}")]
    run_stage("evaluate", [
        str(x) for x in (cohort, folder / "evidence", *named, "--prior", f"registered={prior}", "--set", "probe=false")
    ])  # fmt: skip
    return json.loads((folder / "evidence" / "metrics.json").read_text())


def test_every_stage_takes_boards(tmp_path):
    """Parts of any name; nothing asks for lungs."""
    cohort, prior = prepare_boards(tmp_path, 20)
    backbone = pretrain_board_backbone(tmp_path, cohort, "span", 4, "--prior", prior)
    assert set(load_backbone(backbone).heads) == set(PARTS)
    metrics = evaluate_boards(tmp_path, cohort, prior, backbone)
    assert all(f"attention.pixel_ap.{part}" in metrics for part in PARTS)
    assert all(metrics[f"registered_prior.pixel_ap.{part}"]["value"] > 0.8 for part in PARTS)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_one_drawn_board_teaches_where_the_parts_are(tmp_path):
    """Prints attention's pixel-AP on test boards, SPAN beside DINO."""
    cohort, prior = prepare_boards(tmp_path, 150)
    span = pretrain_board_backbone(tmp_path, cohort, "span", 240, "--prior", prior)
    dino = pretrain_board_backbone(tmp_path, cohort, "nokoleo", 240)
    metrics = evaluate_boards(tmp_path, cohort, prior, span, dino)
    for key, values in metrics.items():
        if ".pixel_ap." in key and "oracle" not in key:
            print(key, values)
    for part in PARTS:
        key = f"attention.pixel_ap.{part}"
        assert metrics[key]["ci95"][0] > metrics[f"baseline.nokoleo.{key}"]["ci95"][1]
