"""What holds Lantern to its promises. `make test` runs everything; `make quick` the fast part."""
