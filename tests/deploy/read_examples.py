"""What the reading page says of ten real radiographs and ten odd files, as a Markdown table.

    python -m tests.deploy.read_examples DATA [--screenshots FOLDER]

The radiographs are the first by name of each source in DATA: two of wingspan, kermany, shenzhen and nih, one of
genblock and hannover. The page is that of `medprior serve` with the anatomy model, in Chromium. The odd files are made
of the first radiograph, of matplotlib's sample photograph and of a phantom's DICOM file.
"""

import argparse
import io
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np
import pydicom
from matplotlib import cbook
from PIL import Image

from medprior.deploy.inference.example import create_example_dicom
from medprior.resources import find_anatomy_model
from tests.chromium import chromium
from tests.deploy.serving import run_service

SOURCES = {"wingspan": 2, "kermany": 2, "shenzhen": 2, "nih": 2, "genblock": 1, "hannover": 1}
PATIENCE_SECONDS = 120


def list_radiographs(data):
    """Title -> path of the real radiographs."""
    return {
        f"{source}, {path.name}": path
        for source, count in SOURCES.items()
        for path in sorted((data / source / "images").iterdir())[:count]
    }


def make_odd_files(folder, radiograph):
    """Title -> path of the odd files, written to a folder."""
    with Image.open(radiograph) as image:
        grey = image.convert("L")
    with cbook.get_sample_data("grace_hopper.jpg") as file:
        photograph = file.read()
    dicom = create_example_dicom(seed=1001, side=512)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as bundle:
        bundle.write(radiograph, "chest.png")
    noise = np.random.default_rng(0).integers(0, 256, (512, 512)).astype(np.uint8)
    contents = {
        "a letter.dcm": b"Dear colleague, please find the radiograph attached.\n",
        "a zip archive.zip": archive.getvalue(),
        "a DICOM file cut in half.dcm": dicom[: len(dicom) // 2],
        "a DICOM file of a hand.dcm": change_dicom(dicom, BodyPartExamined="HAND"),
        "a lateral DICOM file.dcm": change_dicom(dicom, ViewPosition="LL"),
        "a picture of 32 x 32 pixels.png": encode_png(grey.resize((32, 32))),
        "a colour photograph.jpg": photograph,
        "noise.png": encode_png(Image.fromarray(noise)),
        "the first radiograph turned by 90 degrees.png": encode_png(grey.transpose(Image.Transpose.ROTATE_90)),
        "the first radiograph inverted.png": encode_png(Image.eval(grey, lambda level: 255 - level)),
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return {Path(name).stem: folder / name for name in contents}


def encode_png(image):
    """The bytes of a PNG file."""
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def change_dicom(data, **values):
    """A DICOM file with other attributes."""
    dataset = pydicom.dcmread(io.BytesIO(data))
    for name, value in values.items():
        setattr(dataset, name, value)
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def read_on_page(browser, path):
    """Hand a file to the page; what it says: outcome, heart size, and what to beware of."""
    visible = [
        item for item in browser.find_elements("css selector", "input[type=file]") if is_reachable(browser, item)
    ]
    browser.execute_script("document.getElementById('status').textContent = 'waiting'")
    visible[0].send_keys(str(path))
    end = time.monotonic() + PATIENCE_SECONDS
    while text(browser, "status") in {"waiting", "Reading …"}:
        assert time.monotonic() < end, path
        time.sleep(0.05)
    if browser.find_element("id", "refusal").is_displayed():
        return "not read", "", text(browser, "refusal-text")
    flags = [item.text for item in browser.find_elements("css selector", "#flags li")]
    banner = ["**unlike the training images: do not rely on it**"]
    warnings = banner if browser.find_element("id", "unfamiliar").is_displayed() else []
    ratio = text(browser, "ratio").split(" ")[0].replace("Not", "not measured")
    return "read", ratio, "; ".join(warnings + flags)


def is_reachable(browser, item):
    """Whether a file input belongs to what is shown now."""
    return browser.execute_script("return arguments[0].parentElement.offsetParent !== null", item)


def text(browser, name):
    """The text of an element."""
    return browser.find_element("id", name).text


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--screenshots", type=Path)
    args = parser.parse_args()
    radiographs = list_radiographs(args.data)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        files = radiographs | make_odd_files(folder, next(iter(radiographs.values())))
        with (
            run_service(find_anatomy_model(), None, folder / "log") as (url, _),
            chromium(1280, 720) as browser,
        ):
            browser.get(url)
            print("| file | outcome | heart over chest | what the page says to beware of |\n|---|---|---|---|")
            for number, (title, path) in enumerate(files.items()):
                print("| " + " | ".join((title, *read_on_page(browser, path))) + " |", flush=True)
                if args.screenshots:
                    time.sleep(1)
                    browser.save_screenshot(str(args.screenshots / f"read_{number:02d}.png"))


if __name__ == "__main__":
    main()
