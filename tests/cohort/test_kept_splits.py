"""What was published keeps its split; what would move is refused, unless the cohort is split anew."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medprior.cohort.kept_splits import PatientSplitRule, PublishedSplits, SplitRequest
from medprior.errors import MedpriorError

RULE = PatientSplitRule(0, (0.4, 0.3, 0.3))
SPLITS = st.sampled_from(["train", "val", "test"])
ROWS = st.lists(
    st.tuples(SPLITS | st.none(), SPLITS | st.none() | st.just("train_val"), st.integers(0, 5), st.booleans()),
    min_size=1, max_size=8,
)  # fmt: skip


def request_of(rows, **more):
    """A request for images whose rows are (published split, official, patient, whether official changed)."""
    published = {f"i{number}": row[0] for number, row in enumerate(rows) if row[0]}
    changed = {f"i{number}" for number, row in enumerate(rows) if row[3]}
    return SplitRequest(RULE, PublishedSplits(published), changed_official=changed, **more)


def assign(rows, **more):
    """Splits of images with pixels of their own."""
    names = [f"i{number}" for number in range(len(rows))]
    patients, official = [f"p{row[2]}" for row in rows], [row[1] for row in rows]
    return request_of(rows, **more).assign(names, patients, names, official).tolist()


@settings(max_examples=200, deadline=None, derandomize=True)
@given(ROWS)
def test_every_published_image_stays_or_the_request_is_refused(rows):
    try:
        splits = assign(rows)
    except MedpriorError:
        anew = assign(rows, resplit=True)
        published = {row[2]: {other[0] for other in rows if other[2] == row[2]} - {None} for row in rows}
        asked = [row for row in rows if row[3] and row[1] and row[0] and row[1] != row[0]]
        new_official = [row for row in rows if row[0] is None and row[1]]
        assert any(len(names) > 1 for names in published.values()) or asked or new_official
        splits = anew
    else:
        assert all(row[0] in {None, split} for row, split in zip(rows, splits, strict=True))
    by_patient = {}
    for row, split in zip(rows, splits, strict=True):
        by_patient.setdefault(row[2], set()).add(split)
    assert {len(names) for names in by_patient.values()} == {1}


def test_patients_of_one_split_may_be_joined_and_others_not():
    assert assign([("val", None, 1, False), ("val", None, 1, False)]) == ["val", "val"]
    with pytest.raises(MedpriorError, match=r"1 image\(s\) of 1 patient\(s\).*found 1 from train to test"):
        assign([("train", None, 1, False), ("test", None, 1, False)])


@pytest.mark.parametrize(
    ("published", "official", "is_changed", "split"),
    [
        ("train", "test", False, "train"), ("train", "train", True, "train"), ("val", "train_val", True, "val"),
        ("test", "train_val", False, "test"), ("train", "test", True, None), ("test", "train_val", True, None),
        ("val", None, True, "val"), (None, "val", False, "val"),
    ],
)  # fmt: skip
def test_a_corrected_official_split_asks_and_an_old_one_does_not(published, official, is_changed, split):
    rows = [(published, official, 1, is_changed)]
    if split:
        assert assign(rows) == [split]
    else:
        with pytest.raises(MedpriorError, match=f"from {published} to"):
            assign(rows)
        assert assign(rows, resplit=True)[0] != published


def test_equal_pixels_under_another_id_keep_the_split():
    published = PublishedSplits({"old": "val"}, {"sha": "val"})
    assert SplitRequest(RULE, published).assign(["new"], ["p"], ["sha"], [None]).tolist() == ["val"]
    with pytest.raises(MedpriorError, match="from val to test"):
        SplitRequest(RULE, published).assign(["new"], ["p"], ["sha"], ["test"])


def test_given_splits_come_first_and_are_not_questioned():
    request = SplitRequest(RULE, PublishedSplits({"a": "val"}), given={"a": "test"})
    assert request.assign(["a"], ["p"], ["sha"], ["train"]).tolist() == ["test"]
