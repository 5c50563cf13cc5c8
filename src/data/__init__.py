"""From data sets to batches: readers -> Record -> transforms -> Batch."""
