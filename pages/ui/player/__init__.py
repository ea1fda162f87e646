"""The player on a Streamlit page."""
