"""Pictures of the results of this topic, one module for each experiment."""
