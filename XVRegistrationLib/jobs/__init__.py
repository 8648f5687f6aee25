"""Long work as a whole: making a patient's model, with progress, checkpoints and a way to go on."""
