"""What differs between two recorded results."""
