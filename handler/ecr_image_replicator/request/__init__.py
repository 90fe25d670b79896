"""Requests: the properties of a resource and the settings of the function, parsed."""
