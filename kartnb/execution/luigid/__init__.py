"""Builds that luigi's central scheduler gives out."""
