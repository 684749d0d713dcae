"""Lists of packages with hashes: whole, at the versions of `constraints.txt`, and a swapped package is refused."""

import hashlib
import json
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
NAMES = ("build", "checkout", "training", "serving")
EXTRAS = {
    "checkout": ("cluster", "s3", "export", "postgres", "server", "text", "test", "lint", "release"),
    "training": ("cluster", "s3", "export", "postgres", "server"),
    "serving": (),
}
CUDA = re.compile("(nvidia|cuda)-.*|torch|torchvision|triton")


def read_lock(name: str) -> dict[str, tuple[str, set[str]]]:
    """Package -> its version and the SHA-256 digests of its files, of `docker/locks/NAME.lock`."""
    text = (ROOT / "docker" / "locks" / f"{name}.lock").read_text().replace("\\\n", " ")
    packages = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            requirement, *hashes = line.split(" --hash=sha256:")
            package, version = requirement.partition(";")[0].strip().split("==")
            packages[package] = (version, {digest.strip() for digest in hashes})
    return packages


@pytest.mark.parametrize("name", NAMES)
def test_every_package_has_hashes_and_the_version_of_the_constraints(name):
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {canonicalize_name(line.split("==")[0]): line.split("==")[1] for line in lines}
    packages = read_lock(name)
    assert packages
    for package, (version, hashes) in packages.items():
        assert version == pinned.get(package, version), package
        assert hashes, package
        assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in hashes), package
    assert {package for package in packages if package not in pinned} <= {"httpx2-jsfetch"}


@pytest.mark.parametrize("name", EXTRAS)
def test_a_list_holds_what_the_project_names(name):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = project["dependencies"] + [
        line for extra in EXTRAS[name] for line in project["optional-dependencies"][extra]
    ]
    requirements = [Requirement(line) for line in lines]
    wanted = {canonicalize_name(requirement.name): requirement.specifier for requirement in requirements}
    packages = read_lock(name)
    for package, specifier in wanted.items():
        if package == "medprior" or (name == "serving" and CUDA.fullmatch(package)):
            continue
        assert packages[package][0] in specifier, package
    assert name == "serving" or "torch" in packages


def test_the_service_has_no_cuda_and_no_test_tool_is_in_an_image():
    assert not [package for package in read_lock("serving") if CUDA.fullmatch(package)]
    for name in ("training", "serving"):
        assert not {"pytest", "ruff", "mypy", "uv", "selenium"} & read_lock(name).keys()


@pytest.mark.parametrize("name", NAMES)
def test_a_list_names_no_host(name):
    text = (ROOT / "docker" / "locks" / f"{name}.lock").read_text()
    assert not re.search(r"://|^\s*--(index|extra|find|trusted)", text, re.MULTILINE)


def make_wheel(folder: Path, package: str, version: str) -> str:
    """A wheel that is not the published one, under its name; its digest."""
    path = folder / f"{package}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        info = f"{package}-{version}.dist-info"
        wheel.writestr(f"{package}.py", "print('swapped')\n")
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def download(folder: Path, line: str) -> subprocess.CompletedProcess[str]:
    """Ask pip for one line of a list, from the files of a folder alone."""
    (folder / "list.txt").write_text(line + "\n")
    command = [sys.executable, "-m", "pip", "--isolated", "download", "-q", "--no-index", "--find-links", folder,
               "--require-hashes", "-r", folder / "list.txt", "-d", folder / "got"]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


def test_a_swapped_package_is_refused(tmp_path):
    version, hashes = read_lock("training")["tqdm"]
    swapped = make_wheel(tmp_path, "tqdm", version)
    line = f"tqdm=={version}" + "".join(f" --hash=sha256:{digest}" for digest in sorted(hashes))
    refused = download(tmp_path, line)
    assert refused.returncode != 0
    assert swapped in refused.stderr
    assert not list(tmp_path.glob("got/*.whl"))
    # The same file with its own digest is taken: what refused it was its digest.
    assert download(tmp_path, f"tqdm=={version} --hash=sha256:{swapped}").returncode == 0


@pytest.mark.parametrize("name", ["training", "serving"])
def test_the_bill_of_materials_lists_every_package_of_an_image_with_its_digests(name, tmp_path):
    pytest.importorskip("cyclonedx_py", reason="`pip install medprior[release]`")
    (recipe,) = re.findall(r"\$\(BIN\)/(cyclonedx-py requirements.*?) -o ", (ROOT / "Makefile").read_text(), re.DOTALL)
    words = recipe.replace("\\\n", " ").replace("$$image", name).split()
    out = tmp_path / "bom.json"
    subprocess.run([Path(sys.executable).parent / words[0], *words[1:], "-o", out], cwd=ROOT, check=True, timeout=300)
    bom = json.loads(out.read_text())
    assert (bom["bomFormat"], bom["metadata"]["component"]["name"]) == ("CycloneDX", "medprior")
    found = {
        item["name"]: (
            item["version"],
            {digest["content"] for place in item["externalReferences"] for digest in place["hashes"]},
        )
        for item in bom["components"]
    }
    assert found == read_lock(name)
