"""One module per family of file formats; `base` has the table of them."""
