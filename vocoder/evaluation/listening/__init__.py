"""Blind listening tests: the page, the answers that it gives, what they say."""
