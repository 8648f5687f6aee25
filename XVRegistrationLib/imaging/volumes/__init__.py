"""Files to voxels in space: DICOM series and other formats, straight grids, Hounsfield units, densities."""
