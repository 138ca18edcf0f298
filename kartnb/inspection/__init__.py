"""Questions about results: their logs, outputs, reasons and differences."""
