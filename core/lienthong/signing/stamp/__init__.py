"""What a signature shows on the page (Decree 30/2020 Appendix I)."""
