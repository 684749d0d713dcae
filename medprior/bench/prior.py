"""`medprior bench prior`: every way to a prior, judged on masks it has not seen, and timed.

One typical training image is the example, for `few` four more that the prior itself asks for;
Dice and pixel-AP are on the test split, or on all images but the annotated ones. Without a cohort
it runs on phantoms made for it. `python -m medprior.bench.prior COHORT --out FOLDER` keeps each
image's scores as they come: a run that was stopped goes on. `--backbone` adds `refined`, and
`--sensitivity` other examples: ten images, and a drawing that is too small, too large or off.
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
from medprior.bench.prior_cases import METHODS, BenchCase, build_method_cases, build_sensitivity_cases
from medprior.cohort import Cohort, CohortWriter
from medprior.cohort.journal import Journal
from medprior.errors import MedpriorError
from medprior.locks import LOCK_FILE, acquire_lock
from medprior.phantom import render_phantom
from medprior.priors.quality import bootstrap_mean_interval, compute_image_scores
from medprior.priors.settings import PriorSettings
from medprior.provenance import write_json

JOURNAL_FILE, RESULTS_FILE = "scores.jsonl", "results.json"
TABLE_HEADER = f"{'case':<18} {'s/image':>7}  {'structure':<17} Dice [95 %], 5 %, pixel-AP [95 %]"


def create_phantom_cohort(path: Path, patients: int = 80, size: int = 256) -> Cohort:
    """A cohort of rendered phantoms with lungs and heart drawn."""
    with CohortWriter(path, store_size=size) as writer:
        for seed in range(patients):
            image = render_phantom(seed, size=size)
            masks = {name: image.masks[name] for name in ("left_lung", "right_lung", "heart")}
            writer.add(image_id=f"p{seed:04d}", pixels=image.pixels, patient_id=f"{seed}", masks=masks)
        writer.finish(fractions=(0.5, 0.1, 0.4))
    return Cohort.open(path)


def select_judged_images(cohort: Cohort, split: str, images: int | None) -> Cohort:
    """At most so many images of a split, or of `all`, that have a mask."""
    part = cohort if split == "all" else cohort.split(split)
    named = [f"mask_{name}" for name in cohort.structures if name not in cohort.label_names]
    part = part.select(part.manifest.image_id[part.manifest[named].notna().any(axis=1)].tolist())
    return part if images is None else part.take(images)


def measure_cases(cases: Sequence[BenchCase], judged: Cohort, journal: Journal) -> Iterator[dict[str, Any]]:
    """The summary of each case, once all its images are judged; one core.

    Images that the journal has are not judged again.
    """
    for case in cases:
        own = [r for r in journal.records[1:] if (r["case"], r["of"]) == (case.name, case.of)]
        done = {record["image_id"]: record for record in own}
        left = [image_id for image_id in judged.image_ids if image_id not in done]
        fit = case.prepared() if left else None
        # Where nobody looks at a bar, a line now and then is enough.
        every = 0.5 if sys.stderr.isatty() else 30.0
        with tqdm(
            total=len(judged), initial=len(judged) - len(left), desc=case.name, unit="img",
            mininterval=every,
        ) as bar:  # fmt: skip
            for start in range(0, len(left), case.batch):
                part = judged.select(left[start : start + case.batch])
                began = time.process_time()
                assert fit is not None
                prior = fit(part)
                seconds = (time.process_time() - began) / len(part)
                for record in list_image_records(part, compute_image_scores(prior, part, limit=len(part))):
                    head = {"case": case.name, "of": case.of, "seconds": round(seconds, 4)}
                    journal.append(head | record)
                    done[record["image_id"]] = journal.records[-1]
                journal.sync()
                bar.update(len(part))
        yield summarise_case(case.name, [done[i] for i in judged.image_ids if done[i]["scores"]])


def list_image_records(part: Cohort, found: dict[str, pd.DataFrame]) -> Iterator[dict[str, Any]]:
    """One record per image; without scores where it is an example or has no mask."""
    tables = {name: table.set_index("image_id") for name, table in found.items()}
    for image_id, patient in zip(part.image_ids, part.patient_ids.tolist(), strict=True):
        own = {
            name: [float(table.dice[image_id]), float(table.pixel_ap[image_id])]
            for name, table in tables.items()
            if image_id in table.index
        }
        yield {"image_id": image_id, "patient_id": str(patient), "scores": own}


def summarise_case(name: str, records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Means with 95 % intervals over patients, per structure, and processor seconds an image."""
    structures = {}
    for structure in sorted({key for record in records for key in record["scores"]}):
        own = [record for record in records if structure in record["scores"]]
        values = np.array([record["scores"][structure] for record in own])
        patients = np.array([record["patient_id"] for record in own])
        structures[structure] = {
            "dice": float(values[:, 0].mean()),
            "dice_ci95": bootstrap_mean_interval(values[:, 0], patients),
            "dice_p5": float(np.percentile(values[:, 0], 5)),
            "pixel_ap": float(values[:, 1].mean()),
            "pixel_ap_ci95": bootstrap_mean_interval(values[:, 1], patients),
            "n": len(own),
        }
    seconds = float(np.mean([record["seconds"] for record in records])) if records else 0.0
    return {"case": name, "seconds": seconds, "structures": structures}


def print_case(row: dict[str, Any]) -> None:
    """Print one line per structure of a case."""
    for name, found in row["structures"].items():
        low, high = found["dice_ci95"]
        least, most = found["pixel_ap_ci95"]
        print(
            f"{row['case']:<18} {row['seconds']:7.3f}  {name:<17} {found['dice']:.3f} [{low:.3f}, "
            f"{high:.3f}] {found['dice_p5']:.3f}  {found['pixel_ap']:.3f} "
            f"[{least:.3f}, {most:.3f}]  n={found['n']}",
            flush=True,
        )


def open_bench_journal(folder: Path, cohort: Cohort, settings: PriorSettings) -> Journal:
    """The folder's results of this cohort, settings and version.

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
    worse: bool = False,
) -> list[dict[str, Any]]:
    """Judge all cases, print each as it is done, and write `results.json`.

    Args:
        cohort: with masks.
        folder: keeps every image's scores; a run that was stopped goes on there.
        images: at most so many; None for all.
        split: whose images are judged; `all` for every image that is no example.
        names: methods, of `METHODS`.
        backbone: for `refined`.
        worse: also other examples and worse drawings.
    """
    settings = PriorSettings()
    lock = acquire_lock(folder / LOCK_FILE, "this benchmark")
    try:
        journal = open_bench_journal(folder, cohort, settings)
        cases = list(build_method_cases(cohort, settings, names, backbone))
        cases += build_sensitivity_cases(cohort, settings) if worse else []
        rows = []
        print(TABLE_HEADER, flush=True)
        for row in measure_cases(cases, select_judged_images(cohort, split, images), journal):
            print_case(row)
            rows.append(row)
            write_json(folder / RESULTS_FILE, {"split": split, "images": images, "cases": rows})
        journal.close()
    finally:
        lock.release()
    return rows


def main(cohort: Path | None = None, out: Path | None = None, **how: Any) -> None:
    """Bench on a cohort, or on 80 phantoms made for it; without `out` nothing is kept."""
    with tempfile.TemporaryDirectory() as folder:
        judged = Cohort.open(cohort) if cohort else create_phantom_cohort(Path(folder) / "cohort")
        bench_priors(judged, out or Path(folder) / "results", **how)


def parse_arguments(given: Sequence[str] | None = None) -> dict[str, Any]:
    """What `main` is called with."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cohort", type=Path, nargs="?")
    parser.add_argument("--out", type=Path, help="folder that keeps each image's scores")
    parser.add_argument("--images", type=int, default=None, help="at most so many (default: all)")
    parser.add_argument("--split", default="test", choices=["test", "val", "train", "all"])
    parser.add_argument("--methods", default=";".join(METHODS), help="separated by ;")
    parser.add_argument("--sensitivity", action="store_true", help="other and worse examples too")
    parser.add_argument("--backbone", type=Path, help="also measure `refined` with it")
    found = parser.parse_args(given)
    unknown = set(found.methods.split(";")) - set(METHODS)
    if unknown:
        parser.error(f"--methods: not one of {'; '.join(METHODS)}: {', '.join(sorted(unknown))}")
    return {
        "cohort": found.cohort, "out": found.out, "images": found.images, "split": found.split,
        "names": tuple(found.methods.split(";")), "backbone": found.backbone,
        "worse": found.sensitivity,
    }  # fmt: skip


if __name__ == "__main__":
    main(**parse_arguments())
