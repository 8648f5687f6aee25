"""X-rays in DICOM files: what they show, and what they state of how they were taken."""
