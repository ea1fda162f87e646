"""What a reader does in a browser, done in Chromium."""
