"""Do synthetic scans look like real ones?"""
