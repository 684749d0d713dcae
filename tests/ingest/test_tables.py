import gzip
import math

import pytest

from medprior.errors import ConfigError, InputMissing
from medprior.ingest.descriptor import DatasetDescriptor, TableRule
from medprior.ingest.tables import (
    STUDY_KEY_PREFIX,
    SourceMetadata,
    TableJoins,
    find_first_file,
    find_label_columns,
    merge_rows,
    parse_file_name,
    parse_label_value,
    parse_table_age,
    parse_table_sex,
    parse_table_view,
    read_table_rows,
    read_tables,
)

NAN = float("nan")


def describe(**values) -> DatasetDescriptor:
    """A descriptor of PNG files with the given rules."""
    fixed = {"name": "own", "title": "t", "licence": "x", "images": [{"match": r"^(?P<id>.*)\.png$"}]}
    return DatasetDescriptor.from_values(fixed | values)


@pytest.mark.parametrize(("repeated", "expected"), [("mean", 0.25), ("max", 0.5)])
def test_repeated_rows_are_combined_over_known_labels(repeated, expected):
    rows = [
        ("a", SourceMetadata({"sex": "M", "age": "5"}, {"mass": 0.0, "edema": NAN})),
        ("b", SourceMetadata({}, {"mass": 1.0})),
        ("a", SourceMetadata({"sex": "F"}, {"mass": 0.5, "edema": NAN})),
        ("a", SourceMetadata({}, {"mass": NAN})),
    ]
    merged = merge_rows(rows, repeated)
    assert list(merged) == ["a", "b"]
    assert merged["a"].fields == {"sex": "F", "age": "5"}
    assert merged["a"].labels["mass"] == expected
    assert math.isnan(merged["a"].labels["edema"])
    assert merged["b"].labels == {"mass": 1.0}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1", 1.0), (" 0.25 ", 0.25), ("0", 0.0), ("0,5", 0.5), ("-0.1", NAN), ("", NAN), ("yes", 1.0), ("-1.0", NAN),
        ("True", 1.0), ("FALSE", 0.0), ("Yes", 1.0), (" no", 0.0), ("POSITIVE", 1.0), ("negative", 0.0), ("-1", NAN),
        ("NaN", NAN), ("N/A", NAN), ("unknown", NAN), ("Uncertain", NAN), ("maybe", 0.5),
    ],
)  # fmt: skip
def test_label_cells_are_numbers_from_0_to_1(text, expected):
    assert parse_label_value(text, {"yes": 1.0, "-1.0": None, "maybe": 0.5}) == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize("text", ["perhaps", "1.01", "100", "yes?", "inf"])
def test_other_words_and_numbers_above_1_are_errors_that_name_them(tmp_path, text):
    (tmp_path / "t.csv").write_text(f"id,m,note\na,{text},see {text}\nb,no,1\n")
    table = {"files": ["t.csv"], "key": ["id"], "labels": {"Mass": ["m"]}}
    with pytest.raises(ConfigError) as caught:
        read_tables(tmp_path, describe(tables=[table]))
    assert (caught.value.where, caught.value.found) == ("t.csv, column m", repr(text))
    assert text not in caught.value.what
    table |= {"values": {text: 0.75}, "other_labels": True}
    rows = read_tables(tmp_path, describe(tables=[table]))
    assert rows["a"].labels == pytest.approx({"Mass": 0.75, "note": NAN}, nan_ok=True)
    assert rows["b"].labels == {"Mass": 0.0, "note": 1.0}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("050Y", 50), ("7.5", 7.5), ("0", 0), ("90", 90), ("93", 90), ("130", 90), ("131", None), ("5 y", 5),
        ("006M", None), ("", None), (None, None),
    ],
)  # fmt: skip
def test_ages_are_years_up_to_90(text, expected):
    assert parse_table_age(text) == expected


def test_sex_and_view_have_the_names_of_the_manifest():
    assert [parse_table_sex(text) for text in ("female", " M", "Other", "unknown", None)] == ["F", "M", "O", None, None]
    assert [parse_table_view(text) for text in ("pa", "L", "AP Supine ", "oblique", None)] == [
        "PA", "LATERAL", "AP", None, None,
    ]  # fmt: skip


def test_other_columns_are_labels_unless_they_have_a_use():
    labels = {"mass": ("Massa", "Mass"), "gone": ("gone",)}
    table = TableRule(files=("t",), key=("id",), labels=labels, other_labels=True)
    columns = ["id", "Mass", "edema", "sex"]
    assert find_label_columns(table, columns, {"id", "sex", None}) == {"mass": "Mass", "edema": "edema"}
    named = table.model_copy(update={"other_labels": False})
    assert find_label_columns(named, columns, {"id"}) == {"mass": "Mass"}


def test_listed_findings_are_present_and_the_others_absent(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("\ufeffImage,Found\nx/1.png,\"['mass', 'edema']\"\n2.png,\n3.png,masses\n")
    findings = {"columns": ["Gone", "Found"], "separator": ",", "names": {"mass": "Mass", "hernia": "Hernia"}}
    table = TableRule.from_values({"files": ["t.csv"], "key": ["image", "Image"], "findings": findings})
    rows = {key: row.labels for key, row in read_table_rows(path, table)}
    assert rows == {"1": {"Mass": 1.0, "Hernia": 0.0}, "2": {}, "3": {"Mass": 0.0, "Hernia": 0.0}}


def test_a_split_list_replaces_the_split_of_a_table(tmp_path):
    (tmp_path / "t.csv").write_text("id,part\na,Training\nb,other\n")
    (tmp_path / "test.txt").write_text("b.png\n\nc.png\n")
    described = describe(
        tables=[{"files": ["t.csv"], "key": ["id"], "facts": {"split": ["part"]}, "splits": {"Training": "train"}}],
        splits=[{"split": "test", "files": ["gone.txt", "test.txt"]}],
    )
    splits = {key: entry.fields["split"] for key, entry in read_tables(tmp_path, described).items()}
    assert splits == {"a": "train", "b": "test", "c": "test"}


def test_study_rows_have_keys_of_their_own_and_tables_may_be_compressed(tmp_path):
    with gzip.open(tmp_path / "t.csv.gz", "wt") as file:
        file.write("study,mass\n7,1\n")
    described = describe(
        tables=[{"files": ["t.csv", "t.csv.gz"], "key": ["study"], "about": "study", "labels": {"mass": ["mass"]}}]
    )
    assert {key: row.labels for key, row in read_tables(tmp_path, described).items()} == {
        STUDY_KEY_PREFIX + "7": {"mass": 1.0}
    }


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_the_first_image_of_a_split_list_has_its_split_under_every_encoding(tmp_path, encoding):
    (tmp_path / "test.txt").write_text("a.png\nb.png\n", encoding=encoding)
    described = describe(splits=[{"split": "test", "files": ["test.txt"]}])
    assert {key: entry.fields for key, entry in read_tables(tmp_path, described).items()} == {
        "a": {"split": "test"},
        "b": {"split": "test"},
    }


def test_absent_columns_of_labels_and_patients_are_named_with_the_nearest(tmp_path):
    (tmp_path / "t.csv").write_text("image,effusions,patient,age,sex\na,1,p,5,F\n")
    table = {"files": ["t.csv"], "key": ["image"], "labels": {"Effusion": ["effusion"]}}
    with pytest.raises(InputMissing) as caught:
        read_tables(tmp_path, describe(tables=[table]))
    assert (caught.value.what, caught.value.where, caught.value.expected) == (
        "a column is missing",
        "t.csv",
        "effusion",
    )
    assert caught.value.found.startswith("as nearest effusions, ")
    assert caught.value.found.count(",") == 2
    table |= {"labels": {}, "facts": {"patient_id": ["patient_id"], "split": ["split"]}}
    with pytest.raises(InputMissing, match=r"expected patient_id, found as nearest patient, "):
        read_tables(tmp_path, describe(tables=[table]))
    findings = {"columns": ["findings"], "names": {"a": "A"}}
    with pytest.raises(InputMissing, match="expected findings"):
        read_tables(tmp_path, describe(tables=[table | {"facts": {}, "findings": findings}]))


def test_rows_without_image_and_images_without_row_are_counted(tmp_path):
    (tmp_path / "t.csv").write_text("id,sex\na,F\nx,F\ny,M\n,\n")
    (tmp_path / "s.csv").write_text("study,m\n7,1\n8,0\n")
    tables = [
        {"files": ["t.csv"], "key": ["id"], "facts": {"sex": ["sex"]}},
        {"files": ["s.csv"], "key": ["study"], "about": "study", "labels": {"m": ["m"]}},
    ]
    joins = TableJoins(["a", "b", "c", "d", STUDY_KEY_PREFIX + "7"])
    read_tables(tmp_path, describe(tables=tables), joins)
    assert joins.counts == {
        "t.csv": {"rows_without_image": 2, "images_without_row": 3},
        "s.csv": {"rows_without_image": 1, "studies_without_row": 0},
    }


def test_a_table_of_no_image_is_an_error_unless_its_twin_has_images(tmp_path):
    (tmp_path / "t.csv").write_text("id,m\ncase-1,1\ncase-2,0\n")
    table = {"files": ["t.csv"], "key": ["id"], "required": False, "labels": {"m": ["m"]}}
    keys = ["case_1", "case_2", "case_10", "other"]
    with pytest.raises(InputMissing) as caught:
        read_tables(tmp_path, describe(tables=[table]), TableJoins(keys))
    assert caught.value.what == "no row of the table matches an image (2 rows)"
    assert caught.value.expected == "ids of images as case_1, case_10, case_2"
    assert caught.value.found == "case-1"
    (tmp_path / "u.csv").write_text("id,m\ncase_1,1\n")
    joins = TableJoins(keys)
    read_tables(tmp_path, describe(tables=[table, table | {"files": ["u.csv"]}]), joins)
    assert joins.counts["t.csv"] == {"rows_without_image": 2, "images_without_row": 4}
    assert joins.counts["u.csv"] == {"rows_without_image": 0, "images_without_row": 3}


def test_cells_of_different_images_are_not_merged_into_one(tmp_path):
    (tmp_path / "t.csv").write_text("image,m\nP1/1.png,1\nP2/1.png,0\nP1/2.png,1\nP1/2.png,0\n")
    table = {"files": ["t.csv"], "key": ["image"], "labels": {"m": ["m"]}}
    with pytest.raises(ConfigError, match=r"found P1/1\.png, P2/1\.png; set `key_match`"):
        read_tables(tmp_path, describe(tables=[table]), TableJoins(["1", "2"]))
    assert read_tables(tmp_path, describe(tables=[table]), TableJoins(["2"]))["2"].labels == {"m": 0.5}


def test_entries_that_say_nothing_leave_the_other_findings_unknown(tmp_path):
    (tmp_path / "t.csv").write_text("id,found\na,Unchanged\nb,['mass'|UNCHANGED]\nc,small mass\nd,hydro\n")
    names = {"mass": "Mass", "small mass": "Mass", "hydro": ["Air", "Fluid"], "fluid": "Fluid"}
    findings = {"columns": ["found"], "names": names, "uninformative": ["unchanged"]}
    rows = read_tables(tmp_path, describe(tables=[{"files": ["t.csv"], "key": ["id"], "findings": findings}]))
    labels = {key: [row.labels[name] for name in ("Mass", "Air", "Fluid")] for key, row in rows.items()}
    expected = {"a": [NAN, NAN, NAN], "b": [1, NAN, NAN], "c": [1, 0, 0], "d": [0, 1, 1]}
    assert {key: pytest.approx(values, nan_ok=True) for key, values in expected.items()} == labels


def test_an_unnamed_first_column_stands_for_no_absent_one(tmp_path):
    """As pandas writes its index: neither a study nor a mark of exclusion."""
    (tmp_path / "t.csv").write_text(",id,m\n7,a,1\n")
    table = {"files": ["t.csv"], "key": ["id"], "labels": {"m": ["m"]}, "facts": {"study_id": ["study"]}}
    rows = read_tables(tmp_path, describe(tables=[table | {"excluded": {"gone": ["7"]}}]))
    assert rows == {"a": SourceMetadata({}, {"m": 1.0})}


def test_one_row_of_several_excludes_an_image(tmp_path):
    (tmp_path / "t.csv").write_text("id,kind\na, hand \na,chest\nb,chest\n")
    rows = read_tables(tmp_path, describe(tables=[{"files": ["t.csv"], "key": ["id"], "excluded": {"kind": ["HAND"]}}]))
    assert {key: row.is_excluded for key, row in rows.items()} == {"a": True, "b": False}


def test_names_of_a_split_list_without_image_are_counted(tmp_path):
    (tmp_path / "test.txt").write_text("a.png\nb.png\nc.png\n")
    joins = TableJoins(["a"])
    read_tables(tmp_path, describe(splits=[{"split": "test", "files": ["test.txt"]}]), joins)
    assert joins.counts == {"test.txt": {"names_without_image": 2}}


def test_only_required_tables_and_the_key_column_must_exist(tmp_path):
    table = {"files": ["t.csv"], "key": ["image", "id"]}
    assert read_tables(tmp_path, describe(tables=[table | {"required": False}])) == {}
    with pytest.raises(InputMissing, match=r"expected t\.csv"):
        read_tables(tmp_path, describe(tables=[table]))
    (tmp_path / "t.csv").write_text("name,mass\n")
    with pytest.raises(InputMissing, match="expected image or id"):
        read_tables(tmp_path, describe(tables=[table]))


def test_the_first_file_that_exists_is_read(tmp_path):
    for name in ("b", "c"):
        (tmp_path / name).touch()
    (tmp_path / "a").mkdir()
    assert find_first_file(tmp_path, ("a", "c", "b")) == tmp_path / "c"
    assert find_first_file(tmp_path, ("a",)) is None


def test_names_of_files_tell_labels_ids_view_and_split():
    described = describe(
        labels_from_name={"sick": {"present": "_1", "absent": "_0"}},
        patient_from_name="^(?P<id>p[0-9]+)",
        study_from_name="/(?P<id>s[0-9]+)/",
        views_from_name={"PA": "pa", "LATERAL": "lat"},
        splits=[{"split": "test", "match": "^p9"}, {"split": "val", "match": "_0"}],
    )
    parsed = parse_file_name("p9/s7/pa_1.png", described)
    assert parsed.labels == {"sick": 1.0}
    assert parsed.fields == {"patient_id": "p9", "study_id": "s7", "view": "PA", "split": "test"}
    assert parse_file_name("p1/x_0.png", described).labels == {"sick": 0.0}
    assert parse_file_name("p1/x_0.png", described).fields == {"patient_id": "p1", "split": "val"}
    assert math.isnan(parse_file_name("x_2.png", described).labels["sick"])
