"""The sets of jobs: scheduled, retries, dead."""
