"""The preview of drawings on other patients."""

import threading
import time
from dataclasses import replace

import numpy as np

from medprior.annotate import Annotation
from medprior.annotate.page.drawing_session import SavedExample
from medprior.annotate.page.transfer_preview import (
    TransferPreview,
    find_same_images,
)
from medprior.annotate.page.transfer_process import TransferredMaps
from medprior.cohort import Cohort, CohortWriter
from medprior.errors import MedpriorError
from tests.annotate.drawings import LEFT, inside


def test_a_failure_to_carry_over_is_told(tmp_path, phantom_cohort):
    def refuse(annotations, image_ids, on_result):
        raise MedpriorError("the disk is full")

    def break_down(annotations, image_ids, on_result):
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

    def refuse_slowly(sources, image_ids, on_result):
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


def test_panels_appear_one_by_one_and_with_the_last_what_to_draw_next(tmp_path, phantom_cohort):
    cohort = Cohort.open(phantom_cohort)
    annotation = Annotation(cohort.pixels("p0001"), {"heart": inside(LEFT, (128, 128))}, "p0001")
    turns, asked = [threading.Event() for _ in range(7)], []

    def transfer(annotations, image_ids, on_result):
        asked.extend(image_ids)
        for turn, image_id in zip(turns, image_ids, strict=False):
            assert turn.wait(10)
            on_result(TransferredMaps(image_id, {"heart": np.eye(32, dtype=np.float32)}, match=0.5))
        assert turns[6].wait(10)
        return image_ids[4]

    preview = TransferPreview(cohort, transfer)
    preview.start([SavedExample("p0001", tmp_path, annotation)])
    for count in range(1, 7):
        turns[count - 1].set()
        wait_until(lambda count=count: len(preview.state.panels) == count)
        assert (preview.state.state, preview.state.count, preview.state.next_id) == ("running", 6, None)
    turns[6].set()
    wait_until(lambda: preview.state.state == "done")
    assert preview.state.next_id == asked[4]
    assert [panel.result.image_id for panel in preview.state.panels] == asked
    assert len({panel.picture for panel in preview.state.panels}) == 6
    preview.close()


def test_panels_of_an_earlier_drawing_are_not_mixed_with_those_of_a_later_one(tmp_path, phantom_cohort):
    cohort = Cohort.open(phantom_cohort)
    annotation = Annotation(cohort.pixels("p0001"), {"heart": inside(LEFT, (128, 128))}, "p0001")
    started, release = threading.Event(), threading.Event()

    def transfer(annotations, image_ids, on_result):
        (folder,) = annotations
        if folder.name == "first":
            started.set()
            release.wait(10)
        for image_id in image_ids:
            on_result(TransferredMaps(image_id, {"heart": np.eye(32, dtype=np.float32)}, doubt=folder.name))
        return None

    preview = TransferPreview(cohort, transfer)
    preview.start([SavedExample("p0001", tmp_path / "first", annotation)])
    assert started.wait(10)
    preview.start([SavedExample("p0001", tmp_path / "second", annotation)])
    release.set()
    wait_until(lambda: preview.state.state == "done")
    assert [panel.result.doubt for panel in preview.state.panels] == ["second"] * 6
    preview.close()


def wait_until(condition):
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)
