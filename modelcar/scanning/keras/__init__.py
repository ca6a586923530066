"""What the configuration of a Keras model asks for, wherever it stands: in an archive, an HDF5 file, a JSON file."""
