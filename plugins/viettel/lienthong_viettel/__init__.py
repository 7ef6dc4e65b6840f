"""Viettel's products: ``mysign`` is its remote signing service."""
