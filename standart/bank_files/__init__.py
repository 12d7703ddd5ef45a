"""Files of banks and providers, read into records line by line.

Pure: a file and what the operator says of it go in, records or one error with the number of
its line come out. Nothing is kept in memory but the line at hand, and nothing is guessed.
"""
