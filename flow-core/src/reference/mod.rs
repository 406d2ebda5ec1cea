#![doc = include_str!("conventions.md")]
#![doc = include_str!("blocks.md")]
#![doc = include_str!("nets.md")]
#![doc = include_str!("arguments.md")]
