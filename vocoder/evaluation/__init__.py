"""How good a model is: copy synthesis of held-out speech, measured beside others, heard, and seen."""
