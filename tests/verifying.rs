//! The verifier is verified: clean runs have no finding, whatever becomes of the workers, and what is wrong with readers is
//! named. What can be wrong with a log is in `anomalies`.
//!
//! One finding is missing in both: no Kafka makes an assigned reader's position go back. `went_back` is there to find a
//! fault of the reader itself, and the judge's own tests have it.
