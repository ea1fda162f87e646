"""What a person sees: one short script a topic."""
