"""Referrers: copying signatures, SBOMs and attestations, and verifying signatures."""
