"""The main job of the facility as a demonstration: gateway, cluster, workers, an analysis, clean-up."""
