from tests.report.conftest import browser, drawn

__all__ = ["browser", "drawn"]
