from medprior.demo.metrics_table import build_summary_table, format_metric_cell, format_text_table


def test_table_shows_numbers_and_leaves_out_what_is_not_there():
    record = {"value": 0.5, "ci95": [0.4, 0.6], "n": 9}
    metrics = {"attention.pixel_ap.heart": record, "prior.pixel_ap.heart": record}
    table = build_summary_table(metrics)
    assert table[0] == ["test split", "AP heart"]
    assert [line[0] for line in table[1:]] == ["SPAN", "static prior"]
    assert "0.500 [0.400, 0.600]" in format_text_table(table)
    assert format_metric_cell({"x": {"value": None, "ci95": [None, None], "n": 0}}, "x") == "-"
