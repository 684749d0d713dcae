"""`medprior bench prior`: accuracy of each prior method on unseen masks, and its time per image.

One typical training image is the example, for `few` four more that the prior suggests; Dice and
pixel-AP are of the test split, or of all images but the annotated ones. Without a cohort it runs on
new phantoms. `python -m medprior.bench.prior COHORT --out FOLDER` keeps the scores of each image,
so that a stopped run can resume. `--backbone` adds `refined`, and `--sensitivity` other examples:
ten images, and masks that are eroded, dilated or shifted.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

import medprior
from medprior.bench.prior_cases import METHODS, BenchCase, build_method_cases, build_robustness_cases
from medprior.cohort import Cohort, CohortWriter
from medprior.cohort.journal import Journal
from medprior.errors import MedpriorError
from medprior.locks import LOCK_FILE, acquire_lock
from medprior.metrics.bootstrap import Resamples, estimate_mean
from medprior.phantom import render_phantom
from medprior.priors.quality import compute_image_scores
from medprior.priors.settings import PriorSettings
from medprior.provenance import write_json

RESAMPLE_COUNT = 1000
JOURNAL_FILE, RESULTS_FILE = "scores.jsonl", "results.json"
TABLE_HEADER = f"{'case':<18} {'s/image':>7}  {'structure':<17} Dice [95 %], 5 %, pixel-AP [95 %]"


def create_phantom_cohort(path: Path, patients: int = 80, size: int = 256) -> Cohort:
    """A cohort of rendered phantoms with masks of lungs and heart."""
    with CohortWriter(path, store_size=size) as writer:
        for seed in range(patients):
            image = render_phantom(seed, size=size)
            masks = {name: image.masks[name] for name in ("left_lung", "right_lung", "heart")}
            writer.add(image_id=f"p{seed:04d}", pixels=image.pixels, patient_id=f"{seed}", masks=masks)
        writer.finish(fractions=(0.5, 0.1, 0.4))
    return Cohort.open(path)


def select_scored_images(cohort: Cohort, split: str, images: int | None) -> Cohort:
    """At most `images` images with a mask, of a split or of `all`."""
    part = cohort if split == "all" else cohort.split(split)
    columns = [f"mask_{name}" for name in cohort.structures if name not in cohort.label_names]
    part = part.select(part.manifest.image_id[part.manifest[columns].notna().any(axis=1)].tolist())
    return part if images is None else part.take(images)


def measure_cases(cases: Sequence[BenchCase], scored: Cohort, journal: Journal) -> Iterator[dict[str, Any]]:
    """The summary of each case, once all its images are scored, on one core.

    Images that the journal holds are not scored again.
    """
    for case in cases:
        records = [r for r in journal.records[1:] if (r["case"], r["of"]) == (case.name, case.digest)]
        done = {record["image_id"]: record for record in records}
        remaining = [image_id for image_id in scored.image_ids if image_id not in done]
        fit = case.prepare() if remaining else None
        # Without a terminal, one line every half minute is enough.
        interval = 0.5 if sys.stderr.isatty() else 30.0
        with tqdm(
            total=len(scored), initial=len(scored) - len(remaining), desc=case.name, unit="img",
            mininterval=interval,
        ) as bar:  # fmt: skip
            for start in range(0, len(remaining), case.batch):
                part = scored.select(remaining[start : start + case.batch])
                start_time = time.process_time()
                assert fit is not None
                prior = fit(part)
                seconds = (time.process_time() - start_time) / len(part)
                for record in list_image_records(part, compute_image_scores(prior, part, limit=len(part))):
                    head = {"case": case.name, "of": case.digest, "seconds": round(seconds, 4)}
                    journal.append(head | record)
                    done[record["image_id"]] = journal.records[-1]
                journal.sync()
                bar.update(len(part))
        yield summarise_case(case.name, [done[i] for i in scored.image_ids if done[i]["scores"]])


def list_image_records(part: Cohort, scores: dict[str, pd.DataFrame]) -> Iterator[dict[str, Any]]:
    """One record per image; its scores are empty where it is an example or has no mask."""
    tables = {name: table.set_index("image_id") for name, table in scores.items()}
    for image_id, patient in zip(part.image_ids, part.patient_ids.tolist(), strict=True):
        image_scores = {
            name: [float(table.dice[image_id]), float(table.pixel_ap[image_id])]
            for name, table in tables.items()
            if image_id in table.index
        }
        yield {"image_id": image_id, "patient_id": str(patient), "scores": image_scores}


def summarise_case(name: str, records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Means with 95 % intervals over patients, per structure, and processor seconds an image."""
    structures = {}
    for structure in sorted({key for record in records for key in record["scores"]}):
        rows = [record for record in records if structure in record["scores"]]
        values = np.array([record["scores"][structure] for record in rows])
        resamples = Resamples.draw([record["patient_id"] for record in rows], RESAMPLE_COUNT, seed=0)
        structures[structure] = {
            "dice": float(values[:, 0].mean()),
            "dice_ci95": estimate_mean(values[:, 0], resamples).interval(),
            "dice_p5": float(np.percentile(values[:, 0], 5)),
            "pixel_ap": float(values[:, 1].mean()),
            "pixel_ap_ci95": estimate_mean(values[:, 1], resamples).interval(),
            "n": len(rows),
        }
    seconds = float(np.mean([record["seconds"] for record in records])) if records else 0.0
    return {"case": name, "seconds": seconds, "structures": structures}


def print_case(row: dict[str, Any]) -> None:
    """Print one line per structure of a case."""
    for name, summary in row["structures"].items():
        low, high = summary["dice_ci95"]
        ap_low, ap_high = summary["pixel_ap_ci95"]
        print(
            f"{row['case']:<18} {row['seconds']:7.3f}  {name:<17} {summary['dice']:.3f} [{low:.3f}, "
            f"{high:.3f}] {summary['dice_p5']:.3f}  {summary['pixel_ap']:.3f} "
            f"[{ap_low:.3f}, {ap_high:.3f}]  n={summary['n']}",
            flush=True,
        )


def open_bench_journal(folder: Path, cohort: Cohort, settings: PriorSettings) -> Journal:
    """The journal of this cohort, these settings and this version in `folder`.

    Raises:
        MedpriorError: it holds results of others.
    """
    digest = hashlib.sha256(medprior.__version__.encode())
    digest.update(json.dumps(settings.model_dump(mode="json"), sort_keys=True).encode())
    for pair in zip(cohort.image_ids, cohort.manifest.pixel_sha256, strict=True):
        digest.update(":".join(pair).encode())
    journal = Journal(folder / JOURNAL_FILE)
    if not journal.records:
        journal.append({"key": digest.hexdigest()})
    if journal.records[0].get("key") != digest.hexdigest():
        journal.close()
        raise MedpriorError(
            "the folder holds results of another cohort, version or settings",
            where="--out", fix="choose another folder, or remove this one",
        )  # fmt: skip
    return journal


def bench_priors(
    cohort: Cohort,
    folder: Path,
    images: int | None = 100,
    split: str = "test",
    names: tuple[str, ...] = METHODS,
    backbone: Path | None = None,
    sensitivity: bool = False,
) -> list[dict[str, Any]]:
    """Score all cases, print each when it is done, and write `results.json`.

    Args:
        cohort: with masks.
        folder: for the scores of every image; a stopped run resumes there.
        images: largest number of images; None for all.
        split: of the scored images; `all` for every image that is no example.
        names: methods, of `METHODS`.
        backbone: for `refined`.
        sensitivity: also other examples and distorted masks.
    """
    settings = PriorSettings()
    lock = acquire_lock(folder / LOCK_FILE, "this benchmark")
    try:
        journal = open_bench_journal(folder, cohort, settings)
        cases = list(build_method_cases(cohort, settings, names, backbone))
        cases += build_robustness_cases(cohort, settings) if sensitivity else []
        rows = []
        print(TABLE_HEADER, flush=True)
        for row in measure_cases(cases, select_scored_images(cohort, split, images), journal):
            print_case(row)
            rows.append(row)
            write_json(folder / RESULTS_FILE, {"split": split, "images": images, "cases": rows})
        journal.close()
    finally:
        lock.release()
    return rows


def main(cohort: Path | None = None, out: Path | None = None, **options: Any) -> None:
    """Bench on a cohort, or on 80 new phantoms; without `out` the results are discarded."""
    with tempfile.TemporaryDirectory() as folder:
        opened = Cohort.open(cohort) if cohort else create_phantom_cohort(Path(folder) / "cohort")
        bench_priors(opened, out or Path(folder) / "results", **options)


def parse_arguments(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """The keyword arguments of `main`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cohort", type=Path, nargs="?")
    parser.add_argument("--out", type=Path, help="folder for the scores of each image")
    parser.add_argument("--images", type=int, default=None, help="largest number of images (default: all)")
    parser.add_argument("--split", default="test", choices=["test", "val", "train", "all"])
    parser.add_argument("--methods", default=";".join(METHODS), help="separated by ;")
    parser.add_argument("--sensitivity", action="store_true", help="also other examples and distorted masks")
    parser.add_argument("--backbone", type=Path, help="also measure `refined` with it")
    args = parser.parse_args(arguments)
    unknown = set(args.methods.split(";")) - set(METHODS)
    if unknown:
        parser.error(f"--methods: not one of {'; '.join(METHODS)}: {', '.join(sorted(unknown))}")
    return {
        "cohort": args.cohort, "out": args.out, "images": args.images, "split": args.split,
        "names": tuple(args.methods.split(";")), "backbone": args.backbone,
        "sensitivity": args.sensitivity,
    }  # fmt: skip


if __name__ == "__main__":
    main(**parse_arguments())
