"""What the page of the grid world adds to its chapters."""
