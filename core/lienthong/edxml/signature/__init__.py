"""The signature of the envelope (XML-DSig): made by ``sealing``, judged by ``envelope``."""
