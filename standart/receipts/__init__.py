"""Signed receipts: what is signed, how it is written, and how anybody checks it offline.

Pure: no database, no settings, no clock. Whoever holds a file and a public key needs no more.
"""
