"""Requests: a resource's properties and the function's settings, parsed into frozen values."""
