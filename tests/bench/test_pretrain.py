"""The benchmark runs, prints a ratio for each comparison, and counts as torch does."""

import re

import pytest
import torch

from medprior.bench import pretrain

LINE = re.compile(r"^(.*): (\d+\.\d\d) \[(\d+\.\d\d), (\d+\.\d\d)\], memory (\d+\.\d\d)$")


@pytest.mark.slow
def test_every_comparison_is_printed(monkeypatch, capsys):
    monkeypatch.setattr(pretrain, "PAIRS", 1)
    monkeypatch.setattr(pretrain, "BENCH_BATCH_SIZE", 2)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    pretrain.main()
    lines = capsys.readouterr().out.strip().splitlines()[1:]
    shares = [re.fullmatch(r"step, (DINO|SPAN), share .* \[(\d\.\d\d), \d\.\d\d\]", line) for line in lines[-2:]]
    assert all(match and 0 < float(match[2]) < 1.2 for match in shares), lines
    matches = [LINE.match(line) for line in lines[:-2]]
    assert all(matches), lines
    assert len(matches) == 10
    assert all(float(m[2]) > 0 and float(m[5]) > 0 for m in matches)


def test_peak_memory_is_that_of_what_is_alive():
    def call():
        kept = torch.ones(1_000_000)
        for _ in range(3):
            torch.ones(500_000)
        return kept

    assert pretrain.measure_peak_bytes(call) == pytest.approx(6e6, rel=0.05)


def test_time_in_products_is_told_from_time_in_other_operators():
    matrix = torch.rand(400, 400)
    assert pretrain.measure_matmul_time_share(lambda: matrix @ matrix) > 0.5
    assert pretrain.measure_matmul_time_share(lambda: matrix.exp()) == 0
    queries = torch.rand(1, 2, 300, 16)
    attention = torch.nn.functional.scaled_dot_product_attention
    assert pretrain.measure_matmul_time_share(lambda: attention(queries, queries, queries)) > 0.5


def test_operations_are_those_of_products_forward_and_backward():
    left, right = torch.rand(4, 5, requires_grad=True), torch.rand(5, 6)
    assert pretrain.count_matmul_operations(lambda: left @ right) == 2 * 4 * 5 * 6
    assert pretrain.count_matmul_operations(lambda: (left @ right).sum().backward()) == 2 * (2 * 4 * 5 * 6)
