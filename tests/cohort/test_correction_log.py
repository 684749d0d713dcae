from medprior.cohort.correction_log import CorrectionLog, locate_valid_mask


def image(name="a", offset=0, **changes):
    record = {
        "image_id": name, "dataset": "d", "patient_id": "p", "study_id": "s", "view": "PA", "sex": None, "age": None,
        "official": None, "labels": {"x": 1.0}, "masks": {"heart": f"masks/heart/{name}.png"}, "shard": 0,
        "offset": offset,
    }  # fmt: skip
    return record | changes


def test_changes_are_counted_by_image_field_and_label_since_the_last_digest():
    log = CorrectionLog()
    log.note_record({"dataset": "d", "tables": "1"}, None)
    for name in "ab":
        log.note_record(image(name), None)
    assert log.count_corrections() == {}
    log.note_record({"dataset": "d", "tables": "2"}, None)
    log.note_record(image("a", labels={"x": None, "y": 0.0}, sex="F"), image("a"))
    log.note_record(image("b", offset=8, patient_id="q"), image("b"))
    counts = {"images": 2, "images_read_again": 1, "labels": {"x": 1, "y": 1}, "patient_id": 1, "sex": 1}
    assert log.count_corrections() == counts
    log.note_record({"image_id": "b", "removed": True}, image("b"))
    assert log.count_corrections() == counts | {"removed_images": 1}
    log.note_record({"dataset": "e", "tables": "1"}, None)
    assert log.count_corrections() == {}


def test_a_data_set_is_uncorrected_while_its_only_digest_came_before_its_images():
    log = CorrectionLog()
    log.note_record({"dataset": "d", "tables": "1"}, None)
    log.note_record(image(), None)
    assert log.is_uncorrected("d", "1")
    assert not log.is_uncorrected("d", "2")
    assert not log.is_uncorrected("e", "1")
    log.note_record({"dataset": "d", "tables": "2"}, None)
    assert not log.is_uncorrected("d", "2")
    log.note_record({"dataset": "d", "tables": "1"}, None)
    assert not log.is_uncorrected("d", "1")
    late = CorrectionLog()
    late.note_record(image(), None)
    late.note_record({"dataset": "d", "tables": "1"}, None)
    assert not late.is_uncorrected("d", "1")


def test_masks_that_no_image_names_are_unused_until_named_again():
    log = CorrectionLog()
    log.note_record(image(), None)
    log.note_record(image(masks={}), image())
    assert log.unused_masks == {"masks/heart/a.png"}
    log.note_record({"image_id": "a", "removed": True}, image(masks={}))
    assert log.unused_masks == {"masks/heart/a.png", locate_valid_mask("a")}
    log.note_record(image(), None)
    assert log.unused_masks == set()


def test_a_changed_official_split_is_remembered():
    log = CorrectionLog()
    log.note_record(image(official="test"), image())
    log.note_record({"dataset": "d", "tables": "2"}, None)
    assert log.changed_official == {"a"}
