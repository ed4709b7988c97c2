"""Quality reports: a synthetic set beside real scans, section by section, as JSON and as one offline page."""
