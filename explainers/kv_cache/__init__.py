"""The KV cache: what a decoder keeps of every token, counted from a config and measured in a real cache."""
