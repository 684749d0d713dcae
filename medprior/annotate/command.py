"""`medprior annotate OUT --image PATH --mask NAME=PATH ...`, or from a cohort's own masks."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from medprior.errors import MedpriorError
from medprior.observer import Observer


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("annotation", type=Path, metavar="OUT", help="annotation folder to make")
    files = parser.add_argument_group("from files")
    files.add_argument("--image", type=Path, help="radiograph: DICOM, PNG or JPEG")
    files.add_argument(
        "--mask",
        action="append",
        default=[],
        metavar="NAME=PATH",
        help="mask of one structure (left_lung, right_lung, heart or any name); repeatable",
    )
    cohort = parser.add_argument_group("from a cohort that has masks")
    cohort.add_argument("--cohort", type=Path, help="cohort folder")
    cohort.add_argument(
        "--image-id", default="auto", help="auto: the most typical training image with masks"
    )
    parser.add_argument("--author", default="", help="who drew it, free text")
    parser.add_argument("--notes", default="", help="free text")


def run(args: argparse.Namespace, observer: Observer) -> None:
    """Make the annotation, and say what was found odd about it."""
    from medprior.annotate.sources import from_cohort, from_files
    from medprior.annotate.typical import most_typical
    from medprior.cohort import Cohort

    if (args.image is None) == (args.cohort is None):
        raise MedpriorError(
            "one source is needed",
            where="--image, --cohort",
            expected="either --image PATH with --mask NAME=PATH, or --cohort COHORT",
        )
    if args.image is not None:
        annotation = from_files(args.image, mask_paths(args.mask), args.author, args.notes)
    else:
        cohort = Cohort.open(args.cohort)
        image_id = most_typical(cohort) if args.image_id == "auto" else args.image_id
        annotation = from_cohort(cohort, image_id, args.author, args.notes)
    annotation.save(args.annotation)
    observer.params({"structures": list(annotation.structures), "image_id": annotation.image_id})
    observer.artifact(args.annotation / "preview.png")
    for warning in annotation.warnings:
        print(f"medprior annotate: warning: {warning}", file=sys.stderr)
    print(f"annotation: {args.annotation} ({', '.join(annotation.structures)})")


def mask_paths(items: list[str]) -> dict[str, Path]:
    """Structure -> path from `NAME=PATH` arguments.

    Raises:
        MedpriorError: an argument has no `=`, or a structure comes twice.
    """
    paths: dict[str, Path] = {}
    for item in items:
        name, sign, path = item.partition("=")
        if not sign or not path or name in paths:
            raise MedpriorError(
                "given twice" if name in paths else "not NAME=PATH",
                where="--mask",
                expected="--mask left_lung=PATH, each structure once",
                found=repr(name),
            )
        paths[name] = Path(path)
    return paths


def result(args: argparse.Namespace) -> Path:
    """The annotation folder."""
    folder: Path = args.annotation
    return folder
