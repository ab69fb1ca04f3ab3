"""The measures of a copy beside its recording, and of a recording by a model."""
