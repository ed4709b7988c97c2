"""How near do reconstructions come to their own scans?"""
