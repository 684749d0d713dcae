"""`medprior annotate`: make an annotation from mask files, from a cohort, or on a page."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from medprior.errors import MedpriorError
from medprior.observer import Observer

if TYPE_CHECKING:
    from medprior.annotate.annotation import Annotation
    from medprior.annotate.mask_inputs import MaskInputs

REFUSED_PREVIEW = "refused.png"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("annotation", type=Path, metavar="OUT", help="annotation folder to make")
    image = parser.add_argument_group("the radiograph")
    image.add_argument("--image", type=Path, help="one file: DICOM, PNG, JPEG, TIFF or BMP")
    image.add_argument("--cohort", type=Path, help="cohort folder (medprior ingest)")
    image.add_argument("--image-id", default="auto", help="of the cohort; auto: the most typical")
    masks = parser.add_argument_group("what was drawn; a cohort's own masks where none is given")
    masks.add_argument(
        "--mask",
        action="append",
        default=[],
        metavar="NAME=PATH",
        help="one structure (left_lung, right_lung, heart or any name); repeatable",
    )
    masks.add_argument(
        "--annotations",
        type=Path,
        metavar="FILE",
        help="all structures: PNG or TIFF label map, NIfTI, (seg.)nrrd, DICOM SEG or RTSTRUCT, LabelMe, COCO",
    )
    masks.add_argument(
        "--names",
        action="append",
        default=[],
        metavar="LABEL=NAME,...",
        help="what the labels of --annotations mean: 1=left_lung,2=right_lung,3=heart",
    )
    masks.add_argument(
        "--as-stored", action="store_true", help="take NIfTI and NRRD pixel by pixel, whatever directions they name"
    )
    masks.add_argument(
        "--from-archive",
        metavar="URL",
        help="the newest DICOM SEG of an image of --cohort in an archive: dicomweb+https://HOST/dicom-web or "
        "dimse://AET@HOST:PORT, as for medprior ingest",
    )
    masks.add_argument("--key", type=Path, help="identity key of --cohort, for --from-archive (default: as for ingest)")
    page = parser.add_argument_group("drawing it here")
    page.add_argument(
        "--page",
        action="store_true",
        help="draw in the browser, and see what the drawing does to other patients of --cohort",
    )
    page.add_argument("--port", type=int, default=0, help="of the page (default: a free one)")
    page.add_argument("--no-browser", action="store_true", help="print the page's address only")
    parser.add_argument("--author", default="", help="who drew it, free text")
    parser.add_argument("--notes", default="", help="free text")


def run(args: argparse.Namespace, observer: Observer) -> None:
    """Make the annotation and print its warnings."""
    if args.page:
        annotation = draw_annotation(args)
    else:
        annotation = create_annotation(args)
        annotation.save(args.annotation)
    (args.annotation / REFUSED_PREVIEW).unlink(missing_ok=True)
    observer.params({"structures": list(annotation.structures), "image_id": annotation.image_id})
    observer.artifact(args.annotation / "preview.png")
    for warning in annotation.warnings:
        print(f"medprior annotate: warning: {warning}", file=sys.stderr)
    print(f"annotation: {args.annotation} ({', '.join(annotation.structures)})")


def create_annotation(args: argparse.Namespace) -> Annotation:
    """The annotation from the files or the cohort in the arguments."""
    from medprior.annotate.sources import annotate_cohort_image, annotate_from_cohort, annotate_from_files
    from medprior.annotate.typicality import find_typical_annotated, select_typical_images
    from medprior.cohort import Cohort

    if (args.image is None) == (args.cohort is None):
        raise MedpriorError(
            "one source is needed",
            where="--image, --cohort",
            expected="--image PATH or --cohort COHORT, and --mask NAME=PATH or --annotations FILE",
        )
    mask_inputs, refused = parse_mask_inputs(args), args.annotation / REFUSED_PREVIEW
    if args.from_archive and (args.cohort is None or mask_inputs):
        raise MedpriorError(
            "masks come from one place",
            where="--from-archive",
            expected="--cohort COHORT, and neither --image, --mask nor --annotations",
        )
    if args.image is not None:
        return annotate_from_files(args.image, mask_inputs, args.author, args.notes, refused)
    cohort = Cohort.open(args.cohort)
    image_id = args.image_id
    if args.from_archive:
        from medprior.annotate.archived_segmentations import annotate_from_archive

        return annotate_from_archive(cohort, args.from_archive, image_id, args.key, args.author, args.notes, refused)
    if mask_inputs:
        image_id = select_typical_images(cohort, 1)[0] if image_id == "auto" else image_id
        return annotate_cohort_image(cohort, image_id, mask_inputs, args.author, args.notes, refused)
    image_id = find_typical_annotated(cohort) if image_id == "auto" else image_id
    return annotate_from_cohort(cohort, image_id, args.author, args.notes)


def draw_annotation(args: argparse.Namespace) -> Annotation:
    """The annotation that the user draws on the page."""
    from medprior.annotate.mask_inputs import resolve_input_file
    from medprior.annotate.page.server import run_drawing_page
    from medprior.cohort import Cohort

    if parse_mask_inputs(args) or args.from_archive:
        raise MedpriorError("draw, or give files", where="--page", expected="--page without masks")
    if args.image is None and args.cohort is None:
        print("(no --cohort: open a file on the page)", file=sys.stderr)
    return run_drawing_page(
        args.annotation,
        cohort=Cohort.open(args.cohort) if args.cohort is not None else None,
        image=resolve_input_file(args.image, "--image") if args.image is not None else None,
        image_id="" if args.image_id == "auto" or args.image is not None else args.image_id,
        notes=args.notes,
        port=args.port,
        browser=not args.no_browser,
    )


def parse_mask_inputs(args: argparse.Namespace) -> MaskInputs:
    """The mask files in the arguments."""
    from medprior.annotate.mask_inputs import MaskInputs
    from medprior.annotate.naming import parse_renames

    if args.names and args.annotations is None:
        raise MedpriorError("the option needs --annotations", where="--names", expected="--annotations FILE with it")
    return MaskInputs(parse_mask_paths(args.mask), args.annotations, parse_renames(args.names), bool(args.as_stored))


def parse_mask_paths(items: list[str]) -> dict[str, Path]:
    """Structure -> path from `NAME=PATH` arguments.

    Raises:
        MedpriorError: an argument has no `=`, or a structure occurs twice.
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


def result_folder(args: argparse.Namespace) -> Path:
    """The annotation folder."""
    folder: Path = args.annotation
    return folder
