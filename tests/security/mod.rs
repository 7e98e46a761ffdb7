//! Who may take part, who may ask, and how much patience those get who only hold a place.

mod accounts;
mod nodes;
mod web;
mod access;
mod limits;
