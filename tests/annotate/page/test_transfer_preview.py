"""The transfer to other patients, and its doubts in words."""

import threading
from dataclasses import replace

import numpy as np
import pytest

from medprior.annotate import Annotation
from medprior.annotate.page.drawing_session import SavedExample
from medprior.annotate.page.transfer_preview import (
    TransferPreview,
    create_subprocess_transfer,
    find_same_images,
    format_doubt,
)
from medprior.cohort import Cohort, CohortWriter
from medprior.errors import MedpriorError
from tests.annotate.drawings import LEFT, inside


def test_a_failure_to_carry_over_is_told(tmp_path, phantom_cohort):
    def refuse(annotations, image_ids, out):
        raise MedpriorError("the disk is full")

    def break_down(annotations, image_ids, out):
        raise RuntimeError("/a/secret/path")

    cohort = Cohort.open(phantom_cohort)
    annotation = Annotation(cohort.pixels("p0001"), {"heart": inside(LEFT, (128, 128))}, "p0001")
    for transfer, words in ((refuse, "the disk is full"), (break_down, "RuntimeError")):
        preview = TransferPreview(cohort, transfer)
        preview.start([SavedExample("p0001", tmp_path, annotation)])
        preview._pool.shutdown(wait=True)
        assert preview.state.state == "failed"
        assert words in preview.state.message
        assert "secret" not in preview.state.message


def test_doubts_are_words():
    assert format_doubt("", 1.0) == ""
    assert format_doubt("", 0.5) == "the two pictures hardly match"
    assert format_doubt("registration, lung_ratio", 0.0).endswith("the lungs differ unusually in size")


@pytest.mark.parametrize(
    ("doubt", "trust", "words"),
    [
        ("", 0.999, "the two pictures hardly match"),
        ("empty", 0.5, "a structure is missing"),
        ("heart_ratio;some_other", 1.0, "the heart's width is unusual; some other"),
    ],
)
def test_a_doubt_without_a_reason_is_the_registrations(doubt, trust, words):
    assert format_doubt(doubt, trust) == words


def test_the_annotated_image_is_found_by_id_and_by_pixels(unmasked_cohort):
    manifest = unmasked_cohort.manifest.set_index("image_id")
    heart = {"heart": np.eye(96, 72, dtype=bool)}
    annotation = Annotation(unmasked_cohort.pixels("i1"), heart, "i1")
    assert find_same_images(unmasked_cohort, annotation) == {"i1"}
    digest = manifest.pixel_sha256["i3"]
    assert find_same_images(unmasked_cohort, replace(annotation, pixel_sha256=digest)) == {"i1", "i3"}
    assert find_same_images(unmasked_cohort, replace(annotation, image_id=None, pixel_sha256=digest)) == {"i3"}
    assert find_same_images(unmasked_cohort, replace(annotation, image_id=None)) == frozenset()


def test_only_the_latest_drawing_is_reported(tmp_path, unmasked_cohort):
    started, release, folders = threading.Event(), threading.Event(), []

    def refuse_slowly(sources, image_ids, out):
        (folder,) = sources
        folders.append(folder.name)
        started.set()
        release.wait(10)
        raise MedpriorError(f"refused {folder.name}")

    annotation = Annotation(unmasked_cohort.pixels("i1"), {"heart": np.eye(96, 72, dtype=bool)}, "i1")
    preview = TransferPreview(unmasked_cohort, refuse_slowly)
    assert preview.state.state == "none"
    preview.start([SavedExample("i1", tmp_path / "first", annotation)])
    assert started.wait(10)
    preview.start([SavedExample("i1", tmp_path / "second", annotation)])
    preview.start([SavedExample("i1", tmp_path / "third", annotation)])
    assert preview.state.state == "running"
    release.set()
    preview._pool.shutdown(wait=True)
    assert folders == ["first", "third"]
    assert preview.state.message == "refused third"


def test_a_cohort_of_one_patient_has_nobody_to_show(tmp_path):
    with CohortWriter(tmp_path / "c") as writer:
        for name in "ab":
            writer.add(image_id=name, pixels=np.full((64, 64), 0.5, np.float32), patient_id="p")
        writer.finish(split={"a": "train", "b": "train"})
    cohort = Cohort.open(tmp_path / "c")
    preview = TransferPreview(cohort, lambda *_: None)
    annotation = Annotation(cohort.pixels("a"), {"heart": np.eye(64, dtype=bool)}, "a")
    preview.start([SavedExample("a", tmp_path, annotation)])
    preview._pool.shutdown(wait=True)
    assert (preview.state.state, preview.state.panels) == ("failed", ())
    assert "no other patient" in preview.state.message


def test_a_refusal_of_the_command_is_told_by_its_last_line(tmp_path):
    transfer = create_subprocess_transfer(tmp_path / "no_cohort")
    with pytest.raises(MedpriorError, match=r"transfer preview: medprior prior: .*no_cohort"):
        transfer([tmp_path], ("a", "b"), tmp_path / "out")
