"""A payment API as it is usually written."""
