"""Thin doors: names of gokart and of its family over the rooms of this house."""
