"""What single topics add to their pages beyond chapters as data."""
