"""Small random images, and cohorts of them, for the tests of this room."""

from pathlib import Path

import numpy as np

from medprior.cohort import Cohort, CohortWriter


def random_picture(seed, rows=40, cols=30):
    """float32 [rows, cols] in [0, 1), the same for the same seed."""
    return np.random.default_rng(seed).random((rows, cols), dtype=np.float32)


def write_cohort(path: Path, count=12, store_size=512, **finish):
    """A finished cohort: two images per patient, a heart mask on every third, label `b` unknown."""
    with CohortWriter(path, store_size) as writer:
        for i in range(count):
            mask = random_picture(i) > 0.5
            writer.add(
                image_id=f"i{i:03d}", pixels=random_picture(i), patient_id=f"p{i // 2}", sex="F",
                labels={"a": i % 2, "b": float("nan")}, view="PA", age=50 + i,
                masks={"heart": mask} if i % 3 == 0 else {},
            )  # fmt: skip
        writer.finish(**finish)
    return Cohort.open(path)


def add_picture(writer, i, **more):
    """Add image number `i` of a patient of its own."""
    writer.add(image_id=f"i{i:03d}", pixels=random_picture(i), patient_id=f"p{i}", **more)


def count_journal_lines(path):
    """Number of images in the journal of a cohort."""
    return (path / "journal.jsonl").read_text().count("image_id")
