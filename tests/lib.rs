//! Nothing: the tests are in `it/`, one program, so that everything is linked once.
