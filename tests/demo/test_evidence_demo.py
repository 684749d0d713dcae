"""The study of findings from few labels, at its smallest."""

import json

import numpy as np
import pytest
from PIL import Image

from medprior.cli import main
from medprior.demo.evidence_demo import EVIDENCE_ARMS, EvidenceDemoSettings, build_few_label_settings
from medprior.demo.real_demo import REAL_ARMS
from medprior.evaluate.compare.plan import build_pretrain_settings
from medprior.evaluate.compare.settings import CompareSettings
from medprior.phantom import render_phantom

SMALL = {
    "arms": ["span", "dino"], "seeds": 2, "fractions": [1.0, 0.5], "draws": 2,
    "probes": {"resamples": 20, "neighbours": 3, "inverse_penalties": [0.1]},
    "pretrain": {
        "steps": 3, "batch": 4, "window": 2, "dino": {"prototypes": 16},
        "network": {"width": 24, "depth": 1, "heads": 6, "patch": 8, "image_size": 32},
        "crops": {"global_size": 32, "local_size": 16, "locals": 1},
    },
}  # fmt: skip


def write_sources(folder):
    """Phantoms as six annotated adults and sixty children, a third of them with each label."""
    for seed in range(66):
        image = render_phantom(seed, 64)
        picture = Image.fromarray(np.uint8(np.rint(image.pixels / image.pixels.max() * 255)))
        if seed < 6:
            path = folder / "wingspan" / "images" / f"wing{seed:03d}.png"
            for name in ("left_lung", "right_lung", "heart"):
                mask = folder / "wingspan" / "masks" / name / path.name
                mask.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(np.uint8(image.masks[name]) * 255).save(mask)
        else:
            kind = ("IM-{0:04d}-0001", "person{0}_bacteria_1", "person{0}_virus_1")[seed % 3]
            path = folder / "kermany" / "images" / f"{kind.format(seed)}.jpeg"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path)
    (folder / "wingspan" / "ctr.csv").write_text("image,cardiothoracic_ratio\nwing000.png,0.5\n")


def test_missing_sources_are_named(tmp_path, capsys):
    assert main(["demo", str(tmp_path / "out"), "--evidence", str(tmp_path)]) == 2
    assert "kermany and wingspan" in capsys.readouterr().err


def test_arms_are_those_of_the_other_study_and_have_their_objectives():
    settings = EvidenceDemoSettings()
    comparison = CompareSettings.from_values(build_few_label_settings(settings))
    assert comparison.fractions == (1.0, 0.1, 0.05, 0.01)
    assert comparison.evaluate.probe_draws >= 5
    assert not comparison.finetune
    weights = {}
    for name in settings.arms:
        assert EVIDENCE_ARMS[name]["recipe"] == REAL_ARMS[name]["recipe"]
        values = build_pretrain_settings(comparison.arm(name, None), 0, comparison)
        weights[name] = (values.span.weight, values.dino.koleo_weight, values.loca.weight, values.sar.weight)
        assert values.steps == 450
    assert weights["span"][0] == 1
    assert weights["dino"] == (0, 0, 0, 0)
    assert weights["dino+koleo"][1] > 0
    assert weights["loca-alone"][2] > 0
    assert weights["sar+nosn"][3] > 0


@pytest.mark.slow
def test_the_table_has_every_arm_and_share(tmp_path, capsys):
    write_sources(tmp_path / "data")
    config = tmp_path / "small.json"
    config.write_text(json.dumps(SMALL))
    out = tmp_path / "out"
    assert main(["demo", str(out), "--evidence", str(tmp_path / "data"), "--config", str(config)]) == 0
    table = (out / "comparison" / "low_data.md").read_text()
    assert table in capsys.readouterr().out
    assert "| arm | 50 % | 100 % |" in table
    assert "| span - dino |" in table
    metrics = json.loads((out / "comparison" / "metrics.json").read_text())
    assert len(metrics["low_data.50pct.pooled_linear_mauc"]["seeds"]) == 2
    plan = json.loads((out / "comparison" / "plan.json").read_text())
    assert plan["evaluate"]["probe_draws"] == 2
