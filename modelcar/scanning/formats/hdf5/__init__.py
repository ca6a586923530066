"""HDF5 as Keras and most others write it: every structure read strictly, so that every byte can be accounted for."""
