"""From a trained model and a mel to a waveform; needs torch, NumPy and safetensors, and nothing of training."""
