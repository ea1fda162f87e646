"""What the results of this topic look like: Result -> Scene or Plotly figure, one module an experiment."""
