"""The machine: GPUs by their data sheets, and exclusive use of torch."""
