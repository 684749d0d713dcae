import json

import numpy as np
import pytest

from medprior.cohort import Cohort, CohortWriter
from medprior.cohort.correcting import check_corrected_splits, correct_images, is_metadata_current
from medprior.cohort.journal import encode_json_line
from medprior.cohort.kept_splits import PatientSplitRule
from medprior.cohort.records import ImageRecords, correct_record
from medprior.errors import MedpriorError
from tests.cohort.images import random_picture, write_cohort

RULE = PatientSplitRule(0, (0.7, 0.1, 0.2))


def corrected(writer, image_id, patient_id, **labels):
    """Records with one corrected image."""
    records = ImageRecords()
    record = correct_record(writer.records[image_id], patient_id, labels, {})
    records.add(record, encode_json_line(record))
    return records


def test_corrections_survive_opening_again_and_added_images_follow_the_last_pixels(tmp_path):
    path = tmp_path / "c"
    before = write_cohort(path)
    last = before.pixels("i011")
    with CohortWriter(path) as writer:
        correct_images(writer, corrected(writer, "i003", "p1", a=0.0), {"i006"}, RULE)
    with CohortWriter(path) as writer:
        writer.add(image_id="i012", pixels=random_picture(12), patient_id="p9")
        writer.finish()
    after = Cohort.open(path)
    assert "i006" not in after.image_ids
    assert len(after) == 12
    assert after.manifest.set_index("image_id").loc["i003", "a"] == 0
    np.testing.assert_array_equal(after.pixels("i011"), last)
    np.testing.assert_allclose(after.pixels("i012"), random_picture(12), atol=1e-4)
    assert not (path / "masks/heart/i006.png").exists()
    assert (path / "masks/heart/i003.png").exists()
    assert json.loads((path / "summary.json").read_text())["corrections"] == {
        "images": 1, "labels": {"a": 1}, "removed_images": 1,
    }  # fmt: skip


def test_a_move_between_splits_changes_nothing_unless_told(tmp_path):
    path = tmp_path / "c"
    cohort = write_cohort(path)
    splits = cohort.manifest.set_index("image_id")
    moved = str(splits.index[splits.split == "train"][0])
    other = str(splits.index[splits.split == "test"][0])
    journal = (path / "journal.jsonl").read_bytes()
    with CohortWriter(path) as writer:
        corrections = corrected(writer, moved, splits.patient_id[other])
        with pytest.raises(MedpriorError, match="from train to test"):
            correct_images(writer, corrections, (), RULE)
        assert (path / "journal.jsonl").read_bytes() == journal
        correct_images(writer, corrections, (), RULE, resplit=True)
        with pytest.raises(MedpriorError, match="from train to test"):
            writer.finish()
        writer.finish(resplit=True)
    after = Cohort.open(path).manifest.set_index("image_id").split
    assert after[moved] == after[other]
    # A cohort that was never finished, or was split by another rule, has no splits to keep.
    with CohortWriter(path) as writer:
        check_corrected_splits(writer, corrected(writer, other, "p0"), (), PatientSplitRule(1, RULE.fractions))


def test_metadata_is_current_once_published_with_the_digest_that_began_last(tmp_path):
    path = tmp_path / "c"
    write_cohort(path)
    with CohortWriter(path) as writer:
        assert not is_metadata_current(writer, "", "1")
        writer.begin_tables("", "1")
        assert not is_metadata_current(writer, "", "1")
        writer.finish()
        assert is_metadata_current(writer, "", "1")
        writer.begin_tables("", "2")
        # The correction may be half done, whichever tables come next.
        assert not is_metadata_current(writer, "", "1")
        assert not is_metadata_current(writer, "", "2")
