//! Faults: what they are, how each is brought about, and what proves that it took effect.
//!
//! [`kind`] names them all; [`world`] is what they act upon; the other files bring them about, one family a file; [`swarm`] picks them at random
//! and lets them overlap. A fault that cannot prove its effect makes the run's verdict unknown.

pub mod kind;
pub mod world;
pub mod process;
pub mod network;
pub mod clock;
pub mod disk;
pub mod member;
pub mod swarm;
