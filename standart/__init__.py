"""Standart: a self-hosted payment-transaction service."""

__version__ = "0.1.0"
