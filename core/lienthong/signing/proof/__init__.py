"""Proof of time and of revocation, and the levels that it lifts a signature to."""
