"""The durable store: messages, deliveries, ledger, wire log (one SQLite database) and content-addressed blobs."""
