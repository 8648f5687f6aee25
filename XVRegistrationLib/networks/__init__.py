"""Networks that predict the pose of an X-ray, and their checkpoints."""
