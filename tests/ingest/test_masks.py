import numpy as np
from PIL import Image

from medprior.dicom.decoding.samples import (
    create_sample_dataset,
    create_sample_picture,
    serialise_dataset,
)
from medprior.ingest import IngestSettings, ingest_images
from medprior.ingest.descriptor import descriptor_folder
from tests.ingest.radiograph_files import write_png

ONE_WORKER = IngestSettings(workers=1, store_size=96)


def test_masks_turn_with_their_picture(tmp_path):
    folder = tmp_path / "in"
    (folder / "dicom").mkdir(parents=True)
    (folder / "masks" / "a").mkdir(parents=True)
    picture = create_sample_picture()
    data = serialise_dataset(create_sample_dataset(picture, PatientOrientation=["R", "F"]))
    (folder / "dicom" / "a.dcm").write_bytes(data)
    mask = picture > 3000
    Image.fromarray(mask).save(folder / "masks" / "a" / "heart.png")
    Image.fromarray(mask[:40]).save(folder / "masks" / "a" / "left_lung.png")
    (folder / "labels.csv").write_text("image,patient_id,effusion,mass\ndicom/a.dcm,p,1,\n")
    cohort = ingest_images(folder, tmp_path / "c", "phantom", IngestSettings(workers=1))
    (image_id,) = cohort.image_ids
    np.testing.assert_array_equal(cohort.mask(image_id, "heart"), np.fliplr(mask))
    assert cohort.mask(image_id, "left_lung") is None
    assert "mask_unusable" in cohort.manifest["flags"].iloc[0]
    np.testing.assert_array_equal(cohort.labels(), [[1, np.nan]])


def test_bit_masks_and_parted_lungs(tmp_path):
    planes = np.zeros((96, 80), np.uint8)
    planes[20:60, 50:70] |= 1
    planes[20:70, 5:30] |= 2
    planes[50:80, 25:60] |= 4
    write_png(tmp_path / "images" / "1-s2.0-S09.x.png")
    write_png(tmp_path / "masks_bits" / "1-s2.0-S09.x.png", planes)
    (tmp_path / "metadata.csv").write_text("image,filename,patient_id,sex,age,view\n1-s2.0-S09.x,f.jpg,7,F,93,PA\n")
    cohort = ingest_images(tmp_path, tmp_path / "c", "genblock", ONE_WORKER)
    (image,) = cohort.image_ids
    for bit, name in ((1, "left_lung"), (2, "right_lung"), (4, "cardiomediastinum")):
        np.testing.assert_array_equal(cohort.mask(image, name), (planes & bit) > 0)
    assert cohort.manifest.age.tolist() == [90.0]
    text = (descriptor_folder() / "shenzhen.yaml").read_text()
    parted = tmp_path / "own.yaml"
    parted.write_text(text + "    split_components: [right_lung, left_lung]\n")
    write_png(tmp_path / "s" / "CHNCXR_0001_0.png")
    write_png(tmp_path / "s" / "CHNCXR_0001_0_mask.png", (((planes & 3) > 0) * 255).astype("u1"))
    both = ingest_images(tmp_path / "s", tmp_path / "d", str(parted), ONE_WORKER)
    np.testing.assert_array_equal(both.mask(both.image_ids[0], "left_lung"), (planes & 1) > 0)
    np.testing.assert_array_equal(both.mask(both.image_ids[0], "right_lung"), (planes & 2) > 0)
