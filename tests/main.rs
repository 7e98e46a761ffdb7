//! Drives the built `tern` from outside, as users do, and proves the house rules.
//!
//! Each file is one promise. Tests that start servers take turns ([`support::turn`]), wait for conditions and never for times, and stop what
//! they started by its id. Everything a cluster can be made to do from outside is in the `tern-jepsen` library; here are only the promises.

mod support;
mod schema;
mod tidy;
mod one_node;
mod contract;
mod openapi;
mod http_rules;
mod bad_input;
mod native_api;
mod other_writers;
mod remote_write;
mod replication;
mod kv;
mod crashes;
mod damage;
mod disk_full;
mod failed_syncs;
mod pushdown;
mod membership;
mod security;
mod prometheus;
mod remote_read;
mod native_histograms;
mod federation;
mod transfer;
mod enforced_labels;
mod differential;
mod promtool;
mod grafana;
mod beside;
mod chaos;
