"""Running experiments for a page: cache, background, long runs, subprocess, warm-up."""
