"""Views of the results of flash attention: Result -> Scene or Plotly figure, one module for each experiment."""
