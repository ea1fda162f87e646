"""Pictures of the KV cache: results to scenes."""
