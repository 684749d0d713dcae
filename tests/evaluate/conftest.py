"""A small cohort of drawn thoraces, tiny backbones and models, all real files on disk."""

import numpy as np
import pytest
import torch

from medprior.cohort import Cohort, CohortWriter
from medprior.networks import VisionTransformer, ViTSettings
from medprior.networks.backbone import save_weights
from medprior.provenance import write_config
from tests.ellipses import fill_ellipse

ROWS, COLS = 72, 64
SMALL = ViTSettings.from_values({"width": 24, "depth": 2, "heads": 4, "patch": 8, "registers": 1, "image_size": 32})


def ellipse(y, x, ry, rx):
    """A filled ellipse, centre and half axes as shares of the sides."""
    return fill_ellipse((ROWS, COLS), (y * ROWS + 0.5, x * COLS + 0.5), (ry * ROWS, rx * COLS))


def thorax(rng):
    """Pixels, masks and labels of one drawn thorax."""
    y, x = rng.uniform(0.42, 0.52), rng.uniform(0.46, 0.54)
    masks = {
        "right_lung": ellipse(y, x - 0.2, 0.3, 0.13),
        "left_lung": ellipse(y, x + 0.2, 0.3, 0.13),
    }
    wide = rng.random() < 0.4
    masks["heart"] = ellipse(y + 0.15, x + 0.04, 0.14, 0.2 if wide else 0.12)
    pixels = np.full((ROWS, COLS), 0.5, np.float32)
    pixels[masks["right_lung"] | masks["left_lung"]] = 0.15
    pixels[masks["heart"]] = 0.8
    effusion = rng.random() < 0.5
    if effusion:
        pixels[ellipse(y + 0.25, x - 0.2, 0.08, 0.13)] = 0.9
    pixels = np.clip(pixels + rng.normal(scale=0.04, size=pixels.shape), 0, 1)
    labels = {"cardiomegaly": float(wide), "effusion": float(effusion), "never": 0.0}
    return pixels.astype(np.float32), masks, labels


def write_cohort(path, images=90, seed=0, lungs_only=False, labels=None):
    """Drawn thoraces, two images a patient; every seventh lacks the heart's mask, a tenth the label `effusion`."""
    rng = np.random.default_rng(seed)
    with CohortWriter(path, store_size=64) as writer:
        for number in range(images):
            pixels, masks, findings = thorax(rng)
            if rng.random() < 0.1:
                findings["effusion"] = float("nan")
            if lungs_only:
                masks = {"lungs": masks["left_lung"] | masks["right_lung"]}
            if number % 7 == 0:
                masks.pop("heart", None)
            writer.add(
                image_id=f"i{number:03d}",
                pixels=pixels,
                patient_id=f"p{number // 2:03d}",
                labels=(labels or (lambda findings: findings))(findings),
                masks=masks,
                dataset="drawn",
                spacing_mm=5.0,
                spacing_kind="detector" if number % 2 else "film",
            )
        writer.finish(fractions=(0.4, 0.2, 0.4), seed=seed)
    return path


def write_backbone(path, heads, seed=0):
    """Random weights as `medprior pretrain` writes a backbone, with the given heads."""
    torch.manual_seed(seed)
    save_weights(path / "backbone.safetensors", VisionTransformer(SMALL))
    (path / "metrics.csv").write_text("step,loss,teacher_entropy\n10,5.0,2.0\n20,4.5,1.9\n30,4.2,1.7\n")
    write_config(
        path,
        "pretrain",
        {},
        outputs=("backbone.safetensors",),
        facts={
            "network": SMALL.model_dump(),
            "heads": heads,
            "view_size": 32,
            "training": {"teacher_entropy": 1.7, "uniform_entropy": 5.55},
        },
    )
    return path


@pytest.fixture(scope="session")
def cohort_path(tmp_path_factory):
    return write_cohort(tmp_path_factory.mktemp("cohort"))


@pytest.fixture(scope="session")
def cohort(cohort_path):
    return Cohort.open(cohort_path)


@pytest.fixture(scope="session")
def lungs_cohort(tmp_path_factory):
    return Cohort.open(write_cohort(tmp_path_factory.mktemp("lungs"), 40, 1, lungs_only=True))


@pytest.fixture(scope="session")
def span_path(tmp_path_factory):
    heads = {"left_lung": 0, "right_lung": 1, "heart": 2}
    return write_backbone(tmp_path_factory.mktemp("span"), heads)


@pytest.fixture(scope="session")
def dino_path(tmp_path_factory):
    return write_backbone(tmp_path_factory.mktemp("dino"), {}, seed=1)


def trained(cohort_path, out, task, seed):
    """A model of two epochs."""
    from medprior.finetune.settings import FinetuneSettings
    from medprior.finetune.training import finetune_model

    settings = FinetuneSettings.from_values(
        {"task": task, "epochs": 2, "seed": seed, "network": SMALL.model_dump(), "size": 32}
    )
    finetune_model(Cohort.open(cohort_path), out, task, settings=settings)
    return out


@pytest.fixture(scope="session")
def model_paths(tmp_path_factory, cohort_path):
    """Two classifiers and one segmenter."""
    root = tmp_path_factory.mktemp("models")
    return {
        "ours": trained(cohort_path, root / "ours", "classification", 0),
        "other": trained(cohort_path, root / "other", "classification", 1),
        "masks": trained(cohort_path, root / "masks", "segmentation", 0),
    }


@pytest.fixture(scope="session")
def planted_home(tmp_path_factory):
    from tests.evaluate.planted import write_planted

    return write_planted(tmp_path_factory.mktemp("planted") / "cohort")


@pytest.fixture(scope="session")
def planted_away(tmp_path_factory):
    """Sixty strangers without `hole`, and the last twenty patients of the home cohort."""
    from tests.evaluate.planted import write_away

    return write_away(tmp_path_factory.mktemp("planted") / "away")


@pytest.fixture(scope="session")
def planted_models(tmp_path_factory, planted_home):
    """One classifier that knows its findings, and one that does not."""
    from tests.evaluate.planted import train_planted

    root = tmp_path_factory.mktemp("models")
    return {
        "pooled": train_planted(planted_home, root / "pooled"),
        "plain": train_planted(planted_home, root / "plain", head="cls", epochs=1),
    }


@pytest.fixture(scope="session")
def planted_run(tmp_path_factory, planted_home, planted_away, planted_models, span_path):
    """The evidence folder of the planted findings, and its figures by the stem of their files."""
    from medprior.evaluate.evaluate import evaluate_cohort
    from medprior.evaluate.settings import EvaluateSettings
    from tests.saved_figures import keep_saved_figures

    out = tmp_path_factory.mktemp("evidence") / "planted"
    settings = {"resamples": 60, "map_size": 32, "neighbours": 5}
    with keep_saved_figures() as saved:
        evaluate_cohort(
            planted_home,
            out,
            backbone=("span", span_path),
            model=list(planted_models.items()),
            settings=EvaluateSettings.from_values(settings),
            external=[("away", planted_away)],
        )
    return out, {figure.get_label(): figure for figure in saved}


@pytest.fixture(scope="session")
def planted_evidence(planted_run):
    return planted_run[0]


@pytest.fixture(scope="session")
def planted_figures(planted_run):
    return planted_run[1]
