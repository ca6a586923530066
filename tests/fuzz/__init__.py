"""Coverage-guided fuzzing of every parser of the scanner: `make fuzz`. Whatever it finds is kept in `seeds/`."""
