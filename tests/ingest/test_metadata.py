import numpy as np

from medprior.dicom import Radiograph, RawIdentifiers
from medprior.ingest.decoding import DecodedImage
from medprior.ingest.descriptor import MaskRule, RawFormat, load_descriptor
from medprior.ingest.identity import Pseudonymizer
from medprior.ingest.metadata import HeaderFacts, MetadataJoiner, digest_decoding_rules, digest_metadata_rules
from medprior.ingest.plan import ImageSource, MaskFile
from medprior.ingest.tables import SourceMetadata

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
