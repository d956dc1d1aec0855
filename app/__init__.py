"""The Streamlit application around the engine: settings, storage, services and shared widgets."""
