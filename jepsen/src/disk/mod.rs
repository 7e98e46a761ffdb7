//! Disks of a node's own, and what can go wrong with them: images on loop devices, power loss, damage.

pub mod image;
pub mod power;
pub mod damage;
