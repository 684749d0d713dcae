"""Every shipped descriptor on its data set's published folders, names and table headers; pixels are made up."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medprior.dicom.decoding.samples import create_sample_picture
from medprior.errors import InputMissing
from medprior.ingest import IngestSettings, ingest_images
from medprior.ingest.descriptor import descriptor_folder
from tests.ingest.radiograph_files import EIGHT_BITS, shift_picture, write_pictures, write_png, write_table

ONE = IngestSettings(workers=1, store_size=64)


# Mendeley Data 10.17632/rscbjbr9sj (version 2, ChestXRay2017.zip) and its widespread copy, which repeats the folder.
KERMANY = {
    "train/NORMAL/IM-0115-0001.jpeg": ("IM-0115", 0, 0, 0),
    "train/NORMAL/IM-0129-0001-0002.jpeg": ("IM-0129", 0, 0, 0),
    "train/NORMAL/NORMAL2-IM-0381-0001.jpeg": ("NORMAL2-IM-0381", 0, 0, 0),
    "train/PNEUMONIA/person1_bacteria_1.jpeg": ("person1", 1, 1, 0),
    "train/PNEUMONIA/person1_bacteria_2.jpeg": ("person1", 1, 1, 0),
    "train/PNEUMONIA/person1000_virus_1681.jpeg": ("person1000", 1, 0, 1),
    "test/NORMAL/IM-0001-0001.jpeg": ("IM-0001", 0, 0, 0),
    "test/PNEUMONIA/person1_virus_6.jpeg": ("person1", 1, 0, 1),
}


@pytest.mark.parametrize("top", ["", "chest_xray/"])
@pytest.mark.parametrize("has_copy", [False, True])
def test_kermany_archive(tmp_path, top, has_copy):
    write_pictures(tmp_path / "in" / top, KERMANY)
    if has_copy:
        write_pictures(tmp_path / "in" / top / "chest_xray", KERMANY)
        junk = tmp_path / "in" / top / "__MACOSX" / "chest_xray" / "train" / "NORMAL" / "._IM-0115-0001.jpeg"
        junk.parent.mkdir(parents=True)
        junk.write_bytes(b"\x00\x05\x16\x07")
    cohort = ingest_images(tmp_path / "in", tmp_path / "c", "kermany", ONE)
    frame = cohort.manifest
    rows = zip(frame.Pneumonia, frame.bacterial_pneumonia, frame.viral_pneumonia, strict=True)
    assert sorted(rows) == sorted(values[1:] for values in KERMANY.values())
    assert set(frame["view"]) == {"AP"}
    assert frame.patient_id.nunique() == 6
    assert set(frame.groupby("patient_id").size()) == {1, 3}


def test_kermany_subset_with_a_table(tmp_path):
    write_pictures(tmp_path / "images", ["person3_virus_17.jpeg", "person3_bacteria_10.jpeg", "IM-0005-0001.jpeg"])
    (tmp_path / "labels.csv").write_text(
        "image,patient_id,label\nIM-0005-0001.jpeg,IM-0005,normal\nperson3_virus_17.jpeg,person3,viral\n"
        "person3_bacteria_10.jpeg,person3,bacterial\n"
    )
    frame = ingest_images(tmp_path, tmp_path / "c", "kermany", ONE).manifest
    labels = frame[["Pneumonia", "bacterial_pneumonia", "viral_pneumonia"]].to_numpy().tolist()
    assert sorted(labels) == [[0, 0, 0], [1, 0, 1], [1, 1, 0]]
    assert frame.patient_id.nunique() == 2


def test_wingspan_layout(tmp_path):
    """Masks are interpolated, 0 to 255; the images are frontal and forced square (Dong et al., MICCAI 2018)."""
    for number in (1, 2):
        write_png(tmp_path / "images" / f"wing{number:03d}.png", shift_picture(number))
        for structure, start in (("right_lung", 10), ("left_lung", 50), ("heart", 40)):
            mask = np.zeros(EIGHT_BITS.shape, "u1")
            mask[20:60, start : start + 25] = 255
            mask[19, start : start + 25] = 3
            write_png(tmp_path / "masks" / structure / f"wing{number:03d}.png", mask)
    cohort = ingest_images(tmp_path, tmp_path / "c", "wingspan", IngestSettings(workers=1))
    assert set(cohort.structures) == {"left_lung", "right_lung", "heart"}
    assert cohort.manifest.patient_id.nunique() == 2
    mask = cohort.mask(cohort.image_ids[0], "left_lung")
    assert not mask[19].any()
    np.testing.assert_array_equal(np.flatnonzero(mask[20]), np.arange(50, 75))


CHEXPERT_LABELS = [
    "No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema",
    "Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other", "Fracture",
    "Support Devices",
]  # fmt: skip
CHEXPERT_HEADER = ["Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *CHEXPERT_LABELS]
CHEXPERT_CELLS = ["", "1.0", "0.0", "-1.0"]
CHEXPERT_VALUES = [np.nan, 1.0, 0.0, np.nan]


def chexpert_row(path, number):
    """A row whose 14 labels run through empty, 1.0, 0.0 and -1.0, from another start in every row."""
    cells = [CHEXPERT_CELLS[(number + column) % 4] for column in range(14)]
    lateral = path.endswith("_lateral.jpg")
    return [path, "Female", 60 + number, *(["Lateral", ""] if lateral else ["Frontal", "AP"]), *cells]


# Stanford AIMI, chexpertchestxrays-u20210408: three archives of training images, tables beside the validation images.
CHEXPERT_FOLDERS = {
    "CheXpert-v1.0 batch 1 (validate & csv)/valid": ("valid", 64541),
    "CheXpert-v1.0 batch 2 (train 1)": ("train", 1),
    "CheXpert-v1.0 batch 3 (train 2)": ("train", 21514),
    "CheXpert-v1.0 batch 4 (train 3)": ("train", 43018),
}


@pytest.mark.parametrize("top", ["", "chexpertchestxrays-u20210408"])
def test_chexpert_in_full_size(tmp_path, top):
    root, rows, pictures, expected = tmp_path / top, {"train": [], "valid": []}, [], {}
    for folder, (part, first) in CHEXPERT_FOLDERS.items():
        for patient in (first, first + 1):
            for view in ("view1_frontal", "view2_lateral"):
                name = f"patient{patient:05d}/study1/{view}.jpg"
                values = [CHEXPERT_VALUES[(len(pictures) + column) % 4] for column in range(14)]
                expected[len(pictures) + 60.0] = (part == "valid", "lateral" in view, values)
                rows[part].append(chexpert_row(f"CheXpert-v1.0/{part}/{name}", len(pictures)))
                pictures.append(f"{folder}/{name}")
    write_pictures(root, pictures)
    for part, lines in rows.items():
        write_table(root / "CheXpert-v1.0 batch 1 (validate & csv)" / f"{part}.csv", CHEXPERT_HEADER, lines)
    cohort = ingest_images(tmp_path, tmp_path / "c", "chexpert", ONE)
    frame = cohort.manifest
    assert len(frame) == 16
    assert frame.patient_id.nunique() == frame.study_id.nunique() == 8
    labels = ["Effusion" if name == "Pleural Effusion" else name for name in CHEXPERT_LABELS]
    for row, values in zip(frame.itertuples(), cohort.labels(labels), strict=True):
        is_test, is_lateral, truth = expected[row.age]
        assert (row.split == "test", row.view == "LATERAL") == (is_test, is_lateral)
        np.testing.assert_array_equal(values, truth)
    counts = json.loads((cohort.path / "summary.json").read_text())["joins"]
    assert counts["train.csv"] == {"rows_without_image": 0, "images_without_row": 4}


def test_chexpert_validation_and_test_set_alone(tmp_path):
    """As CheXlocalize hands them out: folders val and test, tables without sex, age and view."""
    tables = {"val": ("val", "CheXpert-v1.0/valid"), "test": ("test", "test")}
    for number, (name, (folder, prefix)) in enumerate(tables.items()):
        picture = f"patient{64541 + 200 * number}/study1/view1_frontal.jpg"
        write_png(tmp_path / "CheXpert" / folder / picture, shift_picture(number))
        row = [f"{prefix}/{picture}", *["0.0"] * 2, "1.0", *["0.0"] * 11]
        write_table(tmp_path / "CheXpert" / f"{name}_labels.csv", ["Path", *CHEXPERT_LABELS], [row])
    cohort = ingest_images(tmp_path, tmp_path / "c", "chexpert", ONE)
    assert cohort.labels(["Cardiomegaly", "Edema"]).tolist() == [[1, 0], [1, 0]]
    assert set(cohort.manifest.split) == {"test"}


def test_chexpert_without_tables_is_refused(tmp_path):
    write_png(tmp_path / "train" / "patient00001" / "study1" / "view1_frontal.jpg")
    with pytest.raises(InputMissing, match=r"table is missing.*train\.csv"):
        ingest_images(tmp_path, tmp_path / "c", "chexpert", ONE)


# BIMCV, PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv.gz: an unnamed first column, lists as Python prints them.
PADCHEST_HEADER = [
    "", "ImageID", "ImageDir", "StudyDate_DICOM", "StudyID", "PatientID", "PatientBirth", "PatientSex_DICOM",
    "ViewPosition_DICOM", "Projection", "MethodProjection", "Pediatric", "Modality_DICOM", "Manufacturer_DICOM",
    "PhotometricInterpretation_DICOM", "PixelRepresentation_DICOM", "PixelAspectRatio_DICOM",
    "SpatialResolution_DICOM", "BitsStored_DICOM", "WindowCenter_DICOM", "WindowWidth_DICOM", "Rows_DICOM",
    "Columns_DICOM", "XRayTubeCurrent_DICOM", "Exposure_DICOM", "ExposureInuAs_DICOM", "ExposureTime",
    "RelativeXRayExposure_DICOM", "ReportID", "Report", "MethodLabel", "Labels", "Localizations",
    "LabelsLocalizationsBySentence", "labelCUIS", "LocalizationsCUIS",
]  # fmt: skip
PADCHEST = [
    ("PA", "PA", "['normal']", (0, 0, 0)),
    ("L", "LATERAL", "['pleural effusion', ' cardiomegaly']", (1, 1, 0)),
    ("AP", "AP", "['Pleural Effusion ', 'atypical pneumonia']", (1, 0, 1)),
    ("AP_horizontal", "AP", "['loculated pleural effusion']", (1, 0, 0)),
    ("COSTAL", "UNKNOWN", "['hydropneumothorax']", (1, 0, 0)),
    ("UNK", "UNKNOWN", "['unchanged']", (None, None, None)),
    ("PA", "PA", "['cardiomegaly', 'unchanged']", (None, 1, None)),
    ("PA", "PA", "", (None, None, None)),
    ("EXCLUDE", None, "['exclude']", None),
]


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz"])
def test_padchest_projections_and_lists(tmp_path, suffix):
    rows, expected = [], {}
    for number, (projection, view, labels, truth) in enumerate(PADCHEST):
        name = f"2168401113666964012819207061112010307{number:05d}_02-026-007.png"
        picture = np.roll(create_sample_picture(bits=12), 5 * number, axis=1).astype(np.uint16)
        write_png(tmp_path / "in" / str(number % 3) / name, picture)
        cells = dict.fromkeys(PADCHEST_HEADER, "") | {
            "": number, "ImageID": name, "ImageDir": number % 3, "StudyID": f"2021{number}", "PatientID": 8395 + number,
            "PatientBirth": "1930.0", "PatientSex_DICOM": "M", "ViewPosition_DICOM": "POSTEROANTERIOR",
            "Projection": projection, "MethodProjection": "Manual review of DICOM fields", "Labels": labels,
        }  # fmt: skip
        rows.append([cells[column] for column in PADCHEST_HEADER])
        expected[number] = (view, truth)
    table = tmp_path / "in" / f"PADCHEST_chest_x_ray_images_labels_160K_01.02.19{suffix}"
    write_table(table, PADCHEST_HEADER, rows, gzip.open if suffix.endswith("gz") else open)
    cohort = ingest_images(tmp_path / "in", tmp_path / "c", "padchest", ONE)
    labels = cohort.labels(["Effusion", "Cardiomegaly", "Pneumonia"]).tolist()
    results = sorted(str((view, values)) for view, values in zip(cohort.manifest["view"], labels, strict=True))
    truths = [
        (view, [float("nan") if value is None else float(value) for value in values])
        for view, values in expected.values()
        if view
    ]
    assert results == sorted(map(str, truths))
    assert cohort.manifest.patient_id.nunique() == 8
    assert json.loads((cohort.path / "summary.json").read_text())["joins"]["INPUT"] == {"files_excluded_by_tables": 1}


# NIH Clinical Center: the table of 2017 has ages as 058Y and a comma after the header's last name; 2020's does not.
NIH_TABLES = {
    "Data_Entry_2017.csv": (
        "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
        "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],\n"
        "00000001_000.png,Cardiomegaly,000,1,058Y,M,PA,2682,2749,0.143,0.143\n"
        "00000001_001.png,Cardiomegaly|Emphysema,001,1,058Y,M,PA,2894,2729,0.143,0.143\n"
        "00000003_000.png,No Finding,000,3,081Y,F,AP,2500,2048,0.168,0.168\n"
        "00000004_000.png,Pleural_Thickening,000,4,411Y,F,PA,2500,2048,0.168,0.168\n"
    ),
    "Data_Entry_2017_v2020.csv": (
        "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Sex,View Position,"
        "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]\n"
        "00000001_000.png,Cardiomegaly,0,1,57,M,PA,2682,2749,0.143,0.143\n"
        "00000001_001.png,Cardiomegaly|Emphysema,1,1,58,M,PA,2894,2729,0.143,0.143\n"
        "00000003_000.png,No Finding,0,3,81,F,AP,2500,2048,0.168,0.168\n"
        "00000004_000.png,Pleural_Thickening,0,4,411,F,PA,2500,2048,0.168,0.168\n"
    ),
}


@pytest.mark.parametrize("table", NIH_TABLES)
def test_nih_tables_of_both_years(tmp_path, table):
    names = ["00000001_000.png", "00000001_001.png", "00000003_000.png", "00000004_000.png"]
    for number, name in enumerate(names):
        picture = Image.fromarray(shift_picture(number))
        path = tmp_path / "in" / f"images_{number % 2 + 1:03d}" / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        # Some 500 of the pictures have four equal channels.
        (picture.convert("RGBA") if number == 1 else picture).save(path)
    (tmp_path / "in" / table).write_text(NIH_TABLES[table])
    (tmp_path / "in" / "train_val_list.txt").write_text("\n".join(names[:2]))
    (tmp_path / "in" / "test_list.txt").write_text("\n".join(names[2:]))
    cohort = ingest_images(tmp_path / "in", tmp_path / "c", "nih", ONE)
    frame = cohort.manifest
    assert len(cohort.label_names) == 14
    assert frame.patient_id.nunique() == 3
    present = {row.Index: [name for name in cohort.label_names if frame[name][row.Index]] for row in frame.itertuples()}
    assert sorted(present.values()) == [[], ["Cardiomegaly"], ["Cardiomegaly", "Emphysema"], ["Pleural_Thickening"]]
    assert sorted(frame.sex) == ["F", "F", "M", "M"]
    assert sorted(frame["view"]) == ["AP", "PA", "PA", "PA"]
    assert frame.age.isna().sum() == 1
    assert (frame.split == "test").sum() == 2


MIMIC_LABELS = sorted(CHEXPERT_LABELS)


@pytest.mark.parametrize("depth", ["files/p10/", "p10/", ""])
@pytest.mark.parametrize("is_compressed", [True, False])
def test_mimic_compressed_tables(tmp_path, depth, is_compressed):
    """PhysioNet mimic-cxr-jpg 2.0.0; some browsers unpack the tables but keep the name."""
    patients = {10000032: [50414267, 53189527], 11000011: [51029426]}
    metadata, splits, chexpert, pictures = [], [], [], []
    for patient, studies in patients.items():
        for study in studies:
            chexpert.append([patient, study, *["1.0" if name == "Edema" else "" for name in MIMIC_LABELS]])
            for view in ("PA", "LATERAL"):
                name = f"02aa804e-bde0afdd-112c0b34-7bc16630-{len(pictures):08x}"
                pictures.append(f"{depth}p{patient}/s{study}/{name}.jpg")
                row = [name, patient, study, "CHEST (PA AND LAT)", view, 3056, 2544, 21800506, 213014.531, "", "", ""]
                metadata.append(row)
                splits.append([name, study, patient, "train" if patient == 10000032 else "validate"])
    columns = (
        "dicom_id,subject_id,study_id,PerformedProcedureStepDescription,ViewPosition,Rows,Columns,StudyDate,StudyTime,"
        "ProcedureCodeSequence_CodeMeaning,ViewCodeSequence_CodeMeaning,PatientOrientationCodeSequence_CodeMeaning"
    )
    tables = {
        "metadata": (columns.split(","), metadata),
        "split": (["dicom_id", "study_id", "subject_id", "split"], splits),
        "chexpert": (["subject_id", "study_id", *MIMIC_LABELS], chexpert),
    }
    write_pictures(tmp_path / "in", pictures)
    for name, (header, rows) in tables.items():
        opener = gzip.open if is_compressed else open
        write_table(tmp_path / "in" / f"mimic-cxr-2.0.0-{name}.csv.gz", header, rows, opener)
    frame = ingest_images(tmp_path / "in", tmp_path / "c", "mimic_cxr_jpg", ONE).manifest
    assert (len(frame), frame.patient_id.nunique(), frame.study_id.nunique()) == (6, 2, 3)
    assert sorted(frame.split) == ["train"] * 4 + ["val"] * 2
    assert sorted(frame["view"]) == ["LATERAL"] * 3 + ["PA"] * 3
    assert frame.Edema.tolist() == [1] * 6
    assert frame.Effusion.isna().all()


def test_jsrt_with_the_folds_of_scr(tmp_path):
    """JSRT's All247images beside SCR's scratch/fold1 and fold2; clavicles are no structures here."""
    density = np.rint(4095 * np.linspace(0, 1, 2048 * 2048).reshape(2048, 2048)).astype(">u2")
    for fold, name in (("fold1", "JPCLN001"), ("fold2", "JPCNN002")):
        path = tmp_path / "in" / "All247images" / f"{name}.IMG"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((density if fold == "fold1" else density[::-1]).tobytes())
        for structure in ("heart", "left clavicle", "left lung", "right clavicle", "right lung"):
            mask = np.zeros((1024, 1024), "u1")
            mask[300:700, 600:900] = 255
            write_png(tmp_path / "in" / "scratch" / fold / "masks" / structure / f"{name}.gif", mask)
    cohort = ingest_images(tmp_path / "in", tmp_path / "c", "jsrt", ONE)
    assert len(cohort) == 2
    assert set(cohort.structures) == {"heart", "left_lung", "right_lung"}
    assert cohort.manifest[["mask_heart", "mask_left_lung", "mask_right_lung"]].notna().to_numpy().all()
    assert sorted(cohort.manifest.nodule) == [0, 1]


def test_montgomery_and_shenzhen_folders(tmp_path):
    """NLM's archives: readings as text beside the pictures, a Thumbs.db among them; Shenzhen's are RGB."""
    montgomery, shenzhen = tmp_path / "MontgomerySet", tmp_path / "ChinaSet_AllFiles"
    write_png(montgomery / "CXR_png" / "MCUCXR_0104_1.png", shift_picture(1))
    for side in ("leftMask", "rightMask"):
        write_png(montgomery / "ManualMask" / side / "MCUCXR_0104_1.png", (EIGHT_BITS > 128).astype("u1") * 255)
    rgb = np.repeat(shift_picture(2)[..., None], 3, axis=2)
    write_png(shenzhen / "CXR_png" / "CHNCXR_0327_1.png", rgb)
    write_png(shenzhen / "mask" / "CHNCXR_0327_1_mask.png", (EIGHT_BITS > 128).astype("u1") * 255)
    for folder, name in ((montgomery, "MCUCXR_0104_1"), (shenzhen, "CHNCXR_0327_1")):
        (folder / "CXR_png" / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0")
        (folder / "ClinicalReadings").mkdir()
        (folder / "ClinicalReadings" / f"{name}.txt").write_text("Patient's Sex: F\nPatient's Age: 027Y\nnormal\n")
    for folder, name, structures in (
        (montgomery, "montgomery", {"left_lung", "right_lung"}),
        (shenzhen, "shenzhen", {"lungs"}),
    ):
        cohort = ingest_images(folder, tmp_path / name, name, ONE)
        assert cohort.labels(["tuberculosis"]).tolist() == [[1]]
        assert set(cohort.structures) == structures


def test_hannover_repository(tmp_path):
    """GitHub ml-workgroup/covid-19-image-repository: pictures in png/, data.csv with further columns."""
    header = [
        "patient_id",
        "image_id",
        "sex",
        "age",
        "size",
        "weight",
        "admission_offset",
        "modality",
        "projection",
        "crp_val",
    ]
    rows = [
        ["024e7871", "fff13f3a", "f", "", "", "", 0, "CR", "pa", 3.0],
        ["042f06a9", "b343e657", "m", "70.0", "", "", 0, "CR", "ap", 5.0],
        ["042f06a9", "00870a9c", "m", "70.0", "", "", 1, "CR", "lat", 5.0],
    ]
    write_pictures(tmp_path / "in" / "png", [f"{row[1]}.png" for row in rows])
    write_table(tmp_path / "in" / "data.csv", header, rows)
    frame = ingest_images(tmp_path / "in", tmp_path / "c", "hannover", ONE).manifest
    assert frame.patient_id.nunique() == 2
    assert sorted(zip(frame["view"], frame.sex, strict=True)) == [("AP", "M"), ("LATERAL", "M"), ("PA", "F")]


def test_genblock_subset(tmp_path):
    write_pictures(tmp_path / "in" / "images", ["16654_1_1.png", "b.jpg"])
    bits = np.where(EIGHT_BITS > 150, 1 | 4, 2).astype("u1")
    write_png(tmp_path / "in" / "masks_bits" / "16654_1_1.png", bits)
    rows = [["16654_1_1", "p1", "M", "60", "PA", "CC BY-SA"], ["b", "p2", "F", "", "AP", "CC BY-NC-SA"]]
    header = ["image", "patient_id", "sex", "age", "view", "licence"]
    write_table(tmp_path / "in" / "metadata.csv", header, rows)
    cohort = ingest_images(tmp_path / "in", tmp_path / "c", "genblock", ONE)
    assert set(cohort.structures) == {"left_lung", "right_lung", "cardiomediastinum"}
    assert cohort.manifest.mask_left_lung.notna().sum() == 1
    assert cohort.manifest.patient_id.nunique() == 2


def test_every_descriptor_has_a_layout_here():
    """The phantom's layout is the one that its own command writes; the template describes no data set."""
    text = "".join(path.read_text() for path in Path(__file__).parent.glob("test_published_*.py"))
    names = {path.stem for path in descriptor_folder().glob("*.yaml")} - {"phantom", "template"}
    assert not [name for name in names if f'"{name}"' not in text]
