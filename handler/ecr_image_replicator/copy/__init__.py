"""The copy itself: what to copy, and moving it. It knows its ports only."""
