"""Rules for what stands in `docker/`: pinned, without secrets, not root, watched."""

import os
import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
import yaml

DOCKER = Path(__file__).parents[2] / "docker"
DOCKERFILES = sorted(DOCKER.glob("*Dockerfile"))
COMPOSE = yaml.safe_load((DOCKER / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
PINNED = re.compile(r"[\w./-]+:[\w.-]*\d[\w.-]*(@sha256:[0-9a-f]{64})?")
SECRET = re.compile(r"(password|secret|token|key)[\w-]*\s*[:=]\s*\S", re.IGNORECASE)


def instructions(path: Path) -> list[tuple[str, str]]:
    """(instruction, arguments) with continued lines joined and comments left out."""
    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    pairs = [line.split(None, 1) for line in joined.splitlines() if line.strip()]
    return [(first.upper(), rest) for first, rest in pairs]


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_dockerfile(path):
    steps = instructions(path)
    bases = [rest for name, rest in steps if name == "FROM"]
    assert bases
    assert all(PINNED.fullmatch(base.split()[0]) for base in bases), bases
    names = [name for name, _ in steps]
    assert "ADD" not in names
    known = "FROM ENV WORKDIR COPY RUN USER EXPOSE HEALTHCHECK ENTRYPOINT CMD"
    assert set(names) <= set(known.split())
    (user,) = [rest for name, rest in steps if name == "USER"]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user), "a number, so that runAsNonRoot can check it"
    assert names.index("USER") > max(i for i, name in enumerate(names) if name in {"RUN", "COPY"})
    for name, rest in steps:
        if name == "RUN":
            assert not re.search(r"\b(sudo|curl|wget|apt-get upgrade)\b|pip install [^&]*://", rest)
            installs = re.findall(r"pip install ([^&]*)", rest)
            assert all("--require-hashes" in install or "--no-deps" in install for install in installs), installs
        if name in {"ENTRYPOINT", "CMD"}:
            assert rest.startswith("["), "the exec form, so that signals arrive"
        if name in {"ENV", "COPY"}:
            assert not SECRET.search(rest), rest
        if name == "COPY" and "--from" not in rest:
            for source in rest.split()[:-1]:
                assert (DOCKER.parent / source).exists(), source


def test_the_serving_image_is_watched_and_brings_its_weights():
    steps = instructions(DOCKER / "serving.Dockerfile")
    names = [name for name, _ in steps]
    assert "HEALTHCHECK" in names
    (check,) = [rest for name, rest in steps if name == "HEALTHCHECK"]
    assert "/health" in check
    copied = [rest for name, rest in steps if name == "COPY" and "model.safetensors" in rest]
    assert copied
    (command,) = [rest for name, rest in steps if name == "CMD"]
    assert "--token-file" in command
    assert "models:/" not in command, "no registry at start"


def test_services_are_pinned_and_hardened():
    assert set(SERVICES) == {"database", "artifacts", "owner", "mlflow", "serving"}
    for name, service in SERVICES.items():
        assert PINNED.fullmatch(service["image"]), name
        assert not service["image"].endswith("latest")
        assert not service.get("privileged")
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), f"{name} opens {port} to the network"
        if name != "owner":
            assert "no-new-privileges:true" in service["security_opt"]
            assert service["healthcheck"]["test"][0] in {"CMD", "CMD-SHELL"}
            assert service["restart"] == "unless-stopped"
    for name in ("artifacts", "mlflow", "serving"):
        assert SERVICES[name]["read_only"] is True
        assert SERVICES[name]["cap_drop"] == ["ALL"]
    assert COMPOSE["networks"]["inside"] == {"internal": True}
    for name in ("database", "artifacts"):
        assert SERVICES[name]["networks"] == ["inside"]


def test_a_taken_over_service_reaches_no_store_and_has_bounded_processes_and_memory():
    networks = {name: set(service.get("networks", [])) for name, service in SERVICES.items()}
    assert not networks["serving"] & (networks["database"] | networks["artifacts"])
    assert networks["serving"] & networks["mlflow"] == {"models"}
    assert COMPOSE["networks"]["models"] == {"internal": True}
    secrets = set(SERVICES["serving"]["secrets"])
    assert secrets == {"service_token", "mlflow_reader_password"}
    assert "--app-name basic-auth" in (DOCKER / "mlflow_server.sh").read_text()
    for service in SERVICES.values():
        assert 0 < service["pids_limit"] <= 512
        assert re.fullmatch(r"[1-9]\d*[mg]", service["mem_limit"])


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_dependencies_are_installed_before_the_code_is_copied(path):
    steps = instructions(path)
    first_install = next(i for i, (name, rest) in enumerate(steps) if name == "RUN" and "pip install" in rest)
    assert first_install < steps.index(("COPY", "medprior ./medprior"))
    lists = re.findall(r"--require-hashes [^&]*-r (\S+)", steps[first_install][1])
    image = "serving" if path.name.startswith("serving") else "training"
    assert lists == ["locks/build.lock", f"locks/{image}.lock"]


def test_the_service_has_no_cuda_and_a_build_gets_no_secret():
    pinned = (DOCKER.parent / "constraints.txt").read_text().splitlines()
    installed = re.findall(r"(torch\w*)==([\d.]+)\+cpu", (DOCKER / "serving.Dockerfile").read_text())
    assert [name for name, _ in installed] == ["torch", "torchvision"]
    assert {f"{name}=={version}" for name, version in installed} <= set(pinned)
    settings = " ".join(rest for name, rest in instructions(DOCKER / "serving.Dockerfile") if name == "ENV")
    assert "PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu" in settings
    lines = [line for line in (DOCKER.parent / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert lines[0] == "*"
    allowed = {line[1:] for line in lines if line.startswith("!")}
    sources = {
        source
        for path in DOCKERFILES
        for name, rest in instructions(path)
        if name == "COPY" and "--from" not in rest
        for source in rest.split()[:-1]
    }
    assert allowed == sources


def test_services_wait_for_what_they_need():
    for service in SERVICES.values():
        for other, how in service.get("depends_on", {}).items():
            watched = how["condition"] == "service_healthy"
            assert ("healthcheck" in SERVICES[other]) == watched
    assert "mlflow" in SERVICES["serving"]["depends_on"]
    command = SERVICES["serving"]["command"]
    assert command[command.index("--model") + 1].endswith("@champion")
    assert command[command.index("--token-file") + 1] == "/run/secrets/service_token"


def test_serving_s_command_is_one_of_ours():
    import argparse

    from medprior.deploy import serve_command

    parser = argparse.ArgumentParser(exit_on_error=False)
    serve_command.configure(parser)
    stage, *command = SERVICES["serving"]["command"]
    assert stage == "serve"
    assert parser.parse_args(command).host == "0.0.0.0"
    steps = dict(instructions(DOCKER / "serving.Dockerfile"))
    assert parser.parse_args(yaml.safe_load(steps["CMD"])).model == "/model"


def test_secrets_are_files_and_are_not_in_git(tmp_path):
    for name, secret in COMPOSE["secrets"].items():
        assert secret == {"file": f"secrets/{name}"}
    for name, service in SERVICES.items():
        for key, value in service.get("environment", {}).items():
            assert not re.search("PASSWORD|SECRET|TOKEN|KEY", key) or key.endswith("_FILE"), name
            assert "@" not in str(value)
        assert set(service.get("secrets", [])) <= COMPOSE["secrets"].keys()
    assert (DOCKER / ".gitignore").read_text().split() == ["secrets/"]
    copy = shutil.copytree(DOCKER, tmp_path / "docker")
    shutil.rmtree(copy / "secrets", ignore_errors=True)
    for _ in range(2):  # a second run keeps what is there
        subprocess.run([str(copy / "secrets.sh")], check=True, capture_output=True, timeout=300)
        made = {path.name: path.read_text() for path in (copy / "secrets").iterdir()}
        assert made.keys() == COMPOSE["secrets"].keys()
        assert all(re.fullmatch("[0-9a-f]{48}", text) for text in made.values())
        assert len(set(made.values())) == len(made)
    assert stat.S_IMODE((copy / "secrets").stat().st_mode) == 0o700


@pytest.mark.parametrize("name", ["mlflow_server.sh", "pin_images.sh", "secrets.sh"])
def test_scripts_are_sound(name):
    path = DOCKER / name
    assert os.access(path, os.X_OK)
    subprocess.run(["sh", "-n", str(path)], check=True, timeout=300)
    assert "set -eu" in path.read_text()


FAKE_DOCKER = """#!/bin/sh
for image; do :; done
case "$image" in
    busybox*) echo "$BUSYBOX" ;;
    *) printf "sha256:%s\\n" "$(printf %s "$image" | sha256sum | cut -d" " -f1)" ;;
esac
"""


def test_a_release_is_refused_until_every_image_has_its_digest(tmp_path):
    copy = shutil.copytree(DOCKER, tmp_path / "docker", ignore=shutil.ignore_patterns("secrets", "locks"))
    shutil.copyfile(DOCKER.parent / "Makefile", tmp_path / "Makefile")
    (tmp_path / "docker.bin").mkdir()
    fake = tmp_path / "docker.bin" / "docker"  # stands for Docker on a machine that reaches the registries
    fake.write_text(FAKE_DOCKER)
    fake.chmod(0o755)

    def run(*command: str, busybox: str = "sha256:" + "b" * 64) -> subprocess.CompletedProcess[str]:
        path = f"{fake.parent}{os.pathsep}{os.environ['PATH']}"
        environment = {**os.environ, "PATH": path, "BUSYBOX": busybox}
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    images = {service["image"] for service in SERVICES.values()} - {"medprior:0.1.0"}
    refused = run("make", "digests")
    assert refused.returncode != 0
    assert all(image in refused.stdout for image in images)
    broken = run("docker/pin_images.sh", busybox="unauthorized")
    assert broken.returncode != 0
    assert "no digest of busybox" in broken.stderr
    assert run("docker/pin_images.sh").returncode == 0
    assert run("make", "digests").returncode == 0
    pinned = yaml.safe_load((copy / "compose.yaml").read_text())["services"]
    assert {service["image"].partition("@")[0] for service in pinned.values()} == images | {"medprior:0.1.0"}
    bases = [rest for path in copy.glob("*Dockerfile") for name, rest in instructions(path) if name == "FROM"]
    for image in [*bases, *(service["image"] for service in pinned.values())]:
        assert PINNED.fullmatch(image), image
    before = (copy / "compose.yaml").read_text()
    assert run("docker/pin_images.sh").returncode == 0
    assert (copy / "compose.yaml").read_text() == before


def test_compose_itself_accepts_the_file(tmp_path):
    docker = shutil.which("docker")
    if not docker or subprocess.run([docker, "compose", "version"], capture_output=True, timeout=300).returncode:
        pytest.skip("no `docker compose` here")
    copy = shutil.copytree(DOCKER, tmp_path / "docker")
    subprocess.run([str(copy / "secrets.sh")], check=True, capture_output=True, timeout=300)
    command = [docker, "compose", "-f", str(copy / "compose.yaml"), "config", "--quiet"]
    subprocess.run(command, check=True, timeout=300)


def test_the_service_takes_its_password_from_a_file_and_passes_its_command_on(tmp_path):
    words = [
        word.replace("$$", "$").replace("/run/secrets", str(tmp_path)) for word in SERVICES["serving"]["entrypoint"]
    ]
    (tmp_path / "mlflow_reader_password").write_text("of-the-reader\n")
    (tmp_path / "medprior").write_text('#!/bin/sh\nprintf "%s\\n" "$MLFLOW_TRACKING_PASSWORD" "$@"\n')
    (tmp_path / "medprior").chmod(0o700)
    environment = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    command = [*words, "serve", "--name", "two words"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout.splitlines() == ["of-the-reader", "serve", "--name", "two words"]
