"""Finding the pose of an X-ray: the bank of renders, similarity, refinement, and the registration made of them."""
