"""Are samples copies of training scans, or nearer to these than new patients are?"""
