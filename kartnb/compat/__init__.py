"""Names of gokart and of its family over what kartnb has."""
