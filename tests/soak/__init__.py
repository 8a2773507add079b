"""The soak: kills, faults, hostile files and two processes at once, for as long as one likes.

`scripts/soak.sh` runs it; docs/reliability.md says what it shows.
"""
