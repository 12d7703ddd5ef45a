"""Side-by-side measurements; ``docs/benchmarks.md`` says how to repeat them.

They measure and report. Nothing here judges a figure, and no test asserts one.
"""
