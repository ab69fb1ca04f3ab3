"""Other projects' models and interfaces."""
