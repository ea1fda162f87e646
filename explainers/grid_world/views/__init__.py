"""Pictures of the results of this topic: one module an experiment."""
