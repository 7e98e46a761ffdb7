//! A local network of namespaces, and what can go wrong in it.
//!
//! Every node has a network namespace with one interface, plugged into a bridge that stands in a namespace of its own; the machine itself is
//! plugged in too, as the client. Faults are rules in the namespace that receives: the kernel counts what they catch, and the count is the proof
//! that a fault took effect.

pub mod lan;
pub mod filter;
pub mod shape;
pub mod jitter;
