"""Learning a patient from synthetic X-rays made on the fly."""
