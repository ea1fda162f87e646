"""GPUs as their data sheets print them, and torch used by one run at a time."""
