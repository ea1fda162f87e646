"""What the pages share: the only code beside the pages that knows Streamlit."""
