"""References, digests, manifests and platforms: pure values, standard library only."""
