"""Pictures of packing: results to scenes."""
