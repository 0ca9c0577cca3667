"""The demo page: a thin Gradio front over :mod:`resprune`."""
