"""The evidence as a page: `report.html`, its tables, its verdicts and every figure."""
