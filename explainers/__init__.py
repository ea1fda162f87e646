"""What is computed: one package a topic. Nothing here knows a screen or imports Streamlit."""
