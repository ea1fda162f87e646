"""Pictures of gradient checkpointing: results to scenes."""
