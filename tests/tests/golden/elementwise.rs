//! Maps of one number.
