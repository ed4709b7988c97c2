"""How a scanner renders each tissue: measured on a scan, or drawn from what many scans are like."""
