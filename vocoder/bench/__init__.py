"""Speed: of generation, of streams, of training, of data, of a service; each beside others where there are."""
