"""The picture of a traced full-size model: that of any traced step."""

from explainers.checkpointing.views.measure import scene

__all__ = ["scene"]
