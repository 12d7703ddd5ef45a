"""Documents that leave the house: statements as JSON, CSV, XLSX and PDF.

Pure: a document is made of values, never of a session or a request.
"""
