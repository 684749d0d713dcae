"""Every documented command exists: cheap ones run as they stand, the options of long ones are checked."""

import argparse
import ast
import http.server
import importlib
import json
import re
import shlex
import shutil
import subprocess
import threading
from functools import cache
from pathlib import Path

import fire
import monai.bundle
import pytest

import medprior
from medprior import cli
from medprior.settings import list_keys

ROOT = Path(medprior.__file__).parent.parent
DOCUMENTS = [
    path
    for pattern in ("*.md", "bundles/**/*.md", "docker/*.md", "medprior/**/*.md")
    for path in sorted(ROOT.glob(pattern))
    if path.name != "CHANGELOG.md"
]
if not (ROOT / "README.md").is_file():
    pytest.skip("an installed package has no repository around it", allow_module_level=True)
FENCED_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
CONTINUATION = re.compile(r"\\\n\s*|(?<=\|)\n\s*|\n {4,}(?=\[)")
PROGRAMS = ("medprior ", "python -m monai.bundle ", "python -m torch.distributed.run ", "make ", "docker ", "pip ",
            "mlflow ", "curl ", "export ", "printf ", "python -c ")  # fmt: skip
STANDING_PYTHON = {"cohort", "metrics", "phantom", "networks", "workers"}
"""Rooms whose example needs nothing but the package."""


def list_blocks(path, languages):
    return [text for language, text in FENCED_BLOCK.findall(path.read_text()) if language in languages]


def list_commands():
    """(document, command) of every line of every block without a language; continued lines are joined."""
    for path in DOCUMENTS:
        for block in list_blocks(path, {"", "bash"}):
            for line in CONTINUATION.sub(" ", block).splitlines():
                if line.startswith(PROGRAMS):
                    yield path.relative_to(ROOT).as_posix(), line


COMMANDS = list(dict.fromkeys(list_commands()))
BUNDLE_COMMANDS = [entry for entry in COMMANDS if "monai.bundle " in entry[1]]
STAGE_COMMANDS = [entry for entry in COMMANDS if entry[1].startswith("medprior ")]


def name_command(entry):
    return f"{entry[0]}: {entry[1][:60]}"


def test_commands_are_found_in_the_documents():
    assert len(STAGE_COMMANDS) > 25
    assert len(BUNDLE_COMMANDS) > 30
    assert {document for document, _ in COMMANDS} >= {"README.md", "bundles/README.md", "docker/README.md"}


def test_every_line_of_a_command_block_is_a_command_or_known_text():
    for path in DOCUMENTS:
        for block in list_blocks(path, {"bash"}):
            assert any(line.startswith(PROGRAMS) for line in block.splitlines()), path


@cache
def build_parser(stage):
    parser = argparse.ArgumentParser(prog=stage, exit_on_error=False)
    importlib.import_module(cli.STAGES[stage][0]).configure(parser)
    if stage not in cli.UNTRACKED_STAGES:
        for option in ("--tracking-uri", "--experiment", "--run-name"):
            parser.add_argument(option)
        for option in ("--log-pictures", "--no-tracking"):
            parser.add_argument(option, action="store_true")
    for action in parser._actions:
        action.type = None  # a placeholder such as N is no number
    return parser


def expand_usage(words):
    """What a user types: brackets away, the first of alternatives, no ellipsis."""
    text = re.sub(r"\s\|\s.*", "", words)  # `--cohort COHORT | --rollback`
    text = text.replace("[", " ").replace("]", " ").replace("...", " ")
    return [word.split("|")[0] if "=" not in word else word for word in shlex.split(text, comments=True)]


@cache
def list_setting_keys(stage):
    module, name = cli.SETTINGS_BY_STAGE[stage].split(":")
    return set(list_keys(getattr(importlib.import_module(module), name)))


def check_stage_command(stage, words):
    """SystemExit or AssertionError where a stage would refuse options, arguments or settings."""
    args = build_parser(stage).parse_args(words)
    for override in getattr(args, "set", None) or []:
        key = override.partition("=")[0]
        assert key.lower() == "key" or key in list_setting_keys(stage), key


@pytest.mark.parametrize("entry", STAGE_COMMANDS, ids=name_command)
def test_a_stage_takes_the_arguments_of_the_documents(entry):
    _, stage, *words = expand_usage(entry[1])
    assert stage in cli.STAGES
    check_stage_command(stage, words)


@cache
def list_bench_options():
    """Those of all rooms: each room parses its own."""
    sources = (ROOT / "medprior" / "bench").glob("*.py")
    return {option for path in sources for option in re.findall(r'"(--[a-z-]+)"', path.read_text())}


def list_inline_commands():
    for path in DOCUMENTS:
        text = FENCED_BLOCK.sub("", path.read_text())
        for command in re.findall(r"`(medprior [a-z][^`]*)`", text):
            yield path.relative_to(ROOT).as_posix(), " ".join(command.split())


@pytest.mark.parametrize("entry", sorted(set(list_inline_commands())), ids=name_command)
def test_commands_within_sentences_are_stages_and_their_options(entry):
    _, stage, *words = entry[1].split()
    if stage in {"settings", "stage"}:
        return
    assert stage in cli.STAGES, entry
    options = list_bench_options() if stage == "bench" else set(build_parser(stage)._option_string_actions)
    for word in words:
        option = re.match(r"\[?(--[a-z][a-z-]*)", word)
        assert option is None or option[1] in options, word


def find_bundle_tokens(command):
    """The function of `python -m monai.bundle` and its arguments, as the shell would give them."""
    words = shlex.split(command, comments=True)
    start = words.index("monai.bundle")
    return words[start + 1], words[start + 2 :]


def load_merged_config(value):
    paths = ast.literal_eval(value) if value.startswith("[") else [value]
    merged = {}
    for path in paths:
        assert (ROOT / path).is_file(), path
        merged |= json.loads((ROOT / path).read_text())
    return merged


@pytest.mark.parametrize("entry", BUNDLE_COMMANDS, ids=name_command)
def test_a_bundle_has_the_keys_of_the_documents(entry):
    function, tokens = find_bundle_tokens(entry[1])
    assert hasattr(monai.bundle, function)
    tokens = tokens[1:] if function == "ckpt_export" else tokens  # its network id
    given = dict(zip(tokens[::2], tokens[1::2], strict=True))
    for option in ("--meta_file",):
        assert option not in given or (ROOT / given[option]).is_file()
    if "--config_file" not in given:
        assert function == "verify_metadata"
        return
    config = load_merged_config(given["--config_file"])
    signature = {
        "config_file",
        "meta_file",
        "net_id",
        "filepath",
        "ckpt_file",
        "key_in_ckpt",
        "use_trace",
        "input_shape",
    }
    for option in given:
        branch = config
        for key in option.removeprefix("--").split("#"):
            if option.removeprefix("--") in signature:
                break
            assert isinstance(branch, dict)
            assert key in branch, f"{option} is no key of {given['--config_file']}"
            branch = branch[key]


VERIFICATIONS = sorted({command for _, command in BUNDLE_COMMANDS if " verify_metadata " in command})


@pytest.mark.parametrize("command", VERIFICATIONS, ids=lambda command: command.split("bundles/")[1].split("/")[0])
def test_metadata_is_verified_as_written_and_leaves_nothing_behind(command, tmp_path, monkeypatch):
    (tmp_path / "bundles").symlink_to(ROOT / "bundles")
    monkeypatch.chdir(tmp_path)
    function, tokens = find_bundle_tokens(command)
    fire.Fire(getattr(monai.bundle, function), command=tokens, name=function)
    assert [path.name for path in tmp_path.iterdir()] == ["bundles"]


def test_make_targets_and_container_files_exist():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    checked = 0
    for _, command in COMMANDS:
        words = shlex.split(command, comments=True)
        if words[0] == "make":
            assert words[1] in targets
            checked += 1
        if words[:2] == ["docker", "build"]:
            assert (ROOT / words[words.index("-f") + 1]).is_file()
            checked += 1
    assert checked >= 5


def test_mlflow_takes_the_options_of_the_documents():
    from mlflow.cli import cli as mlflow_cli

    commands = [command for _, command in COMMANDS if command.startswith("mlflow ")]
    assert commands
    for command in commands:
        words = shlex.split(command)[1:]
        group = mlflow_cli
        while words and not words[0].startswith("-"):
            group = group.commands[words.pop(0)]
        known = {option for parameter in group.params for option in parameter.opts}
        assert {word for word in words if word.startswith("-")} <= known


class JsonReceiver(http.server.BaseHTTPRequestHandler):
    """Keeps the JSON of a POST."""

    def do_POST(self):
        self.server.received = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *arguments):
        pass


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is missing")
def test_the_request_to_mlflow_holds_a_large_file(tmp_path):
    """A radiograph of 400 kB, longer than one argument of a command may be."""
    content = bytes(range(256)) * 1600
    (tmp_path / "one.dcm").write_bytes(content)
    (command,) = (text for _, text in COMMANDS if "/invocations" in text)
    with http.server.HTTPServer(("127.0.0.1", 0), JsonReceiver) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        command = command.replace("localhost:5055", f"127.0.0.1:{server.server_port}")
        done = subprocess.run(["bash", "-ec", command], cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        thread.join(60)
        ((record,),) = server.received.values()
    import base64

    assert base64.b64decode(record["dicom"]) == content


PYTHON_BLOCKS = [(path, block) for path in DOCUMENTS for block in list_blocks(path, {"python"}) if ">>>" not in block]


@pytest.mark.parametrize(("path", "block"), PYTHON_BLOCKS, ids=lambda value: getattr(value, "parent", Path()).name)
def test_python_of_the_documents_imports_what_there_is(path, block, tmp_path, monkeypatch):
    for node in ast.walk(ast.parse(block)):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                assert hasattr(importlib.import_module(node.module), alias.name), alias.name
    if path.parent.name in STANDING_PYTHON:
        monkeypatch.chdir(tmp_path)
        exec(compile(block, str(path), "exec"), {})
