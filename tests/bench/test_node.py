"""The load of the node: small here, whole where it is asked for."""

import re

import pytest

from medprior.bench.node import main, parse_node_options


def test_options():
    assert parse_node_options([]) == {"images": 1000, "associations": 8, "hostile": 300}
    assert parse_node_options(["--images", "5", "--hostile", "0"]) == {"images": 5, "associations": 8, "hostile": 0}


@pytest.mark.slow
def test_the_load_is_borne(capsys):
    main(images=200, associations=8, hostile=100)
    report = capsys.readouterr().out
    print(report)
    assert "lost 0, twice 0; node alive" in report
    assert int(re.search(r"growth (-?\d+) MiB", report).group(1)) < 50
