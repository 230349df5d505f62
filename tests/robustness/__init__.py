"""Robustness: traffic during injected faults, and a checker of every answer.

`make robustness` runs it; README.md has the results.
"""
