"""Models: SavedModels as they are configured, loaded, batched and run."""
