"""The quality of a model: copy synthesis of held-out speech, measured beside others, heard, and seen."""
