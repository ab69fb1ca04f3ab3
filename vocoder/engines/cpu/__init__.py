"""The native engine: C++, its interface, and what Python calls through it."""
