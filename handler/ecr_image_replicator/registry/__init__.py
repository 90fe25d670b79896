"""The OCI distribution protocol: sessions, sign-in, and registries as source and destination."""
