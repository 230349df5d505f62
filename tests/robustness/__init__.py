"""Whether the promises of the service survive faults: traffic, faults, and a checker of what was answered.

`make robustness` runs it; README.md says what it found.
"""
