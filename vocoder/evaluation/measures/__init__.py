"""What is measured of a copy beside its recording, and of a recording by a model."""
