"""Every shipped descriptor on a small copy of its data set's real layout."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medprior.dicom.decoding.samples import create_sample_dataset, create_sample_picture, serialise_dataset
from medprior.errors import ConfigError, InputMissing
from medprior.ingest import IngestSettings, ingest_images
from medprior.ingest.descriptor import (
    PUBLIC_DATASETS,
    DatasetDescriptor,
    descriptor_folder,
    load_descriptor,
    parse_image_key,
)
from tests.ingest.radiograph_files import EIGHT_BITS, write_png

ONE = IngestSettings(workers=1, store_size=96)
NAMES = sorted(path.stem for path in descriptor_folder().glob("*.yaml") if path.stem != "template")


def different(number):
    return np.roll(EIGHT_BITS, 3 * number, axis=1)


@pytest.mark.parametrize("name", NAMES)
def test_shipped_descriptors_fit_the_schema(name):
    described = load_descriptor(name)
    assert described.name == name
    assert described.licence
    assert described.homepage


def test_nih_official_layout(tmp_path):
    rows = ["Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position"]
    lists = {"train_val_list.txt": [], "test_list.txt": []}
    for number in range(12):
        patient = number // 2 + 1
        name = f"{patient:08d}_{number % 2:03d}.png"
        write_png(tmp_path / "images_001" / "images" / name, different(number))
        finding = ["No Finding", "Effusion|Mass", "Hernia"][number % 3]
        rows.append(f"{name},{finding},0,{patient},05{number % 10}Y,M,PA")
        lists["test_list.txt" if patient > 4 else "train_val_list.txt"].append(name)
    (tmp_path / "Data_Entry_2017.csv").write_text("\n".join(rows))
    for name, lines in lists.items():
        (tmp_path / name).write_text("\n".join(lines))
    cohort = ingest_images(tmp_path, tmp_path / "c", "nih", ONE)
    assert len(cohort.label_names) == 14
    assert len(set(cohort.patient_ids)) == 6
    assert cohort.labels(["Effusion"]).sum() == 4
    np.testing.assert_array_equal(cohort.labels(["Mass"]), cohort.labels(["Effusion"]))
    assert len(cohort.split("test")) == 4
    assert set(cohort.manifest.sex) == {"M"}
    assert cohort.manifest.age.between(50, 59).all()


def test_nih_without_its_table_says_what_is_missing(tmp_path):
    write_png(tmp_path / "images" / "00000001_000.png")
    with pytest.raises(InputMissing, match=r"Data_Entry_2017\.csv"):
        ingest_images(tmp_path, tmp_path / "c", "nih", ONE)


def test_shenzhen_official_layout(tmp_path):
    for number, sick in ((1, 0), (2, 0), (330, 1)):
        name = f"CHNCXR_{number:04d}_{sick}"
        write_png(tmp_path / "CXR_png" / f"{name}.png", different(number))
        write_png(tmp_path / "mask" / f"{name}_mask.png", ((EIGHT_BITS > 128) * 255).astype("u1"))
    cohort = ingest_images(tmp_path, tmp_path / "c", "shenzhen", ONE)
    assert sorted(cohort.labels(["tuberculosis"])[:, 0]) == [0, 0, 1]
    assert cohort.structures == ("lungs",)
    np.testing.assert_array_equal(cohort.mask(cohort.image_ids[0], "lungs"), EIGHT_BITS > 128)


@pytest.mark.parametrize("style", ["IMG", "png"])
@pytest.mark.parametrize(("left", "suffix"), [("left lung", "gif"), ("left_lung", "png")])
def test_jsrt_with_scr_masks(tmp_path, style, left, suffix):
    y, x = np.mgrid[0:1:2048j, 0:1:2048j]
    density = np.rint(4095 * (0.3 * y + 0.7 * x)).astype(np.uint16)
    names = ("JPCLN001", "JPCNN002")
    for number, name in enumerate(names):
        stored = np.roll(density, 50 * number, axis=0)
        if style == "IMG":
            (tmp_path / "All247images").mkdir(exist_ok=True)
            (tmp_path / "All247images" / f"{name}.IMG").write_bytes(stored.astype(">u2").tobytes())
        else:
            write_png(tmp_path / "png" / f"{name}.png", ((4095 - stored) // 16).astype("u1"))
        mask = np.zeros((1024, 1024), bool)
        mask[200:800, 550:900] = True
        for structure in (left, "heart"):
            write_png(tmp_path / "scratch" / structure / f"{name}.{suffix}", (mask * 255).astype("u1"))
    cohort = ingest_images(tmp_path, tmp_path / "c", "jsrt", ONE)
    assert len(cohort) == 2
    assert sorted(cohort.labels(["nodule"])[:, 0]) == [0, 1]
    assert set(cohort.structures) == {"left_lung", "heart"}
    image = cohort.image_ids[0]
    # Film density: low stored values are bright.
    assert cohort.pixels(image)[:, 0].mean() > 0.6 > 0.4 > cohort.pixels(image)[:, -1].mean()
    mask = cohort.mask(image, "left_lung")
    assert mask[48, 70]
    assert not mask[48, 20]
    if style == "IMG":
        np.testing.assert_allclose(cohort.manifest.spacing_mm, 0.175)
        assert set(cohort.manifest.spacing_kind) == {"film"}


def test_public_ids_are_the_same_under_every_key(tmp_path):
    write_png(tmp_path / "in" / "CHNCXR_0001_0.png")
    cohorts = [
        ingest_images(tmp_path / "in", tmp_path / name, "shenzhen", ONE, key=tmp_path / f"k{name}") for name in "ab"
    ]
    assert cohorts[0].image_ids == cohorts[1].image_ids
    assert not (tmp_path / "ka").exists()


def test_two_data_sets_in_one_cohort(tmp_path):
    write_png(tmp_path / "s" / "CHNCXR_0001_0.png", different(1))
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "x").write_bytes(serialise_dataset(create_sample_dataset(create_sample_picture())))
    key = tmp_path / "k"
    ingest_images(tmp_path / "s", tmp_path / "c", "shenzhen", ONE, key)
    cohort = ingest_images(tmp_path / "d", tmp_path / "c", None, ONE, key)
    assert set(cohort.manifest.dataset) == {"shenzhen", "files"}
    assert np.isnan(cohort.labels(["tuberculosis"])).sum() == 1


def test_wrong_descriptors_are_explained(tmp_path):
    own = tmp_path / "own.yaml"
    own.write_text("name: own\ntitle: t\nlicence: x\nimages:\n  - match: '[a-z]+('\ncolour: red\n")
    with pytest.raises(ConfigError) as caught:
        load_descriptor(str(own))
    assert "unknown key 'colour'" in str(caught.value)
    assert "images.0.match" in str(caught.value)
    with pytest.raises(InputMissing, match="nih"):
        load_descriptor("nosuch")


def jpg(path: Path, number: int):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(different(number)).save(path, quality=95)


def test_chexpert_layout(tmp_path):
    head = "Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Cardiomegaly,Edema,Pleural Effusion"
    head += (
        ",Enlarged Cardiomediastinum,Lung Opacity,Lung Lesion,Consolidation,Pneumonia,Atelectasis,Pneumothorax,"
        "Pleural Other,Fracture,Support Devices"
    )
    rows = {"train": [head], "valid": [head]}
    for number in range(6):
        part = "valid" if number > 3 else "train"
        view = "lateral" if number == 1 else "frontal"
        name = f"{part}/patient{number // 2:05d}/study1/view{number % 2 + 1}_{view}.jpg"
        jpg(tmp_path / name, number)
        side = "" if view == "lateral" else "AP"
        rows[part].append(f"CheXpert-v1.0-small/{name},Female,90,{view},{side},,1.0,-1.0,0.0")
    for part, lines in rows.items():
        (tmp_path / f"{part}.csv").write_text("\n".join(lines))
    cohort = ingest_images(tmp_path, tmp_path / "c", "chexpert", ONE)
    assert len(cohort) == 6
    assert sorted(cohort.manifest["view"]) == ["AP"] * 5 + ["LATERAL"]
    labels = cohort.labels(["Cardiomegaly", "Edema", "Effusion"])
    np.testing.assert_array_equal(labels, np.tile([1, np.nan, 0], (6, 1)))
    assert len(cohort.split("test")) == 2
    assert len(set(cohort.manifest.study_id)) == 3


def test_mimic_layout(tmp_path):
    import gzip

    tables = {
        "metadata": ["dicom_id,subject_id,study_id,ViewPosition"],
        "split": ["dicom_id,study_id,subject_id,split"],
        "chexpert": ["subject_id,study_id,Atelectasis,Pneumonia"],
    }
    tables["chexpert"][0] += (
        ",No Finding,Enlarged Cardiomediastinum,Cardiomegaly,Lung Opacity,Lung Lesion,Edema,Consolidation,Pneumothorax,"
        "Pleural Effusion,Pleural Other,Fracture,Support Devices"
    )
    for number in range(4):
        study, patient = 50000000 + number // 2, 10000000 + number // 2
        name = f"0a{number:06d}-bbbb"
        jpg(tmp_path / f"files/p10/p{patient}/s{study}/{name}.jpg", number)
        tables["metadata"].append(f"{name},{patient},{study},{'PA' if number % 2 else 'LATERAL'}")
        tables["split"].append(f"{name},{study},{patient},{'test' if number > 1 else 'validate'}")
    tables["chexpert"] += ["10000000,50000000,1.0,-1.0", "10000001,50000001,,0.0"]
    for name, lines in tables.items():
        with gzip.open(tmp_path / f"mimic-cxr-2.0.0-{name}.csv.gz", "wt") as file:
            file.write("\n".join(lines))
    cohort = ingest_images(tmp_path, tmp_path / "c", "mimic_cxr_jpg", ONE)
    frame = cohort.manifest.sort_values("split")
    assert frame.split.tolist() == ["test", "test", "val", "val"]
    nan = np.nan
    np.testing.assert_array_equal(frame.Atelectasis, [nan, nan, 1, 1])
    np.testing.assert_array_equal(frame.Pneumonia, [0, 0, nan, nan])
    assert sorted(frame["view"]) == ["LATERAL", "LATERAL", "PA", "PA"]


def test_padchest_layout(tmp_path):
    array = (create_sample_picture(bits=12) + 500).astype(np.uint16)
    write_png(tmp_path / "0" / "1_a.png", array)
    (tmp_path / "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv").write_text(
        "ImageID,PatientID,StudyID,PatientSex_DICOM,Projection,Labels\n"
        "1_a.png,7,8,F,L,\"['nodule', 'pleural effusion']\"\n"
    )
    cohort = ingest_images(tmp_path, tmp_path / "c", "padchest", ONE)
    row = cohort.manifest.iloc[0]
    assert (row.Nodule, row.Effusion, row.Pneumonia) == (1, 1, 0)
    assert (row["view"], row.sex) == ("LATERAL", "F")
    pixels = cohort.pixels(cohort.image_ids[0])
    assert (pixels.min(), pixels.max()) == (0, 1)


def test_vindr_layout(tmp_path):
    head = (
        "image_id,rad_id,Cardiomegaly,Pleural effusion,No finding,Aortic enlargement,Atelectasis,Consolidation,Edema,"
    )
    head += (
        "Emphysema,Pulmonary fibrosis,Infiltration,Lung Opacity,Nodule/Mass,Pleural thickening,Pneumothorax,Pneumonia"
    )
    head += ",Tuberculosis"
    rows = [head]
    for number in range(3):
        name = f"{number:032x}"
        path = tmp_path / "train" / f"{name}.dicom"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(serialise_dataset(create_sample_dataset(np.roll(create_sample_picture(), number, 1))))
        rows += [f"{name},R{r},{int(r < number)},0,1" for r in range(3)]
    (tmp_path / "image_labels_train.csv").write_text("\n".join(rows))
    cohort = ingest_images(tmp_path, tmp_path / "c", "vindr_cxr", ONE)
    shares = sorted(cohort.labels(["Cardiomegaly"])[:, 0])
    np.testing.assert_allclose(shares, [0, 1 / 3, 2 / 3], atol=1e-6)


def test_rsna_layout_accepts_its_captures(tmp_path):
    name = "0004cfab-14fd-4e49-80ba-63a80b6bddd6"
    path = tmp_path / "stage_2_train_images" / f"{name}.dcm"
    path.parent.mkdir()
    dataset = create_sample_dataset(
        create_sample_picture(), SOPClassUID="1.2.840.10008.5.1.4.1.1.7", Modality="CR",
        ConversionType="WSD",
    )  # fmt: skip
    path.write_bytes(serialise_dataset(dataset))
    (tmp_path / "stage_2_train_labels.csv").write_text(
        f"patientId,x,y,width,height,Target\n{name},,,,,0\n{name},1,1,1,1,1\n"
    )
    cohort = ingest_images(tmp_path, tmp_path / "c", "rsna", ONE)
    assert cohort.labels(["Lung Opacity"]).tolist() == [[1.0]]
    assert "secondary_capture" in cohort.manifest["flags"].iloc[0]


def test_montgomery_layout(tmp_path):
    write_png(tmp_path / "CXR_png" / "MCUCXR_0001_1.png")
    for side, mask in (("left", EIGHT_BITS > 200), ("right", EIGHT_BITS < 50)):
        folder_name = tmp_path / "ManualMask" / f"{side}Mask"
        write_png(folder_name / "MCUCXR_0001_1.png", (mask * 255).astype("u1"))
    cohort = ingest_images(tmp_path, tmp_path / "c", "montgomery", ONE)
    (image,) = cohort.image_ids
    np.testing.assert_array_equal(cohort.mask(image, "left_lung"), EIGHT_BITS > 200)
    np.testing.assert_array_equal(cohort.mask(image, "right_lung"), EIGHT_BITS < 50)
    assert cohort.labels(["tuberculosis"]).tolist() == [[1.0]]


def test_a_known_key_is_for_published_ids_only(tmp_path, monkeypatch):
    shipped = sorted(descriptor_folder().glob("*.yaml"))
    public = {load_descriptor(path.stem).name for path in shipped if load_descriptor(path.stem).identity == "public"}
    assert public == PUBLIC_DATASETS
    for name, text in {
        "clinic.yaml": "name: clinic\ntitle: t\nlicence: x\nidentity: public\nimages: [{match: '^(?P<id>.*)$'}]\n",
        "nih.yaml": (descriptor_folder() / "nih.yaml").read_text(),
    }.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(ConfigError, match="turned back"):
            load_descriptor(str(tmp_path / name))
    monkeypatch.setenv("MEDPRIOR_DATA_MANIFESTS", str(tmp_path))
    with pytest.raises(ConfigError, match="turned back"):
        load_descriptor("clinic")
    assert load_descriptor("nih").identity == "public"


def test_a_line_break_in_a_file_name_hides_nothing(tmp_path):
    text = """
name: own
title: t
licence: x
images:
  - match: '^images/(?P<id>.*)\\.png$'
masks:
  - match: '^masks/(?P<id>.*)\\.png$'
    structure: heart
tables:
  - files: [table.csv]
    key: [image]
    key_match: '^(?P<id>.*)\\.png$'
    labels: {nodule: [nodule]}
patient_from_name: '^images/.*_(?P<id>p[0-9])\\.png$'
labels_from_name:
  bright: {present: '^images/.*bright.*png$', absent: '^images/.*dark.*png$'}
views_from_name:
  AP: '^images/.*ap_.*$'
splits:
  - {split: test, match: '^images/.*late.*$'}
"""
    (tmp_path / "own.yaml").write_text(text)
    names = {1: "bright\nap_late_p1", 2: "dark\nap_late_p1"}
    for number, name in names.items():
        write_png(tmp_path / "in" / "images" / f"{name}.png", different(number))
        write_png(tmp_path / "in" / "masks" / f"{name}.png", (EIGHT_BITS > 100).astype("u1") * 255)
    rows = [f'"{name}.png",{number - 1}' for number, name in names.items()]
    (tmp_path / "in" / "table.csv").write_text("image,nodule\n" + "\n".join(rows) + "\n")
    cohort = ingest_images(tmp_path / "in", tmp_path / "c", str(tmp_path / "own.yaml"), ONE)
    manifest = cohort.manifest.sort_values("nodule")
    assert manifest.nodule.tolist() == [0, 1]
    assert manifest.bright.tolist() == [1, 0]
    assert manifest["view"].tolist() == ["AP", "AP"]
    assert manifest.split.tolist() == ["test", "test"]
    assert manifest.patient_id.nunique() == 1
    assert all(manifest.mask_heart)


@pytest.mark.parametrize(
    ("cell", "pattern", "expected"),
    [
        (" a/b\\c.PNG ", None, "c"), ("x.tar.jpeg", None, "x.tar"), ("x.txt", None, "x.txt"),
        ("x.png.dcm", None, "x.png"),
        ("train/p7.png", r"(?P<id>p\d)", "p7"), ("train/7.png", r"(?P<id>p\d)", ""), ("a\nb", "^a.(?P<id>b)$", "b"),
    ],
)  # fmt: skip
def test_a_cell_names_an_image_by_its_last_part_without_suffix(cell, pattern, expected):
    assert parse_image_key(cell, pattern) == expected


def test_images_need_an_id_and_names_are_small_letters():
    values = {"name": "own", "title": "t", "licence": "x", "images": [{"match": "(?P<id>.*)"}]}
    assert DatasetDescriptor.from_values(values).identity == "private"
    for change, words in (
        ({"images": [{"match": ".*"}]}, "needs a group"),
        ({"images": []}, "images"),
        ({"name": "Own"}, "name"),
        ({"exclude": "["}, "not a regular expression"),
    ):
        with pytest.raises(ConfigError, match=words):
            DatasetDescriptor.from_values(values | change)


def test_descriptors_are_found_in_the_folder_of_the_variable(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDPRIOR_DATA_MANIFESTS", str(tmp_path))
    (tmp_path / "own.yaml").write_text("{name: own, title: t, licence: x, images: [{match: '(?P<id>.*)'}]}")
    assert load_descriptor("own").name == "own"
    with pytest.raises(InputMissing, match="one of: own;"):
        load_descriptor("nih")
    assert load_descriptor(None).name == "files"
