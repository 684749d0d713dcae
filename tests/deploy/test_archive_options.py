"""Both commands that send results take the same options of the archive."""

import argparse

import pytest

from medprior.deploy import node_command, serve_command
from medprior.deploy.archive_options import read_archive
from medprior.deploy.node.destinations import DimseDestination, WebDestination
from medprior.errors import ConfigError, InputMissing


def parse(command, *arguments):
    parser = argparse.ArgumentParser()
    command.configure(parser)
    return parser.parse_args(arguments)


@pytest.mark.parametrize("command", [node_command, serve_command])
def test_the_archive_of_a_command_line(command, tmp_path):
    args = parse(command, "--send-to", "PACS@host:104", "--aet", "ME")
    assert read_archive(args) == DimseDestination("PACS", "host", 104, "ME", None)
    assert args.objects == "seg,sr"
    assert isinstance(read_archive(parse(command, "--send-to", "https://host/dicom-web")), WebDestination)
    with pytest.raises(ConfigError, match="--send-to"):
        read_archive(parse(command, "--send-to", "nowhere"))
    with pytest.raises(InputMissing, match="--send-tls-ca"):
        read_archive(parse(command, "--send-to", "PACS@host:104", "--send-tls-ca", str(tmp_path / "none")))


def test_the_node_needs_an_archive_and_the_service_does_not(capsys):
    assert parse(serve_command).send_to is None
    with pytest.raises(SystemExit):
        parse(node_command)
    assert "--send-to" in capsys.readouterr().err
