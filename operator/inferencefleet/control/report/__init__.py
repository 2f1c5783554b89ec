"""Report: status documents, conditions and Events from a plan; written only when something that matters changed."""

from inferencefleet.control.report.reporter import Reporter

__all__ = ["Reporter"]
