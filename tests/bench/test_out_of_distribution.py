"""Whether unfamiliar pictures are told: drawn oddities here, real chests in the slow test."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medprior.bench.out_of_distribution import (
    OutOfDistributionReport,
    OutOfDistributionResult,
    bench_out_of_distribution,
)
from medprior.bench.out_of_distribution_images import (
    CHEST_CHANGES,
    SYNTHETIC_ODDITIES,
    create_out_of_distribution_pictures,
)
from medprior.cohort import Cohort, CohortWriter
from medprior.deploy import load_model
from medprior.deploy.inference.out_of_distribution import find_implausible_masks
from medprior.finetune.model import Model, load_finetuned_model
from medprior.finetune.settings import FinetuneSettings
from medprior.finetune.training import finetune_model
from tests.conftest import phantom_cohort_at

DATA = Path(__file__).parents[3] / "shared" / "data"


def test_a_tiny_model_tells_most_oddities(classifier, phantom_cohort):
    report = bench_out_of_distribution(load_finetuned_model(classifier), Cohort.open(phantom_cohort), max_chests=10)
    val = len(Cohort.open(phantom_cohort).split("val"))
    assert report.stated_rate == pytest.approx(1 / (val + 1))
    assert report.auroc > 0.9
    assert report.detection_rate > 0.6
    assert report.table().count("\n") == len(CHEST_CHANGES) + len(SYNTHETIC_ODDITIES) + 3


BENCH = {
    "epochs": 10, "size": 80, "device": "cpu", "channels": 16, "seed": 0,
    "network": {"width": 96, "depth": 4, "heads": 6, "patch": 8, "image_size": 80},
}  # fmt: skip


def trained(cohort: Path, out: Path, task: str, **changes):
    settings = FinetuneSettings.load(None, [], **(BENCH | changes))
    return load_finetuned_model(finetune_model(Cohort.open(cohort), out, task, settings=settings))


@pytest.mark.slow
@pytest.mark.parametrize("task", ["classification", "segmentation"])
def test_phantoms_against_oddities(task, tmp_path):
    cohort = phantom_cohort_at(tmp_path / "cohort", 400, size=160)
    report = bench_out_of_distribution(trained(cohort, tmp_path / "model", task), Cohort.open(cohort))
    print(f"\nphantom, {task}: {report.chests} chests, stated {report.stated_rate:.3f}\n{report.table()}")
    assert report.auroc > 0.98
    assert report.detection_rate > 0.9
    assert report.false_alarm_rate < 0.15


def real_cohort(path: Path) -> Path:
    shenzhen = [f for f in sorted((DATA / "shenzhen").rglob("*.png")) if "mask" not in str(f)]
    with CohortWriter(path, store_size=256) as writer:
        for number, file in enumerate(shenzhen):
            pixels = np.asarray(Image.open(file).convert("L"), dtype=np.float32) / 255
            writer.add(
                image_id=f"s{number:04d}", pixels=pixels, patient_id=f"p{number:04d}",
                labels={"tuberculosis": float(file.stem.endswith("_1"))}, dataset="shenzhen",
            )  # fmt: skip
        writer.finish(fractions=(0.6, 0.2, 0.2), seed=1)
    return path


@pytest.mark.slow
@pytest.mark.skipif(not (DATA / "shenzhen").is_dir(), reason="no real radiographs here")
def test_real_chests_against_oddities(tmp_path):
    cohort = real_cohort(tmp_path / "cohort")
    model = trained(cohort, tmp_path / "model", "classification")
    report = bench_out_of_distribution(model, Cohort.open(cohort))
    print(f"\nShenzhen: {report.chests} chests, stated {report.stated_rate:.3f}\n{report.table()}")
    assert report.auroc > 0.98
    assert report.detection_rate > 0.9
    assert report.false_alarm_rate < 0.15
    other = [np.asarray(Image.open(f).convert("L"), dtype=np.float32) / 255
             for f in sorted((DATA / "nih").rglob("*.png"))[:100]]  # fmt: skip
    far = np.mean([model.predict_pixels(picture).familiarity.is_out_of_distribution for picture in other])
    print(f"NIH chests told to be far from Shenzhen's: {far:.2f}")


def list_radiographs(name: str, count: int) -> list[np.ndarray]:
    """Some radiographs of a set at most 512 pixels large, the same ones every time."""
    files = [f for f in sorted((DATA / name).rglob("*")) if f.suffix in {".png", ".jpg", ".jpeg"}]
    files = [f for f in files if "mask" not in str(f.relative_to(DATA))]
    chosen = np.random.default_rng(7).permutation(len(files))[:count]
    pictures = []
    for row in sorted(chosen.tolist()):
        picture = Image.open(files[row]).convert("L")
        picture.thumbnail((512, 512))
        pictures.append(np.asarray(picture, dtype=np.float32) / 255)
    return pictures


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.skipif(not (DATA / "shenzhen").is_dir(), reason="no real radiographs here")
def test_the_anatomy_model_against_oddities():
    """Adults of hospitals that taught nothing, then the odd pictures: far from training, or masks that no chest has."""
    model = load_model().models["segmentation"]
    chests = {name: list_radiographs(name, 40) for name in ("shenzhen", "genblock", "hannover", "nih", "wingspan")}
    print("\n| pictures | number | far from training | implausible masks | either |")
    alarms = {name: print_shares(model, name, pictures) for name, pictures in chests.items()}
    some = [picture for pictures in chests.values() for picture in pictures[:8]]
    odd = create_out_of_distribution_pictures(some, seed=5, size=256)
    found = {name: print_shares(model, name, pictures) for name, pictures in odd.items()}
    assert alarms["shenzhen"] <= 0.15
    for name in ("rotated 90", "rotated 180", "inverted", "noisy", "lateral", "hand", "skull", "abdomen"):
        assert found[name] >= 0.95, name


def print_shares(model: Model, name: str, pictures: list[np.ndarray]) -> float:
    """Print a row of the table; the share of pictures that are flagged in either way."""
    answers = [model.predict_pixels(picture) for picture in pictures]
    far = np.array([answer.familiarity.is_out_of_distribution for answer in answers])
    odd = np.array([bool(find_implausible_masks(answer.masks)) for answer in answers])
    print(f"| {name} | {len(far)} | {far.mean():.2f} | {odd.mean():.2f} | {(far | odd).mean():.2f} |", flush=True)
    return float((far | odd).mean())


def test_a_report_averages_its_kinds_and_leaves_out_what_is_unknown():
    rows = [OutOfDistributionResult("hand", 1.0, 0.5, 0.25, 4), OutOfDistributionResult("page", 0.5, 1.0, None, 4)]
    report = OutOfDistributionReport(0.05, 0.125, None, 8, rows)
    assert (report.auroc, report.detection_rate) == (0.75, 0.75)
    assert report.table().splitlines()[2:] == [
        "| frontal chests |  | 0.125 |  |",
        "| hand | 1.000 | 0.500 | 0.250 |",
        "| page | 0.500 | 1.000 |  |",
        "| mean of the odd kinds | 0.750 | 0.750 |  |",
    ]
