"""Do labels fit the scans, and does training on them pay?"""
