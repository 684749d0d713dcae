"""The evaluation report: `report.html`, its tables, verdicts and figures."""
