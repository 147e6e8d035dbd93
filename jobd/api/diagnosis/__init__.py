"""What endangers jobs, in the server, its permissions and the fleet: tables of checks.

``jobd check`` and the dashboard use those of the server, ``jobctl doctor`` uses all.
"""
