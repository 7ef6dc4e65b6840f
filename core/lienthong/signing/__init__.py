"""Signatures: made (``pades``, ``cms``, with ``keys`` and ``stamp``), proven (``proof``), judged (``verification``)."""
