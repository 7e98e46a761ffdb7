//! Who may take part, who may ask, and how much patience those get who only hold a place.

mod nodes;
