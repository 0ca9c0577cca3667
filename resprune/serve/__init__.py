"""An OpenAI-compatible chat endpoint for pictures, on Ray Serve."""
