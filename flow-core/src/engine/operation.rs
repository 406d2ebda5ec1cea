//! A flow as one operation on dfdx's tape.

pub trait Joins {}
pub struct Joined;
