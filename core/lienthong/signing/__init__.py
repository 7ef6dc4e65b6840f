"""Signatures: keys (``pkcs12``), PAdES signing (``pades``), checking what others signed (``verify``, ``trust``)."""
