"""Evidence about one rollout: a folder that anybody can judge offline with the fleet's root of trust alone."""
