"""Command line of `medprior ingest INPUT COHORT [--dataset NAME]`."""

from __future__ import annotations

import argparse
from pathlib import Path

from medprior.observer import Observer


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "input",
        help="folder with DICOM, PNG, JPEG, TIFF or BMP files, or a URL: s3://bucket/prefix, gs://..., or an archive: "
        "dicomweb+https://HOST/dicom-web?StudyDate=..., dimse://AET@HOST:PORT?PatientID=...",
    )
    parser.add_argument("cohort", type=Path, help="cohort folder to create, continue or extend")
    parser.add_argument("--dataset", help="name of a data set descriptor, or a path to one")
    parser.add_argument("--limit", type=int, help="maximum number of files, sampled at random")
    parser.add_argument("--seed", type=int, help="of the split and of --limit (default 0)")
    parser.add_argument("--workers", type=int, help="decoding processes (default: one per core)")
    parser.add_argument("--scheduler", metavar="tls://HOST:PORT", help="read on the workers of a Dask cluster")
    parser.add_argument(
        "--insecure", action="store_true", help="accept a tcp:// scheduler, whose peers run code as you"
    )
    parser.add_argument(
        "--check-pixels", action="store_true",
        help="flag images that are inverted, turned, mirrored or no frontal chest, by their pixels (anatomy model)",
    )  # fmt: skip
    parser.add_argument(
        "--check-text", action="store_true",
        help="look for text burned into the pixels and flag it: `burned_in_text` (pip install 'medprior[text]')",
    )  # fmt: skip
    parser.add_argument("--store-size", type=int, help="longest stored side (default 512)")
    parser.add_argument(
        "--key",
        type=Path,
        help="identity key file, created on first use (default: MEDPRIOR_IDENTITY_KEY, else "
        "~/.config/medprior/identity.key)",
    )
    parser.add_argument(
        "--resplit",
        action="store_true",
        help="split the whole cohort anew, also where images leave the split in which they were published",
    )
    parser.add_argument("--config", type=Path, help="settings as JSON or YAML")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="one setting; repeatable")


def run(args: argparse.Namespace, observer: Observer) -> None:
    """Ingest the folder."""
    from medprior.ingest.settings import IngestSettings
    from medprior.workers.dask_cluster import check_scheduler_security

    overrides = list(args.set)
    for name in ("limit", "seed", "workers", "scheduler", "store_size"):
        value = getattr(args, name)
        overrides += [f"{name}={value}"] if value is not None else []
    overrides += ["policy.detect_text=true"] if args.check_text else []
    overrides += ["check_pixels=true"] if args.check_pixels else []
    settings = IngestSettings.load(args.config, overrides)
    check_scheduler_security(settings.scheduler, args.insecure)
    if settings.scheduler is None:
        from medprior.ingest.pool import POOL_PRELOAD
        from medprior.workers.sandbox import start_fork_server

        # In parallel with the imports below, which take as long.
        start_fork_server(POOL_PRELOAD)
    from medprior.ingest.pipeline import ingest_images

    # The input's path may contain a patient's name, so it is not logged as a parameter.
    observer.params(settings.dump_cohort_settings() | {"workers": settings.workers, "resplit": args.resplit})
    cohort = ingest_images(args.input, args.cohort, args.dataset, settings, args.key, args.resplit)
    observer.metrics({"images": float(len(cohort)), "patients": float(len(set(cohort.patient_ids.tolist())))}, 0)
    for name in ("contact_sheet.png", "summary.json", "cohort.html"):
        observer.artifact(args.cohort / name)


def result_folder(args: argparse.Namespace) -> Path:
    """The cohort folder."""
    cohort: Path = args.cohort
    return cohort
