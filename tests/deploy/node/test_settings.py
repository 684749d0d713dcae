"""Titles and addresses of the node."""

import pytest

from medprior.deploy.node.settings import NodeSettings, is_ae_title
from medprior.errors import ConfigError


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("A", True), ("A" * 16, True), ("A" * 17, False), ("", False), ("STORE SCU", True), (" A", False),
        ("A ", False), ("A\\B", False), ("A\tB", False), ("Ä", False), ("a-b_1.2", True),
    ],
)  # fmt: skip
def test_a_title_has_1_to_16_printable_characters(title, expected):
    assert is_ae_title(title) is expected


def test_titles_of_the_node_and_of_callers_are_checked():
    settings = NodeSettings.from_values({"aet": "NODE", "known": ["A", "B"]})
    assert (settings.aet, settings.known) == ("NODE", ("A", "B"))
    for values in ({"aet": "A\\B"}, {"known": ["A", ""]}, {"known": ["A" * 17]}):
        with pytest.raises(ConfigError, match="an AE title has 1 to 16"):
            NodeSettings.from_values(values)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("0.0.0.0", False),
        ("192.168.0.7", False), ("::", False), ("pacs.example", False),
    ],
)  # fmt: skip
def test_only_this_machine_reaches_a_loopback_address(host, expected):
    assert NodeSettings.from_values({"host": host}).is_loopback is expected


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [("port", 0, 65535), ("http_port", 0, 65535), ("max_associations", 1, 256), ("workers", 1, 64)],
)
def test_limits_of_numbers(name, least, most):
    assert getattr(NodeSettings.from_values({name: least}), name) == least
    assert getattr(NodeSettings.from_values({name: most}), name) == most
    for value in (least - 1, most + 1):
        with pytest.raises(ConfigError, match=name):
            NodeSettings.from_values({name: value})


@pytest.mark.parametrize("name", ["max_mb", "waiting", "attempts"])
def test_counts_are_at_least_one(name):
    assert getattr(NodeSettings.from_values({name: 1}), name) == 1
    with pytest.raises(ConfigError, match=name):
        NodeSettings.from_values({name: 0})


@pytest.mark.parametrize("name", ["message_seconds", "first_wait_seconds", "longest_wait_seconds"])
def test_waits_are_not_nothing(name):
    with pytest.raises(ConfigError, match=name):
        NodeSettings.from_values({name: 0})


def test_defaults_suit_a_small_machine():
    settings = NodeSettings()
    assert (settings.max_associations, settings.max_mb, settings.message_seconds) == (16, 128, 30.0)
    assert (settings.waiting, settings.min_free_mb, settings.workers, settings.attempts) == (10_000, 512, 2, 3)
    assert (settings.first_wait_seconds, settings.longest_wait_seconds) == (1.0, 60.0)
    assert (settings.aet, settings.port, settings.http_port, settings.objects) == (
        "MEDPRIOR", 11112, 11113, ("seg", "sr"),
    )  # fmt: skip
    assert settings.is_loopback
    assert not settings.refuse_unfamiliar
