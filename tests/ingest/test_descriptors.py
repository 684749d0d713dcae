"""Every shipped descriptor on a small copy of its data set's real layout."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medprior.dicom.samples import sample_bytes, sample_dataset, sample_picture
from medprior.errors import ConfigError, InputMissing
from medprior.ingest import IngestSettings, ingest
from medprior.ingest.descriptor import descriptor, folder

ONE = IngestSettings(workers=1, store_size=96)
EIGHT = sample_picture(bits=8).astype("u1")
NAMES = sorted(path.stem for path in folder().glob("*.yaml"))


def png(path: Path, array=EIGHT):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def different(number):
    return np.roll(EIGHT, 3 * number, axis=1)


@pytest.mark.parametrize("name", NAMES)
def test_shipped_descriptors_fit_the_schema(name):
    described = descriptor(name)
    assert described.name == name
    assert described.licence
    assert described.homepage


def test_nih_official_layout(tmp_path):
    rows = [
        "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position"
    ]
    lists = {"train_val_list.txt": [], "test_list.txt": []}
    for number in range(12):
        patient = number // 2 + 1
        name = f"{patient:08d}_{number % 2:03d}.png"
        png(tmp_path / "images_001" / "images" / name, different(number))
        finding = ["No Finding", "Effusion|Mass", "Hernia"][number % 3]
        rows.append(f"{name},{finding},0,{patient},05{number % 10}Y,M,PA")
        lists["test_list.txt" if patient > 4 else "train_val_list.txt"].append(name)
    (tmp_path / "Data_Entry_2017.csv").write_text("\n".join(rows))
    for name, lines in lists.items():
        (tmp_path / name).write_text("\n".join(lines))
    cohort = ingest(tmp_path, tmp_path / "c", "nih", ONE)
    assert len(cohort.label_names) == 14
    assert len(set(cohort.patient_ids)) == 6
    assert cohort.labels(["Effusion"]).sum() == 4
    np.testing.assert_array_equal(cohort.labels(["Mass"]), cohort.labels(["Effusion"]))
    assert len(cohort.split("test")) == 4
    assert set(cohort.manifest.sex) == {"M"}
    assert cohort.manifest.age.between(50, 59).all()


def test_nih_without_its_table_says_what_is_missing(tmp_path):
    png(tmp_path / "images" / "00000001_000.png")
    with pytest.raises(InputMissing, match=r"Data_Entry_2017\.csv"):
        ingest(tmp_path, tmp_path / "c", "nih", ONE)


def test_shenzhen_official_layout(tmp_path):
    for number, sick in ((1, 0), (2, 0), (330, 1)):
        name = f"CHNCXR_{number:04d}_{sick}"
        png(tmp_path / "CXR_png" / f"{name}.png", different(number))
        png(tmp_path / "mask" / f"{name}_mask.png", ((EIGHT > 128) * 255).astype("u1"))
    cohort = ingest(tmp_path, tmp_path / "c", "shenzhen", ONE)
    assert sorted(cohort.labels(["tuberculosis"])[:, 0]) == [0, 0, 1]
    assert cohort.structures == ("lungs",)
    np.testing.assert_array_equal(cohort.mask(cohort.image_ids[0], "lungs"), EIGHT > 128)


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
            png(tmp_path / "png" / f"{name}.png", ((4095 - stored) // 16).astype("u1"))
        mask = np.zeros((1024, 1024), bool)
        mask[200:800, 550:900] = True
        for structure in (left, "heart"):
            png(tmp_path / "scratch" / structure / f"{name}.{suffix}", (mask * 255).astype("u1"))
    cohort = ingest(tmp_path, tmp_path / "c", "jsrt", ONE)
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


def test_bit_masks_and_parted_lungs(tmp_path):
    planes = np.zeros((96, 80), np.uint8)
    planes[20:60, 50:70] |= 1
    planes[20:70, 5:30] |= 2
    planes[50:80, 25:60] |= 4
    png(tmp_path / "images" / "1-s2.0-S09.x.png")
    png(tmp_path / "masks_bits" / "1-s2.0-S09.x.png", planes)
    (tmp_path / "metadata.csv").write_text(
        "image,filename,patient_id,sex,age,view\n1-s2.0-S09.x,f.jpg,7,F,93,PA\n"
    )
    cohort = ingest(tmp_path, tmp_path / "c", "genblock", ONE)
    (image,) = cohort.image_ids
    for bit, name in ((1, "left_lung"), (2, "right_lung"), (4, "cardiomediastinum")):
        np.testing.assert_array_equal(cohort.mask(image, name), (planes & bit) > 0)
    assert cohort.manifest.age.tolist() == [90.0]
    text = (folder() / "shenzhen.yaml").read_text()
    parted = tmp_path / "own.yaml"
    parted.write_text(text + "    split_components: [right_lung, left_lung]\n")
    png(tmp_path / "s" / "CHNCXR_0001_0.png")
    png(tmp_path / "s" / "CHNCXR_0001_0_mask.png", (((planes & 3) > 0) * 255).astype("u1"))
    both = ingest(tmp_path / "s", tmp_path / "d", str(parted), ONE)
    np.testing.assert_array_equal(both.mask(both.image_ids[0], "left_lung"), (planes & 1) > 0)
    np.testing.assert_array_equal(both.mask(both.image_ids[0], "right_lung"), (planes & 2) > 0)


def test_public_ids_are_the_same_under_every_key(tmp_path):
    png(tmp_path / "in" / "CHNCXR_0001_0.png")
    made = [
        ingest(tmp_path / "in", tmp_path / name, "shenzhen", ONE, key=tmp_path / f"k{name}")
        for name in "ab"
    ]
    assert made[0].image_ids == made[1].image_ids
    assert not (tmp_path / "ka").exists()


def test_two_data_sets_in_one_cohort(tmp_path):
    png(tmp_path / "s" / "CHNCXR_0001_0.png", different(1))
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "x").write_bytes(sample_bytes(sample_dataset(sample_picture())))
    key = tmp_path / "k"
    ingest(tmp_path / "s", tmp_path / "c", "shenzhen", ONE, key)
    cohort = ingest(tmp_path / "d", tmp_path / "c", None, ONE, key)
    assert set(cohort.manifest.dataset) == {"shenzhen", "files"}
    assert np.isnan(cohort.labels(["tuberculosis"])).sum() == 1


def test_wrong_descriptors_are_explained(tmp_path):
    own = tmp_path / "own.yaml"
    own.write_text("name: own\ntitle: t\nlicence: x\nimages:\n  - match: '[a-z]+('\ncolour: red\n")
    with pytest.raises(ConfigError) as caught:
        descriptor(str(own))
    assert "unknown key 'colour'" in str(caught.value)
    assert "images.0.match" in str(caught.value)
    with pytest.raises(InputMissing, match="nih"):
        descriptor("nosuch")
