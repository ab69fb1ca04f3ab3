"""Models as folders: a config, weights, a card; from a disk, the package or the Hugging Face Hub."""
