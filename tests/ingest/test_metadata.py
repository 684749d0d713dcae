import numpy as np
import pytest

from medprior.dicom import Radiograph, RawIdentifiers
from medprior.ingest.decoding import DecodedImage
from medprior.ingest.descriptor import DatasetDescriptor, MaskRule, RawFormat, load_descriptor
from medprior.ingest.identity import Pseudonymizer
from medprior.ingest.metadata import HeaderFacts, MetadataJoiner, digest_decoding_rules, digest_metadata_rules
from medprior.ingest.plan import ImageSource, MaskFile
from medprior.ingest.tables import STUDY_KEY_PREFIX, SourceMetadata

PSEUDONYMS = Pseudonymizer(b"key")
SOURCE = ImageSource("/a.png", "a.png", "a", None, ())
EMPTY = HeaderFacts("", "", "UNKNOWN", None, None)


def join(header=EMPTY, labels=(), **fields):
    joiner = MetadataJoiner(load_descriptor(None), PSEUDONYMS, {"a": SourceMetadata(fields, dict(labels))})
    return joiner.join("i", SOURCE, header)


def test_the_header_says_view_sex_and_age_and_the_table_what_it_lacks():
    table = {"view": "AP", "sex": "male", "age": "50", "split": "test"}
    metadata = join(**table)[2]
    assert [metadata[name] for name in ("view", "sex", "age", "official")] == ["AP", "M", 50.0, "test"]
    metadata = join(HeaderFacts("", "", "PA", "F", 0.0), **table)[2]
    assert [metadata[name] for name in ("view", "sex", "age", "official")] == ["PA", "F", 0.0, "test"]
    metadata = join()[2]
    assert [metadata[name] for name in ("view", "sex", "age", "official")] == ["UNKNOWN", None, None, None]


def test_labels_and_patients_come_from_the_table():
    patient_id, labels, metadata = join(HeaderFacts("p", "s", "PA", None, None), {"x": 1.0}, patient_id="7")
    assert (patient_id, labels) == (PSEUDONYMS.pseudonym("patient", "files\x007"), {"x": 1.0})
    assert metadata["study_id"] == "s"
    assert join(HeaderFacts("p", "s", "PA", None, None))[0] == "p"


def test_the_digest_of_metadata_follows_descriptor_tables_and_files():
    plain, other = load_descriptor(None), load_descriptor("nih")
    cases = [(plain, {}, []), (other, {}, []), (plain, {"t": "1"}, []), (plain, {}, [SOURCE])]
    assert len({digest_metadata_rules(*case) for case in cases}) == 4
    tables = {"b": "2", "a": "1"}
    assert digest_metadata_rules(plain, tables, []) == digest_metadata_rules(plain, dict(sorted(tables.items())), [])


def test_the_digest_of_decoding_follows_policy_format_stretch_and_masks_and_not_the_place():
    plain = load_descriptor(None)
    mask = MaskFile("/m.png", "heart", MaskRule(match="(?P<id>.)"))
    sources = [
        SOURCE,
        ImageSource("/a.png", "a.png", "a", None, (), stretch=True),
        ImageSource("/a.png", "a.png", "a", RawFormat(rows=2, cols=2, bits=8), ()),
        ImageSource("/a.png", "a.png", "a", None, (mask,)),
        ImageSource("/a.png", "a.png", "a", None, (MaskFile("/m.png", "lungs", mask.rule),)),
    ]
    assert len({digest_decoding_rules(source, plain) for source in sources}) == 5
    strict = plain.model_copy(update={"policy": {"min_side": 50}})
    assert digest_decoding_rules(SOURCE, strict) != digest_decoding_rules(SOURCE, plain)
    moved = ImageSource("/b/a.png", "b/a.png", "a", None, (), superseded=1)
    assert digest_decoding_rules(moved, plain) == digest_decoding_rules(SOURCE, plain)


def test_ages_of_private_data_are_full_years_and_published_ones_stay():
    assert join(HeaderFacts("", "", "PA", "F", 0.038))[2]["age"] == 0.0
    assert join(age="1.99")[2]["age"] == 1.0
    public = MetadataJoiner(load_descriptor("kermany"), PSEUDONYMS, {})
    assert public.join("i", SOURCE, HeaderFacts("", "", "PA", "F", 0.038))[2]["age"] == 0.038


def test_digests_of_private_pixels_are_keyed_and_published_ones_plain():
    empty = np.zeros((0, 0), np.float32)
    radiograph = Radiograph(empty, empty.astype(bool), pixel_sha256="d" * 64)
    image = DecodedImage(empty.astype(np.uint16), None, {}, (1, 1), radiograph, RawIdentifiers())
    digests = [
        MetadataJoiner(load_descriptor(name), key, {}).join_image("i", SOURCE, image, "")[2]["pixel_sha256"]
        for name, key in ((None, PSEUDONYMS), (None, Pseudonymizer(b"other")), ("kermany", PSEUDONYMS))
    ]
    assert digests == [PSEUDONYMS.key_digest("d" * 64), Pseudonymizer(b"other").key_digest("d" * 64), "d" * 64]
    assert len(set(digests)) == 3


def describe(**values):
    """A descriptor of PNG files with the given rules."""
    fixed = {"name": "own", "title": "t", "licence": "x", "images": [{"match": r"^(?P<id>.*)\.png$"}]}
    return DatasetDescriptor.from_values(fixed | values)


def test_the_row_of_an_image_counts_before_that_of_its_study_and_both_before_the_file_name():
    descriptor = describe(
        study_from_name="(?P<id>s[0-9])", views_from_name={"PA": "pa"}, view="AP",
        labels_from_name={name: {"present": "sick", "absent": "sound"} for name in ("of_name", "of_study", "of_image")},
        splits=[{"match": "sick", "split": "val"}],
    )  # fmt: skip
    tables = {
        "a": SourceMetadata({"age": "3"}, {"of_image": 0.25}),
        f"{STUDY_KEY_PREFIX}s7": SourceMetadata(
            {"age": "5", "sex": "F", "view": "LL"}, {"of_study": 0.5, "of_image": 0.75}
        ),
        f"{STUDY_KEY_PREFIX}": SourceMetadata({"age": "99"}, {}),
    }
    joiner = MetadataJoiner(descriptor, PSEUDONYMS, tables)
    patient, labels, metadata = joiner.join("i", ImageSource("/x", "s7/pa_sick.png", "a", None, ()), EMPTY)
    assert labels == {"of_name": 1.0, "of_study": 0.5, "of_image": 0.25}
    assert (metadata["age"], metadata["sex"], metadata["official"]) == (3, "F", "val")
    assert metadata["view"] == "LL"
    assert metadata["study_id"] == PSEUDONYMS.pseudonym("study", "s7")
    assert patient == PSEUDONYMS.pseudonym("patient of study", metadata["study_id"])
    named = joiner.join("i", ImageSource("/x", "s8/pa.png", "gone", None, ()), EMPTY)[2]
    assert (named["view"], named["age"]) == ("PA", None)
    assert joiner.join("i", ImageSource("/x", "s8/x.png", "gone", None, ()), EMPTY)[2]["view"] == "AP"


def test_without_any_id_each_image_is_a_study_and_a_patient_of_its_own():
    joiner = MetadataJoiner(load_descriptor(None), PSEUDONYMS, {})
    (first, study), (second, other) = (joiner.assign_patient_and_study(name, EMPTY, {}) for name in ("i", "j"))
    assert len({first, second, study, other}) == 4
    assert study == PSEUDONYMS.pseudonym("study", "i")
    header = HeaderFacts("", "s", "PA", None, None)
    assert joiner.assign_patient_and_study("i", header, {}) == (PSEUDONYMS.pseudonym("patient of study", "s"), "s")
    both = HeaderFacts("p", "s", "PA", None, None)
    assert joiner.assign_patient_and_study("i", both, {"study_id": "1.2"}) == (
        "p",
        PSEUDONYMS.pseudonym("study", "1.2"),
    )


@pytest.mark.parametrize(
    ("identity", "patient", "study"),
    [(RawIdentifiers("7", "1.2.3"), "7", "1.2.3"), (RawIdentifiers("7", "not a uid"), "7", None),
     (RawIdentifiers("", "1.2.3"), None, "1.2.3"), (RawIdentifiers(), None, None)],
)  # fmt: skip
def test_a_file_tells_pseudonyms_of_what_it_names(identity, patient, study):
    empty = np.zeros((0, 0), np.float32)
    radiograph = Radiograph(empty, empty.astype(bool), view="PA", sex="F", age=4.5, spacing_mm=(0.1, 0.4))
    image = DecodedImage(empty.astype(np.uint16), None, {}, (1, 1), radiograph, identity)
    joiner = MetadataJoiner(load_descriptor(None), PSEUDONYMS, {})
    facts = joiner.read_header_facts(image)
    expected = [
        PSEUDONYMS.pseudonym(kind, name) if name else "" for kind, name in (("patient", patient), ("study", study))
    ]
    assert [facts.patient, facts.study] == expected
    assert (facts.view, facts.sex, facts.age) == ("PA", "F", 4.5)
    assert joiner.join_image("i", SOURCE, image, "rules")[2]["spacing_mm"] == pytest.approx(0.2)  # of an equal area
