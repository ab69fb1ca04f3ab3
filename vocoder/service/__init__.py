"""Synthesis over HTTP and WebSockets: `vocoder serve`, with the extra of the same name."""
