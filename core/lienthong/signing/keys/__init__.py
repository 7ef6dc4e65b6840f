"""Keys and what signers answer: files, tokens, remote services."""
