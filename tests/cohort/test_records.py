import numpy as np
import pytest

from medprior.cohort.journal import encode_json_line
from medprior.cohort.records import ImageRecords, build_metadata_record, check_cohort_image, compute_array_sha256
from medprior.errors import ConfigError


def test_records_are_kept_as_lines_and_read_in_order():
    kept = ImageRecords()
    for name in ("b", "a"):
        record = {"image_id": name, "labels": {"z": 1.0, "a": 0.0}}
        kept.add(record, encode_json_line(record))
    kept.add({"store_size": 1}, b"{}")
    assert list(kept) == ["b", "a"]
    assert [record["image_id"] for record in kept.sorted_records()] == ["a", "b"]
    assert list(kept["a"]["labels"]) == ["z", "a"]
    assert "c" not in kept
    assert len(kept) == 2


def test_metadata_has_defaults_and_flags_are_one_text():
    record = build_metadata_record("i", "p", {"age": float("nan"), "flags": ("a", "b"), "spacing_mm": 0.2})
    assert (record["study_id"], record["view"], record["spacing_kind"]) == ("p", "UNKNOWN", "none")
    assert (record["age"], record["flags"], record["spacing_mm"]) == (None, "a|b", 0.2)
    assert record["polarity_inverted"] is False
    assert record["official"] is None
    assert build_metadata_record("i", "p", {"study_id": "s"})["study_id"] == "s"


@pytest.mark.parametrize("image_id", ["", "a/b", "a b", "..\\a"])
def test_names_that_are_no_file_names_are_refused(image_id):
    with pytest.raises(ConfigError, match="letters, digits"):
        check_cohort_image(image_id, np.zeros((2, 3), np.float32), {}, {})
    check_cohort_image("a-b_c.1", np.zeros((2, 3), np.float32), {}, {})


def test_pixels_are_finite_and_flat_and_masks_have_their_size():
    with pytest.raises(ConfigError, match="finite"):
        check_cohort_image("a", np.full((2, 3), np.inf, np.float32), {}, {})
    with pytest.raises(ConfigError, match="finite"):
        check_cohort_image("a", np.zeros((2, 3, 1), np.float32), {}, {})
    with pytest.raises(ConfigError, match="mask 'heart' has another size; expected 2x3, found 3x2"):
        check_cohort_image("a", np.zeros((2, 3), np.float32), {}, {"heart": np.ones((3, 2), bool)})


def test_the_digest_follows_shape_type_and_values_and_not_the_layout_in_memory():
    values = np.arange(6, dtype=np.uint16).reshape(2, 3)
    others = [values.T, values.reshape(3, 2), values.astype(np.int16), values + np.uint16(1)]
    digests = {compute_array_sha256(array) for array in (values, *others)}
    assert len(digests) == 5
    assert compute_array_sha256(np.asfortranarray(values)) == compute_array_sha256(values)
