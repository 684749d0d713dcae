"""The segmentation bundle with the weights that ship, by the commands of its page, word for word."""

import re
import shlex
import shutil

import fire
import monai.bundle
import pytest
import torch
from PIL import Image

from medprior.deploy import load_model

from .conftest import BUNDLES

BUNDLE = BUNDLES / "chest_xray_segmentation"


def list_commands():
    """The commands for the anatomy model, in the order of the page; continued lines are joined."""
    page = (BUNDLE / "docs" / "README.md").read_text()
    (block,) = [text for text in page.split("```")[1::2] if "--dataset_dir radiographs" in text]
    return re.sub(r"\\\n\s*", " ", block).strip().splitlines()


def run_command(line):
    """What the shell would start, in this process."""
    _, option, *words = shlex.split(line)
    if option == "-c":
        exec(words[0], {})
    else:
        function, tokens = words[1], words[2:]
        fire.Fire(getattr(monai.bundle, function), command=tokens, name=function)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working folder of the page, with one real radiograph."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MEDPRIOR_MODEL", raising=False)
    (tmp_path / "bundles").symlink_to(BUNDLES)
    (tmp_path / "radiographs").mkdir()
    shutil.copy(BUNDLE / "docs" / "example.png", tmp_path / "radiographs")
    return tmp_path


def test_the_commands_of_the_page_predict_verify_and_export(folder):
    commands = list_commands()
    assert [re.search(r"monai\.bundle (\w+)|-c", line)[1] for line in commands] == [
        "run", "verify_net_in_out", None, "ckpt_export",
    ]  # fmt: skip
    for line in commands:
        run_command(line)
    written = {path.stem.split("_", 2)[2]: path for path in (folder / "predictions").glob("*.png")}
    assert set(written) == {"heart", "left_lung", "right_lung", "overlay"}
    with Image.open(BUNDLE / "docs" / "example.png") as picture, Image.open(written["heart"]) as heart:
        assert heart.size == picture.size
        assert 0.03 < sum(heart.convert("L").histogram()[128:]) / (heart.width * heart.height) < 0.3
    exported = torch.jit.load(str(folder / "model.ts")).eval()
    images = torch.rand(1, 1, 224, 224)
    with torch.inference_mode():
        torch.testing.assert_close(exported(images), load_model().models["segmentation"].network(images))
